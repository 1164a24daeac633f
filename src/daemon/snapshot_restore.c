/* Bringing a VM back to a snapshot; snapshots.h has what decides it. */
#include "daemon/snapshot_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/autostop.h"
#include "daemon/publish.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"

bool snapshot_restore_is_decided(const struct daemon *daemon, const struct vm *vm)
{
	AUTO_FREE char *path = vm_file(daemon, vm->id, VM_FILE_RESTORE);

	return vm->intent == VM_INTENT_RESTORE && access(path, F_OK) == 0;
}

static int remove_file(const struct daemon *daemon, const struct vm *vm, enum vm_file file,
		       struct err *err)
{
	AUTO_FREE char *path = vm_file(daemon, vm->id, file);
	const int r = dir_remove_tree(AT_FDCWD, path);

	return r < 0 ? err_sys(err, r, "remove '%s'", path) : 0;
}

/* --- before it is decided: the VM is not touched --- */

static int stage(const struct job *job, const struct vm *then, const struct snapshot_record *record,
		 struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_FREE char *folder = snapshot_folder(daemon, record);
	AUTO_FREE char *staging = vm_file(daemon, then->id, VM_FILE_NEW_RESTORE);

	if (mkdir(staging, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", staging);
	progress_report(job->progress, "disks", NULL, 0, 0);
	return vm_disks_copy_back(daemon, then, folder, staging, job, err);
}

static int decide(const struct job *job, const struct vm *vm, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_FREE char *staging = vm_file(daemon, vm->id, VM_FILE_NEW_RESTORE);
	AUTO_FREE char *decided = vm_file(daemon, vm->id, VM_FILE_RESTORE);
	AUTO_CLOSE int fd = dir_open(folder);
	int r;

	r = cancel_check(job->cancel, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_sys(err, fd, "open '%s'", folder);
	/* With the folder's own sync before it, so that it is never there without its disks. */
	if (fsync(fd) < 0 || rename(staging, decided) < 0)
		return err_sys(err, -errno, "rename '%s'", staging);
	if (fsync(fd) == 0)
		return 0;
	r = err_sys(err, -errno, "store '%s'", decided);
	/* What is not surely decided is not. */
	IGNORE_RESULT(rename(decided, staging));
	return r;
}

static int undo(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	const int r = remove_file(daemon, vm, VM_FILE_NEW_RESTORE, err);

	return r < 0 ? r
		     : store_vm_set_state(daemon->store, vm->id, vm->state, vm->last_error, err);
}

static int begin(const struct job *job, const struct vm *vm, const struct vm *then,
		 const struct snapshot_record *record, struct err *err)
{
	struct daemon *daemon = job->daemon;
	struct err undo_err = ERR_INIT;
	int r;

	r = store_vm_set_intent(daemon->store, vm->id, VM_INTENT_RESTORE, record->id, err);
	if (r < 0)
		return r;
	failpoint("vm.restore.intent");
	r = stage(job, then, record, err);
	if (r == 0) {
		failpoint("vm.restore.staged");
		r = decide(job, vm, err);
	}
	/* What cannot be undone now has its intent still: reconcile goes on with it. */
	if (r < 0 && undo(daemon, vm, &undo_err) < 0)
		err_append(err, &undo_err);
	return r;
}

/* --- after it: only forward --- */

/* The VM has ended, has the new disks, and its row says so. Again is fine. */
static int take_over(struct daemon *daemon, const struct snapshot_record *record, struct vm *then,
		     struct err *err)
{
	AUTO_FREE char *from = vm_file(daemon, then->id, VM_FILE_RESTORE);
	AUTO_FREE char *what = mem_printf("it has the disks of its snapshot '%s', but was not "
					  "started with them yet",
					  record->name);
	int r;

	r = vm_teardown(daemon, then->id, err);
	if (r < 0)
		return r;
	failpoint("vm.restore.ended");
	r = vm_disks_replace(daemon, then, from, err);
	if (r < 0)
		return r;
	failpoint("vm.restore.swapped");
	then->state = VM_STOPPED;
	then->intent = VM_INTENT_NONE;
	vm_set_text(&then->intent_step, NULL);
	vm_set_text(&then->last_error, what);
	r = store_vm_update(daemon->store, then, err);
	if (r < 0)
		return r;
	failpoint("vm.restore.spec");
	return remove_file(daemon, then, VM_FILE_RESTORE, err);
}

int snapshot_finish_restore(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_SNAPSHOT_RECORD record = { .name = NULL };
	AUTO_VM then = { 0 };
	int r;

	if (!snapshot_restore_is_decided(daemon, vm))
		return undo(daemon, vm, err);
	r = store_snapshot_get(daemon->store, vm->intent_step ? vm->intent_step : "", &record, err);
	if (r < 0)
		return r;
	snapshot_apply(&record, vm, &then);
	r = take_over(daemon, &record, &then, err);
	/* As for one that has stopped: nobody serves them. */
	publish_close(daemon->publish, vm->id);
	return r;
}

static int go_on(const struct job *job, struct vm *then, const struct snapshot_record *record,
		 struct strv *warnings, struct err *err)
{
	AUTO_FREE char *folder = snapshot_folder(job->daemon, record);
	const struct vm_origin origin = {
		.folder = folder,
		.system_bytes = record->system_bytes,
		.work_bytes = record->work_bytes,
	};
	int r;

	r = take_over(job->daemon, record, then, err);
	if (r < 0) /* its intent is there still: reconcile goes on with it */
		return r;
	r = vm_start_locked(job, then, &origin, warnings, err);
	if (r < 0)
		err_hint(err, "it has the snapshot's disks: 'banger vm start %s' boots them",
			 then->name);
	return r;
}

static int restore_locked(const struct job *job, struct vm *vm,
			  const struct snapshot_record *record, struct strv *warnings,
			  struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_VM then = { 0 };
	int r;

	progress_report(job->progress, "verify", NULL, 0, 0);
	r = snapshot_check(job, vm, record, err);
	if (r == 0)
		r = vm_ensure_address(daemon, vm, job, err);
	/* Those of a VM that runs are open. */
	if (r == 0)
		r = publish_open(daemon->publish, vm, vm->spec.ports, vm->spec.port_count, err);
	if (r < 0)
		return r;
	snapshot_apply(record, vm, &then);
	r = begin(job, vm, &then, record, err);
	if (r < 0 && !vm_state_is_alive(vm->state))
		publish_close(daemon->publish, vm->id);
	if (r < 0)
		return r;
	failpoint("vm.restore.committed");
	r = go_on(job, &then, record, warnings, err);
	if (r < 0)
		return r;
	vm_done(vm);
	*vm = then;
	vm_init(&then);
	return 0;
}

int snapshot_restore(const struct job *job, const char *vm, const char *snapshot,
		     struct snapshot_of *ret, struct strv *warnings, struct err *err)
{
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = daemon_claim_vm(job->daemon, vm, job->cancel, &hold, &of.vm, err);
	if (r == 0)
		r = snapshot_get(job->daemon, &of.vm, snapshot, &of.snapshot, err);
	if (r < 0)
		return r;
	r = restore_locked(job, &of.vm, &of.snapshot, warnings, err);
	if (r < 0)
		return err_context(err, r, "cannot restore '%s' to '%s'", of.vm.name,
				   of.snapshot.name);
	snapshot_of_move(ret, &of);
	return 0;
}
