/*
 * Snapshots of VMs (SPEC 7): a VM of one instant, to which it can be brought back.
 * state/vms/ID/snapshots/SNAPSHOT_ID/ has
 *
 *     memory, state, system.*, work.*   as in daemon/vm_capture.h; never written again
 *
 * A folder is built as ".new-SNAPSHOT_ID" and renamed when it is whole; then it gets its row, which
 * says what its files are like. So a row has its folder, and a folder without one belongs to
 * nobody. Nothing is loaded whose files are not as the row says. They belong to their VM: all of
 * this happens under its lock, and they go with it. A VM that was restored maps the snapshot's
 * memory copy-on-write; the snapshot may go all the same.
 *
 * A restore makes the new disks beside the old ones, in ".new-restore". Renaming that to ".restore"
 * is what decides: before, nothing has happened to the VM; after it, whoever finds it so (with
 * VM_INTENT_RESTORE, and the snapshot's id as its step) goes on until the VM has them.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "daemon/private.h"
#include "model/snapshot.h"

/* What a user's words mean. */
struct snapshot_of {
	struct vm vm;			 /* owned, as the next */
	struct snapshot_record snapshot; /* of the VM */
};

void snapshot_of_done(struct snapshot_of *of);
/* `to` is uninitialised; `from` has nothing afterwards. */
void snapshot_of_move(struct snapshot_of *to, struct snapshot_of *from);
#define AUTO_SNAPSHOT_OF CLEANUP(snapshot_of_done) struct snapshot_of

/* `ret` is uninitialised here and below. `name` may be NULL. The VM must run or be paused, and
 * stays so. */
int snapshot_create(const struct job *job, const char *vm, const char *name,
		    struct snapshot_of *ret, struct err *err) MUST_CHECK;

/* Takes no lock. */
int snapshot_find(struct daemon *daemon, const char *vm, const char *snapshot,
		  struct snapshot_of *ret, struct err *err) MUST_CHECK;

/* `ret` is what it was. */
int snapshot_delete(const struct job *job, const char *vm, const char *snapshot,
		    struct snapshot_of *ret, struct err *err) MUST_CHECK;

/*
 * Makes the VM, in whatever state, what it was then, and has it run. What cannot be loaded is
 * refused before anything is done to the VM; when the load itself fails, the VM is stopped and has
 * the snapshot's disks.
 */
int snapshot_restore(const struct job *job, const char *vm, const char *snapshot,
		     struct snapshot_of *ret, struct strv *warnings, struct err *err) MUST_CHECK;

/* Whether it is as it was made, and what it needs, too. ERR_BAD_STATE says what is not. */
int snapshot_check(const struct job *job, const struct vm *vm, const struct snapshot_record *record,
		   struct err *err) MUST_CHECK;

/* Where it is; owned by the caller. */
char *snapshot_folder(const struct daemon *daemon, const struct snapshot_record *record) MUST_CHECK;

/* The public object. `vm_name` is of its VM. */
json_t *snapshot_describe(const struct daemon *daemon, const struct snapshot_record *record,
			  const char *vm_name) MUST_CHECK;

/* --- for reconcile, under the VM's lock --- */

/* Whether a restore has come so far that it is to be finished. */
bool snapshot_restore_is_decided(const struct daemon *daemon, const struct vm *vm);

/* Undoes or finishes a restore that was begun. */
int snapshot_finish_restore(struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;

/* Adds what is left of snapshots and restores of this VM, whose intent is not to be undone. */
struct plan;
void snapshots_look(const struct daemon *daemon, const struct vm *vm, struct plan *plan);

/* Removes such a thing: a folder, by its path, and its row if it has one. */
int snapshots_remove(struct daemon *daemon, const struct vm *vm, const char *path, struct err *err)
	MUST_CHECK;
