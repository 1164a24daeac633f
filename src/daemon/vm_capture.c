#include "daemon/vm_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "disk/disk.h"
#include "guest/renew.h"
#include "vmm/fc_client.h"

#define FREEZE_NS	 (30 * NSEC_PER_SEC) /* for the guest to write what is on its way */
#define THAW_NS		 (20 * NSEC_PER_SEC) /* a loaded host has slow guests */
#define FREEZE_MS	 60000	/* then it goes on by itself, and the copies are worth nothing */
#define WRITE_TIMEOUT_MS 300000 /* all of the memory, to a slow disk */
#define ANSWER_MS	 5000
#define RESUME_MS	 60000 /* one that is writing ends that first */

struct capture {
	const struct job *job;
	const struct vm *vm;
	const char *folder;
	char *vsock_socket; /* owned, as the next */
	char *api_socket;
	bool may_be_frozen; /* one that was not asked in vain: it may have done so */
	bool is_frozen;
	bool is_paused;
	uint64_t paused_ns;
	uint64_t pause_us;
};

static void capture_done(struct capture *capture)
{
	mem_free(capture->vsock_socket);
	mem_free(capture->api_socket);
}

static struct guest_target target_of(const struct capture *capture, uint64_t within_ns,
				     const struct cancel *cancel)
{
	return (struct guest_target){
		.socket_path = capture->vsock_socket,
		.cancel = cancel,
		.deadline_ns = clock_now_ns() + within_ns,
	};
}

/* Its file systems are clean on the disks, and nothing of it moves. */
static int stand_still(struct capture *capture, struct err *err)
{
	/* Not to be cancelled: a thaw that overtakes it leaves the guest standing still. */
	const struct guest_target target = target_of(capture, FREEZE_NS, NULL);
	const struct vmm_api api = { .socket_path = capture->api_socket, .timeout_ms = ANSWER_MS };
	int r;

	capture->may_be_frozen = true;
	r = guest_freeze(&target, FREEZE_MS, err);
	if (r < 0)
		return err_context(err, r, "bring the guest to rest");
	capture->is_frozen = true;
	r = cancel_check(capture->job->cancel, err);
	if (r < 0)
		return r;
	capture->paused_ns = clock_now_ns();
	capture->is_paused = true;
	r = vmm_pause(&api, err);
	if (r == 0)
		failpoint("vm.capture.paused");
	return r;
}

static int write_down(const struct capture *capture, struct err *err)
{
	const struct vmm_api api = { .socket_path = capture->api_socket,
				     .cancel = capture->job->cancel,
				     .timeout_ms = WRITE_TIMEOUT_MS };
	AUTO_FREE char *state = mem_printf("%s/" VM_CAPTURE_STATE, capture->folder);
	AUTO_FREE char *memory = mem_printf("%s/" VM_CAPTURE_MEMORY, capture->folder);
	const struct vmm_snapshot snapshot = { .state_path = state, .memory_path = memory };
	int r;

	r = vmm_create_snapshot(&api, &snapshot, err);
	if (r < 0)
		return err_context(err, r, "write the guest down");
	failpoint("vm.capture.memory");
	r = vm_disks_copy(capture->job->daemon, capture->vm, capture->folder, capture->job->cancel,
			  err);
	if (r == 0)
		failpoint("vm.capture.disks");
	return r;
}

static int thaw(const struct capture *capture, struct err *err)
{
	/* Not to be cancelled, like all that lets it go on. */
	const struct guest_target target = target_of(capture, THAW_NS, NULL);
	bool has_held = false;
	const int r = guest_thaw(&target, &has_held, err);

	if (r < 0 || has_held || !capture->is_frozen)
		return r;
	return err_set(err, ERR_TIMEOUT,
		       "copying took too long: the guest's file systems went on meanwhile");
}

