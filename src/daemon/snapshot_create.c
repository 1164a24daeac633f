/* Taking a snapshot: the capture, its place, its row. */
#include "daemon/snapshot_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_files.h"
#include "daemon/vm_machine.h"

static void describe(const struct vm *vm, struct snapshot_record *record)
{
	memcpy(record->vm_id, vm->id, sizeof(record->vm_id));
	record->vcpu = vm->spec.vcpu;
	record->memory_bytes = vm->spec.memory_bytes;
	record->system_bytes = vm->spec.system_overlay_bytes;
	record->work_bytes = vm->spec.disk_bytes;
	vm_workspace_copy(&record->workspace, &vm->workspace);
	record->created_at = clock_wall_seconds();
}

static int capture(const struct job *job, const struct vm *vm, const char *staging,
		   struct snapshot_record *record, struct err *err)
{
	struct vm_captured captured = { 0 };
	int r;

	r = vm_capture(job, vm, staging, &captured, err);
	if (r < 0)
		return r;
	failpoint("vm.snapshot.captured");
	progress_report(job->progress, "store", NULL, 0, 0);
	r = vm_capture_sync(staging, err);
	if (r == 0)
		r = snapshot_note_files(staging, record, err);
	record->pause_us = captured.pause_us;
	record->used_bytes = captured.used_bytes;
	return r;
}

static int put_in_place(struct daemon *daemon, const char *dir, const char *staging,
			const struct snapshot_record *record, struct err *err)
{
	AUTO_FREE char *folder = snapshot_folder(daemon, record);
	AUTO_CLOSE int dir_fd = dir_open(dir);
	struct err undo_err = ERR_INIT;
	int r;

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open '%s'", dir);
	r = file_rename_new(AT_FDCWD, staging, AT_FDCWD, folder);
	if (r < 0)
		return err_sys(err, r, "put the snapshot '%s' in place", folder);
	failpoint("vm.snapshot.renamed");
	r = fsync(dir_fd) < 0 ? err_sys(err, -errno, "store '%s'", folder)
			      : store_snapshot_insert(daemon->store, record, err);
	if (r < 0) {
		const int undone = dir_remove_tree(AT_FDCWD, folder);

		if (undone < 0) {
			IGNORE_RESULT(err_sys(&undo_err, undone, "remove '%s'", folder));
			err_append(err, &undo_err);
		}
		return r;
	}
	failpoint("vm.snapshot.stored");
	return 0;
}

/* The folder of the VM's snapshots is on stable storage with its first. */
static int make_folders(const struct daemon *daemon, const struct vm *vm, const char *dir,
			const char *staging, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_CLOSE int fd = dir_open(folder);
	int r;

	r = fd < 0 ? fd : dir_make_path(dir, 0700);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, r, "make '%s'", dir);
	if (mkdir(staging, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", staging);
	return 0;
}

static int take(const struct job *job, const struct vm *vm, struct snapshot_record *record,
		struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_FREE char *dir = vm_file(daemon, vm->id, VM_FILE_SNAPSHOTS);
	AUTO_FREE char *staging = mem_printf("%s/" SNAPSHOT_STAGING_PREFIX "%s", dir, record->id);
	struct err undo_err = ERR_INIT;
	int undone, r;

	r = make_folders(daemon, vm, dir, staging, err);
	if (r == 0)
		r = capture(job, vm, staging, record, err);
	if (r == 0)
		r = cancel_check(job->cancel, err);
	if (r == 0)
		r = put_in_place(daemon, dir, staging, record, err);
	if (r == 0)
		return 0;
	undone = dir_remove_tree(AT_FDCWD, staging);
	if (undone < 0) {
		IGNORE_RESULT(err_sys(&undo_err, undone, "remove '%s'", staging));
		err_append(err, &undo_err);
	}
	IGNORE_RESULT(rmdir(dir)); /* others stay */
	return r;
}

static int take_named(const struct job *job, const struct vm *vm, const char *name,
		      struct snapshot_record *record, struct err *err)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	char key[MACHINE_KEY_SIZE];
	int r;

	r = store_snapshot_list(job->daemon->store, vm->id, &list, err);
	if (r == 0)
		r = snapshot_choose_name(&list, vm->name, name, &record->name, err);
	if (r == 0)
		r = vm_machine_check(job, vm, key, err);
	if (r < 0)
		return r;
	record->machine_key = mem_strdup(key);
	r = model_new_id(record->id);
	if (r < 0)
		return err_sys(err, r, "make an id");
	describe(vm, record);
	return take(job, vm, record, err);
}

int snapshot_create(const struct job *job, const char *vm, const char *name,
		    struct snapshot_of *ret, struct err *err)
{
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = daemon_claim_vm(job->daemon, vm, job->cancel, &hold, &of.vm, err);
	if (r == 0)
		r = vm_check_verb(&of.vm, VM_VERB_SNAPSHOT, err);
	if (r < 0)
		return r;
	r = take_named(job, &of.vm, name, &of.snapshot, err);
	if (r < 0)
		return err_context(err, r, "cannot take a snapshot of '%s'", of.vm.name);
	snapshot_of_move(ret, &of);
	return 0;
}
