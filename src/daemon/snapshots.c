#include "daemon/snapshot_private.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/plan.h"
#include "daemon/vm_files.h"

char *snapshot_folder(const struct daemon *daemon, const struct snapshot_record *record)
{
	AUTO_FREE char *dir = vm_file(daemon, record->vm_id, VM_FILE_SNAPSHOTS);

	return mem_printf("%s/%s", dir, record->id);
}

json_t *snapshot_describe(const struct daemon *daemon, const struct snapshot_record *record,
			  const char *vm_name)
{
	AUTO_FREE char *folder = snapshot_folder(daemon, record);

	return snapshot_to_json(record, vm_name, folder);
}

/* --- finding --- */

int snapshot_get(struct daemon *daemon, const struct vm *vm, const char *snapshot,
		 struct snapshot_record *ret, struct err *err)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	size_t index = 0; /* gcc cannot follow it through the other file */
	int r;

	r = store_snapshot_list(daemon->store, vm->id, &list, err);
	if (r == 0)
		r = snapshot_resolve(&list, vm->name, snapshot, &index, err);
	if (r < 0)
		return r;
	*ret = list.items[index];
	snapshot_record_init(&list.items[index]);
	return 0;
}

void snapshot_of_done(struct snapshot_of *of)
{
	if (!of)
		return;
	vm_done(&of->vm);
	snapshot_record_done(&of->snapshot);
}

void snapshot_of_move(struct snapshot_of *to, struct snapshot_of *from)
{
	*to = *from;
	*from = (struct snapshot_of){ .snapshot = { .name = NULL } };
}

int snapshot_find(struct daemon *daemon, const char *vm, const char *snapshot,
		  struct snapshot_of *ret, struct err *err)
{
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	int r;

	r = daemon_find_vm(daemon, vm, &of.vm, err);
	if (r == 0)
		r = snapshot_get(daemon, &of.vm, snapshot, &of.snapshot, err);
	if (r < 0)
		return r;
	snapshot_of_move(ret, &of);
	return 0;
}

/* --- removing --- */

/* The folder of a VM's snapshots stays while there are others. */
static int remove_folder(const struct daemon *daemon, const char *vm_id, const char *folder,
			 struct err *err)
{
	AUTO_FREE char *dir = vm_file(daemon, vm_id, VM_FILE_SNAPSHOTS);
	const int r = dir_remove_tree(AT_FDCWD, folder);

	if (r < 0)
		return err_sys(err, r, "remove '%s'", folder);
	IGNORE_RESULT(rmdir(dir));
	return 0;
}

int snapshot_remove(struct daemon *daemon, const struct snapshot_record *record, struct err *err)
{
	AUTO_FREE char *folder = snapshot_folder(daemon, record);
	int r;

	r = store_snapshot_delete(daemon->store, record->id, err);
	if (r < 0)
		return r;
	failpoint("vm.snapshot.delete.row");
	return remove_folder(daemon, record->vm_id, folder, err);
}

int snapshot_delete(const struct job *job, const char *vm, const char *snapshot,
		    struct snapshot_of *ret, struct err *err)
{
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = daemon_claim_vm(job->daemon, vm, job->cancel, &hold, &of.vm, err);
	if (r == 0)
		r = snapshot_get(job->daemon, &of.vm, snapshot, &of.snapshot, err);
	if (r == 0)
		r = snapshot_remove(job->daemon, &of.snapshot, err);
	if (r < 0)
		return r;
	snapshot_of_move(ret, &of);
	return 0;
}

/* --- what is left --- */

static int note_name(void *context, const char *name)
{
	strv_add(context, name);
	return 0;
}

static bool has_row(const struct snapshot_record_list *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i].id, id))
			return true;
	}
	return false;
}

static void look_at_folders(const char *dir, const struct vm *vm,
			    const struct snapshot_record_list *list, struct plan *plan)
{
	AUTO_CLOSE int fd = dir_open(dir);
	AUTO_STRV names = { .items = NULL };

	/* One that cannot be read now is looked at again in a minute. */
	if (fd < 0 || dir_each(fd, note_name, &names) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", dir, name);

		/* What is not named as we name things is not ours. */
		if (str_starts(name, SNAPSHOT_STAGING_PREFIX))
			plan_add_vm(plan, PLAN_REMOVE, vm, path, "the snapshot was not finished");
		else if (name_is_vm_id(name) && !has_row(list, name))
			plan_add_vm(plan, PLAN_REMOVE, vm, path,
				    "it is no snapshot that the database has");
	}
}

static void look_for_restores(const struct daemon *daemon, const struct vm *vm, struct plan *plan)
{
	static const enum vm_file files[] = { VM_FILE_NEW_RESTORE, VM_FILE_RESTORE };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *path = vm_file(daemon, vm->id, files[i]);

		if (access(path, F_OK) == 0)
			plan_add_vm(plan, PLAN_REMOVE, vm, path, "it is left of a restore");
	}
}

void snapshots_look(const struct daemon *daemon, const struct vm *vm, struct plan *plan)
{
	AUTO_FREE char *dir = vm_file(daemon, vm->id, VM_FILE_SNAPSHOTS);
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	struct err ignored = ERR_INIT;

	if (vm->intent != VM_INTENT_RESTORE)
		look_for_restores(daemon, vm, plan);
	if (store_snapshot_list(daemon->store, vm->id, &list, &ignored) < 0)
		return;
	look_at_folders(dir, vm, &list, plan);
	for (size_t i = 0; i < list.count; i++) {
		AUTO_FREE char *folder = snapshot_folder(daemon, &list.items[i]);

		if (access(folder, F_OK) < 0 && errno == ENOENT)
			plan_add_vm(plan, PLAN_REMOVE, vm, folder, "the snapshot's files are gone");
	}
}

int snapshots_remove(struct daemon *daemon, const struct vm *vm, const char *path, struct err *err)
{
	struct err delete_err = ERR_INIT;
	const char *id = strrchr(path, '/') + 1;

	if (name_is_vm_id(id) && store_snapshot_delete(daemon->store, id, &delete_err) < 0 &&
	    delete_err.kind != ERR_NOT_FOUND) {
		*err = delete_err;
		return -EIO;
	}
	return remove_folder(daemon, vm->id, path, err);
}
