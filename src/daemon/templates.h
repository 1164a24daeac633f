/*
 * Templates (SPEC 7): booted machines at rest, from which VMs begin instead of from power-on.
 * state/templates/ID/ has
 *
 *     memory, state, system.*, work.*   as in daemon/vm_capture.h; never written again
 *
 * A folder is built as ".new-ID" and renamed when it is whole; then it gets its row. So a row has
 * its folder, and a folder without one belongs to nobody. A template goes when its image or kernel
 * goes, when anything of its key has changed, and when there are too many, those used longest ago
 * first; VMs that run keep what they have mapped. All functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "daemon/vm_capture.h"
#include "model/template.h"

struct templates;

struct templates *templates_new(void) MUST_CHECK;
void templates_free(struct templates *templates); /* NULL is accepted */

/* A template in use: as long as it is held nobody deletes it. */
struct template_hold {
	struct templates *templates;   /* borrowed; NULL when nothing is held */
	struct template_record record; /* owned */
	char *folder;		       /* owned, absolute */
};

void template_release(struct template_hold *hold);
#define AUTO_TEMPLATE_HOLD CLEANUP(template_release) struct template_hold

/*
 * The template of VMs like `vm`: 1 and its record, or 0, and the key that one would have. `ret_key`
 * may be the record's. The kernel's initramfs is made if need be.
 */
int templates_get(struct daemon *daemon, const struct vm *vm, const struct job *job,
		  char ret_key[static TEMPLATE_KEY_SIZE], struct template_record *ret,
		  struct err *err) MUST_CHECK;

/*
 * The template that `vm` can begin from: 1 and held, or 0 and in `ret_why` (borrowed, constant)
 * why there is none, NULL when nobody wants to know. `ret` is uninitialised.
 */
int templates_find(struct daemon *daemon, const struct vm *vm, const struct job *job,
		   struct template_hold *ret, const char **ret_why, struct err *err) MUST_CHECK;

/* For a VM that goes on from it, as long as it is held. */
struct vm_origin template_origin(const struct template_hold *hold);

/* A VM has begun from it: it is not the next to be evicted. */
void template_note_use(struct daemon *daemon, const struct template_hold *hold);

/*
 * A VM could not begin from it, because of `why`, but boots: the template is deleted, so that
 * another can be built, unless the host was short of something or somebody ended the VM; because of
 * ERR_TIMEOUT only the second time in a row.
 */
void template_give_up(struct daemon *daemon, const char *id, const struct err *why);

/* Where its folder is, and is being built. Owned by the caller. */
char *template_folder(const struct daemon *daemon, const char *id) MUST_CHECK;
char *template_staging(const struct daemon *daemon, const char *id) MUST_CHECK;

/*
 * Puts a folder that is complete, and on stable storage, in its place and records it. Then those
 * that are too many go.
 */
int templates_add(struct daemon *daemon, const struct template_record *record, struct err *err)
	MUST_CHECK;

/*
 * Deletes the template that `reference` means: an id, or as much of one as is unique.
 * ERR_NOT_FOUND; ERR_BUSY while a VM is being made from it.
 */
int templates_delete(struct daemon *daemon, const char *reference, struct template_record *ret,
		     struct err *err) MUST_CHECK;

/* At the daemon's start: folders without a row, and rows without a folder, go. */
int templates_reconcile(struct daemon *daemon, struct err *err) MUST_CHECK;

/* Adds what templates_reconcile() would do (`is_start`), or templates_pass(). */
struct plan;
int templates_look(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
	MUST_CHECK;

/* Every minute: likewise, and what has become useless goes. */
void templates_pass(struct daemon *daemon);
