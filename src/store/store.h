/*
 * The database: state.db in the state folder. SQLite in WAL mode with synchronous=FULL, so a
 * function that returned 0 is durable. One connection writes and one reads, each behind a lock of
 * its own inside: any thread may call anything, nothing is called back, no transaction outlives its
 * function.
 *
 * A new database is made beside its place and renamed, so an empty or cut-off state.db is always
 * damage. Damage is refused and left as it is, never overwritten.
 *
 * When the disk is full, creating fails, but what stops, deletes or records is retried once after
 * the reserve file has been freed (FAULTS DSK1). After an I/O error that leaves in doubt what is on
 * the disk the store refuses to write until the daemon is started again (DSK4).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/artifact.h"
#include "model/snapshot.h"
#include "model/template.h"
#include "model/vm.h"

#define STORE_RESERVE_BYTES 1048576 /* four times what the log grows to */

struct store;

/*
 * Opens `path`, making or migrating it as needed, and makes the reserve file `reserve_path` (NULL:
 * none; a full disk is no error for it). ERR_UNSUPPORTED when a newer version made it, ERR_INVALID
 * when it is damaged, foreign or read-only, ERR_BAD_STATE when another process has a store in the
 * same folder, ERR_BUSY when one holds the database; its pid is named where the system tells.
 */
int store_open(const char *path, const char *reserve_path, struct store **ret, struct err *err)
	MUST_CHECK;
void store_close(struct store *store); /* NULL is accepted */

/*
 * The same for reading only, while no daemon has it: nothing is made, migrated or folded back, and
 * what would change something is refused. *ret is NULL when there is no database. ERR_UNSUPPORTED
 * when it is of another schema.
 */
int store_open_to_look(const char *path, struct store **ret, struct err *err) MUST_CHECK;
DEFINE_FREEP(store, store_close); /* for CLEANUP(store_closep) */

enum store_schema {
	STORE_SCHEMA_CURRENT = 0, /* up to date */
	STORE_SCHEMA_OLDER = 1,	  /* opening it will migrate; also when there is none yet */
	STORE_SCHEMA_NEWER = 2,	  /* made by a newer version */
};

/* What opening would do, without writing anything (bangerd --check-migrations). */
int store_check_migrations(const char *path, enum store_schema *ret, struct err *err) MUST_CHECK;

/* Makes the reserve file again if it is missing and there is room; also done after each deletion.
 */
void store_restore_reserve(struct store *store);

/* A number that grows with every stored change: what was read after it was the same is still so.
 * Costs nothing. */
uint64_t store_changes(const struct store *store) MUST_CHECK;

/* 0, or the I/O error after which the store refuses to write (for doctor). */
int store_check_health(struct store *store, struct err *err) MUST_CHECK;

/* --- VMs --- */

/*
 * Has `changed` called after every stored change of a VM's name, state or address, and after its
 * row has gone: by the thread that made the change, with no lock of the store's held. One caller,
 * before other threads use the store.
 */
void store_watch_vms(struct store *store, void (*changed)(void *context, const char *id),
		     void *context);

/*
 * Stores a new VM with all its fields. ERR_EXISTS names the name (or id) that is taken; ERR_LIMIT
 * at LIMIT_VMS; ERR_NOT_FOUND when its image or kernel has no record.
 */
int store_vm_insert(struct store *store, const struct vm *vm, struct err *err) MUST_CHECK;

/* Replaces every field of the VM with that id. ERR_NOT_FOUND, ERR_EXISTS as above. */
int store_vm_update(struct store *store, const struct vm *vm, struct err *err) MUST_CHECK;

/*
 * Records the end of a change: the state, the error that led to it (NULL clears it), and no intent
 * any more. ERR_NOT_FOUND.
 */
int store_vm_set_state(struct store *store, const char *id, enum vm_state state,
		       const char *last_error, struct err *err) MUST_CHECK;

/*
 * As store_vm_set_state() to VM_RUNNING, with the time and the host's boot; when it was used is
 * unknown again.
 */
int store_vm_set_started(struct store *store, const char *id, int64_t started_at,
			 const char *boot_id, struct err *err) MUST_CHECK;

/* Records what is about to be done, before it is. `step` may be NULL. */
int store_vm_set_intent(struct store *store, const char *id, enum vm_intent intent,
			const char *step, struct err *err) MUST_CHECK;

/* Records when the VM was used last (struct vm). ERR_NOT_FOUND. */
int store_vm_set_used(struct store *store, const char *id, uint64_t used_at_ms, struct err *err)
	MUST_CHECK;

/* Gives it an address for good; ERR_NOT_FOUND. The index must be free: the caller has the lock. */
int store_vm_set_address(struct store *store, const char *id, uint32_t net_index, const char *ip,
			 struct err *err) MUST_CHECK;

/* Records the checkout that it was given last; ERR_NOT_FOUND. */
int store_vm_set_workspace(struct store *store, const char *id,
			   const struct vm_workspace *workspace, struct err *err) MUST_CHECK;