/* Whether it does. `r` is what has been until here: what fails now is added to it. */
static bool go_on(struct capture *capture, int *r, struct err *err)
{
	const struct vmm_api api = { .socket_path = capture->api_socket, .timeout_ms = RESUME_MS };
	struct err end_err = ERR_INIT;
	bool is_going = true;
	int end = 0;

	if (capture->is_paused) {
		end = vmm_resume(&api, &end_err);
		is_going = end == 0;
		capture->pause_us = (clock_now_ns() - capture->paused_ns) / NSEC_PER_USEC;
	}
	failpoint("vm.capture.resumed");
	if (end == 0 && capture->may_be_frozen)
		end = thaw(capture, &end_err);
	if (end < 0 && *r == 0)
		*err = end_err;
	else if (end < 0)
		err_append(err, &end_err);
	if (*r == 0)
		*r = end;
	return is_going;
}

/* Where the disk is full all that follows needs the room, the guest before all. */
static void remove_rest(const struct capture *capture)
{
	if (dir_remove_tree(AT_FDCWD, capture->folder) < 0)
		log_error("cannot remove '%s', leaving that to the next start", capture->folder);
}

static int capture_locked(struct capture *capture, struct err *err)
{
	struct daemon *daemon = capture->job->daemon;
	const struct vm *vm = capture->vm;
	struct err store_err = ERR_INIT;
	bool is_going;
	int r;

	r = store_vm_set_intent(daemon->store, vm->id, VM_INTENT_SNAPSHOT, NULL, err);
	if (r < 0)
		return r;
	failpoint("vm.capture.intent");
	if (vm->state == VM_RUNNING)
		r = stand_still(capture, err);
	if (r == 0)
		r = write_down(capture, err);
	if (r < 0)
		remove_rest(capture);
	is_going = go_on(capture, &r, err);
	if (r < 0)
		remove_rest(capture);
	if (capture->is_paused && is_going)
		vm_set_guest_clock(daemon, vm);
	/* Else the intent stays, and reconcile tries again. */
	if (is_going &&
	    store_vm_set_state(daemon->store, vm->id, vm->state, NULL, &store_err) < 0) {
		if (r == 0)
			*err = store_err;
		else
			err_append(err, &store_err);
		return r < 0 ? r : -EIO;
	}
	return r;
}

int vm_capture(const struct job *job, const struct vm *vm, const char *folder,
	       struct vm_captured *ret, struct err *err)
{
	CLEANUP(capture_done)
	struct capture capture = {
		.job = job,
		.vm = vm,
		.folder = folder,
		.vsock_socket = vm_file(job->daemon, vm->id, VM_FILE_VSOCK_SOCKET),
		.api_socket = vm_file(job->daemon, vm->id, VM_FILE_API_SOCKET),
	};
	int r;

	progress_report(job->progress, "snapshot", NULL, 0, 0);
	r = capture_locked(&capture, err);
	if (r < 0)
		return r;
	ret->pause_us = capture.pause_us;
	return disk_used_bytes(folder, &ret->used_bytes, err);
}

static int sync_file(void *context, const char *name)
{
	const int *folder_fd = context;
	AUTO_CLOSE int fd = openat(*folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int vm_capture_sync(const char *folder, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(folder);
	int r = fd < 0 ? fd : dir_each(fd, sync_file, &fd);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "store '%s'", folder) : 0;
}

static int let_go_on(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	AUTO_FREE char *vsock_socket = vm_file(daemon, vm->id, VM_FILE_VSOCK_SOCKET);
	struct vmm_api api = { .socket_path = socket, .timeout_ms = ANSWER_MS };
	struct guest_target target = { .socket_path = vsock_socket };
	struct vmm_description description;
	struct err ignored = ERR_INIT;
	int r;

	r = vmm_describe(&api, &description, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND) {
		*err = ERR_INIT;
		return 0; /* it is gone: the business of whoever looks at its process */
	}
	api.timeout_ms = RESUME_MS;
	if (r == 0 && vm_state_of_vmm(description.state, vm->state) == VM_PAUSED)
		r = vmm_resume(&api, err);
	if (r < 0)
		return r;
	target.deadline_ns = clock_now_ns() + THAW_NS;
	/* Else its file systems go on by themselves, and nobody is there to take the time. */
	if (guest_thaw(&target, NULL, &ignored) == 0)
		vm_set_guest_clock(daemon, vm);
	return 0;
}

int vm_finish_capture(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	const int r = vm->state == VM_RUNNING ? let_go_on(daemon, vm, err) : 0;

	return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, vm->state, NULL, err);
}
