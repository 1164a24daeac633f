/* What templates.c and template_look.c share. Functions want the lock held. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "base/strv.h"
#include "daemon/templates.h"

#define TEMPLATE_STAGING_PREFIX ".new-"

/* How many VMs are being made from one at the moment. */
struct template_pin {
	char id[VM_ID_SIZE];
	size_t count;
};

struct templates {
	pthread_mutex_t lock;	   /* also around what adds and removes folders and rows */
	struct template_pin *pins; /* owned */
	size_t pin_count;
	struct strv
		suspects; /* ids of those whose last VM was late, as template_give_up() has it */
};

/* NULL when none is being made from it. */
struct template_pin *template_pin_of(const struct templates *templates, const char *id) MUST_CHECK;

/* The row first: what has none is swept. */
int template_remove(struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;

/*
 * Removes those used longest ago until the rest has room. The one used last stays in any case, for
 * it would be built again at once; so does `kept` (NULL: none).
 */
void templates_evict(struct daemon *daemon, const char *kept);

/* The key of what a VM would be begun from now; also without the lock. The kernel's initramfs must
 * have been made. */
int template_current_key(struct daemon *daemon, const struct vm *vm, const struct cancel *cancel,
			 char ret[static TEMPLATE_KEY_SIZE], struct err *err) MUST_CHECK;