/*
 * The same for several at once, which may exchange what they have; index 0 and a NULL ip take it
 * away. All or none.
 */
struct store_address {
	const char *vm_id; /* borrowed */
	uint32_t net_index;
	const char *ip; /* borrowed */
};
int store_vm_set_addresses(struct store *store, const struct store_address *addresses, size_t count,
			   struct err *err) MUST_CHECK;

/* The indexes that VMs have, ascending, in an array of the caller's. */
int store_vm_net_indexes(struct store *store, uint32_t **ret, size_t *ret_count, struct err *err)
	MUST_CHECK;

/* Removes the row. A missing one is ERR_NOT_FOUND. */
int store_vm_delete(struct store *store, const char *id, struct err *err) MUST_CHECK;

/* Fills uninitialised `ret`; the caller ends it with vm_done(). */
int store_vm_get(struct store *store, const char *id, struct vm *ret, struct err *err) MUST_CHECK;

/* The VM with exactly that name, as store_vm_get(). ERR_NOT_FOUND. */
int store_vm_get_named(struct store *store, const char *name, struct vm *ret, struct err *err)
	MUST_CHECK;

/* Whether a VM has that name. */
int store_vm_name_taken(struct store *store, const char *name, bool *ret, struct err *err)
	MUST_CHECK;

/* All VMs in the order of their creation; `ret` is uninitialised, ended with vm_list_done(). */
int store_vm_list(struct store *store, struct vm_list *ret, struct err *err) MUST_CHECK;

/* How many there are, and how many of them are running or paused. */
int store_vm_count(struct store *store, uint64_t *ret_total, uint64_t *ret_running, struct err *err)
	MUST_CHECK;

/* --- images and kernels --- */

/*
 * Inserts or replaces the record with that name. One that is ARTIFACT_PULLING stands for files that
 * are about to be replaced: ERR_BUSY while a VM uses it, decided in the same transaction.
 */
int store_image_put(struct store *store, const struct image_record *image, struct err *err)
	MUST_CHECK;
/*
 * Moves it to another state. To ARTIFACT_DELETING: ERR_BUSY naming how many VMs use it, decided in
 * the same transaction, so that no VM can come to use it afterwards.
 */
int store_image_set_state(struct store *store, const char *name, enum artifact_state state,
			  struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_BUSY while a VM uses it. */
int store_image_delete(struct store *store, const char *name, struct err *err) MUST_CHECK;
int store_image_get(struct store *store, const char *name, struct image_record *ret,
		    struct err *err) MUST_CHECK;
int store_image_list(struct store *store, struct image_record_list *ret, struct err *err)
	MUST_CHECK;

/* The same for kernels; those that are the default kernel of an image are not in use by that. */
int store_kernel_put(struct store *store, const struct kernel_record *kernel, struct err *err)
	MUST_CHECK;
int store_kernel_set_state(struct store *store, const char *name, enum artifact_state state,
			   struct err *err) MUST_CHECK;
int store_kernel_delete(struct store *store, const char *name, struct err *err) MUST_CHECK;
int store_kernel_get(struct store *store, const char *name, struct kernel_record *ret,
		     struct err *err) MUST_CHECK;
int store_kernel_list(struct store *store, struct kernel_record_list *ret, struct err *err)
	MUST_CHECK;

/* --- templates --- */

/*
 * Stores one whose folder is complete. Its image and kernel must have records, and with either goes
 * the template's. An error when there is one with its key already: callers have a lock for that.
 */
int store_template_insert(struct store *store, const struct template_record *record,
			  struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND, as the next. */
int store_template_set_used(struct store *store, const char *id, int64_t used_at, struct err *err)
	MUST_CHECK;
int store_template_delete(struct store *store, const char *id, struct err *err) MUST_CHECK;

/* The one with that key; `ret` is uninitialised. ERR_NOT_FOUND. */
int store_template_find(struct store *store, const char *key, struct template_record *ret,
			struct err *err) MUST_CHECK;

/* All, those used last first; `ret` is uninitialised. */
int store_template_list(struct store *store, struct template_record_list *ret, struct err *err)
	MUST_CHECK;

/* --- snapshots --- */

/*
 * Stores one whose folder is complete. Its VM must have a record, and takes it along when it goes.
 * ERR_EXISTS when the VM has one with its name already.
 */
int store_snapshot_insert(struct store *store, const struct snapshot_record *record,
			  struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND. */
int store_snapshot_delete(struct store *store, const char *id, struct err *err) MUST_CHECK;

/* `ret` is uninitialised. ERR_NOT_FOUND. */
int store_snapshot_get(struct store *store, const char *id, struct snapshot_record *ret,
		       struct err *err) MUST_CHECK;

/* Those of a VM, or all when `vm_id` is NULL, in the order of their creation; `ret` is
 * uninitialised. */
int store_snapshot_list(struct store *store, const char *vm_id, struct snapshot_record_list *ret,
			struct err *err) MUST_CHECK;
