/*
 * Which templates are wanted and not built yet; no clock and no lock of its own. What fails is
 * tried again ten minutes later, and is forgotten when it has failed three times: not every image
 * comes to rest. Who asks for it again makes that count from the start.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "daemon/template_build.h"

#define TEMPLATE_WANTED_MAX 16

struct template_wanted {
	char *image; /* owned, as the next */
	char *kernel;
	struct template_request request; /* with these texts */
	uint64_t not_before_ns;
	unsigned int failures;
};

void template_wanted_done(struct template_wanted *wanted);
#define AUTO_TEMPLATE_WANTED CLEANUP(template_wanted_done) struct template_wanted

struct template_wanted_list {
	struct template_wanted items[TEMPLATE_WANTED_MAX];
	size_t count;
};

void template_wanted_list_done(struct template_wanted_list *list);

/* `request` has all of its members. Whether it is new; when there are too many it is left out. */
bool template_wanted_add(struct template_wanted_list *list, const struct template_request *request,
			 uint64_t now_ns) MUST_CHECK;

/* Copies one that is to be built now; false when none is, and *ret_when_ns says when to ask again.
 */
bool template_wanted_due(const struct template_wanted_list *list, uint64_t now_ns,
			 struct template_wanted *ret, uint64_t *ret_when_ns) MUST_CHECK;

enum template_outcome {
	TEMPLATE_BUILT,
	TEMPLATE_UNBUILDABLE, /* what it would be made of is gone */
	TEMPLATE_FAILED,
	TEMPLATE_INTERRUPTED, /* for somebody who does not want to wait: soon again */
};

/* Notes what became of building it. Whether it will be tried again. */
bool template_wanted_note(struct template_wanted_list *list, const struct template_request *request,
			  enum template_outcome outcome, uint64_t now_ns);
