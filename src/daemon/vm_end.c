/* Ending a VM: asking the guest, forcing the VMM, and tidying up after either. */
#include "daemon/vm_service.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/last_words.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "guest/agent.h"
#include "vmm/fc_client.h"
#include "vmm/supervise.h"

#define TERM_GRACE_MS  2000  /* for a VMM to end QEMU and remove its sockets */
#define KILL_GRACE_MS  10000 /* a killed process goes as soon as the kernel has freed its memory */
#define ASK_TIMEOUT_MS 3000  /* for the agent to agree to a shutdown */
#define ENDING_MS      1000  /* for a VMM to end whose guest has */

/*
 * The VMM's process, from the table or, for one that this daemon has not adopted, from
 * handles.json. A pidfd of the caller's own, or -1 when there is no such process (any more).
 */
static int open_vmm(struct daemon *daemon, const char *id)
{
	struct handles handles;
	struct err ignored = ERR_INIT;
	int pidfd = -1;

	if (vm_table_get(daemon->table, id, NULL, &pidfd))
		return pidfd;
	if (handles_load(daemon, id, &handles, &ignored) < 0 ||
	    !str_eq(handles.boot_id, daemon->boot_id))
		return -1;
	pidfd = process_open(handles.pid, handles.start_time);
	return pidfd < 0 ? -1 : pidfd;
}

/* Asks the process to end, then makes it. Not cancellable: it is how everything is undone. */
static int end_process(int pidfd, struct err *err)
{
	static const struct {
		int signal;
		uint64_t grace_ms;
	} attempts[] = { { SIGTERM, TERM_GRACE_MS }, { SIGKILL, KILL_GRACE_MS } };
	struct vmm_exit status;
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
		r = vmm_kill(pidfd, attempts[i].signal);
		if (r < 0 && r != -ESRCH)
			return err_sys(err, r, "signal the VMM");
		r = vmm_wait_exit(pidfd, clock_now_ns() + attempts[i].grace_ms * NSEC_PER_MSEC,
				  NULL);
		if (r == 0)
			break;
	}
	if (r < 0)
		return err_sys(err, r, "end the VMM");
	/* Another daemon's child is init's to reap. */
	IGNORE_RESULT(vmm_reap(pidfd, &status));
	return 0;
}

int vm_teardown(struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_CLOSE int pidfd = open_vmm(daemon, id);
	int r;

	if (pidfd >= 0) {
		r = end_process(pidfd, err);
		if (r < 0)
			return r;
	}
	failpoint("vm.teardown.ended");
	vm_table_remove(daemon->table, id);
	r = vm_runtime_remove(daemon, id, err);
	if (r < 0)
		return r;
	failpoint("vm.teardown.sockets");
	/* Last: as long as it is there, a later daemon knows what to look for. */
	return handles_remove(daemon, id, err);
}

int vm_erase(struct daemon *daemon, const char *id, struct err *err)
{
	int r;

	r = vm_teardown(daemon, id, err);
	if (r < 0)
		return r;
	r = vm_folder_remove(daemon, id, err);
	if (r < 0)
		return r;
	failpoint("vm.delete.folder");
	r = store_vm_delete(daemon->store, id, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND) {
		*err = ERR_INIT;
		r = 0;
	}
	if (r == 0)
		failpoint("vm.delete.row");
	return r;
}

int vm_note_end(struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_FREE char *console = vm_file(daemon, id, VM_FILE_CONSOLE);
	AUTO_FREE char *log = vm_file(daemon, id, VM_FILE_VMM_LOG);
	AUTO_CLOSE int pidfd = open_vmm(daemon, id);
	AUTO_FREE char *reason = NULL;
	struct vmm_exit status;
	int r;

	/* A VMM that an earlier daemon started is not our child: its files have to tell. */
	r = pidfd >= 0 ? vmm_reap(pidfd, &status) : -ECHILD;
	if (r == 0)
		return 0; /* it lives */
	reason = last_words(console, log, r > 0 ? &status : NULL);
	r = vm_teardown(daemon, id, err);
	if (r < 0)
		return r;
	if (reason)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = id }, "%s", reason);
	else
		log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = id },
			  "the guest powered off");
	return store_vm_set_state(daemon->store, id, reason ? VM_ERROR : VM_STOPPED, reason, err);
}

/* Whether the guest was told: through its agent or, failing that, by the three keys. */
static bool ask_guest(struct daemon *daemon, const char *id, uint64_t timeout_ms,
		      const struct job *job)
{
	AUTO_FREE char *vsock = vm_file(daemon, id, VM_FILE_VSOCK_SOCKET);
	AUTO_FREE char *api_socket = vm_file(daemon, id, VM_FILE_API_SOCKET);
	const struct guest_target target = {
		.socket_path = vsock,
		.cancel = job->cancel,
		.deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC,
	};
	const struct vmm_api api = { .socket_path = api_socket,
				     .cancel = job->cancel,
				     .timeout_ms = timeout_ms };
	struct err err = ERR_INIT;

	if (guest_shutdown(&target, GUEST_POWEROFF, &err) == 0)
		return true;
	log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = id, .err = &err },
		  "the agent does not answer, trying Ctrl-Alt-Del");
	return vmm_send_ctrl_alt_del(&api, &err) == 0;
}

/* Asks the guest to end, and waits for it to do so. Whether it did. */
static bool end_guest(struct daemon *daemon, const char *id, int pidfd, uint64_t timeout_ms,
		      const struct job *job)
{
	const uint64_t ask_ms = timeout_ms < ASK_TIMEOUT_MS ? timeout_ms : ASK_TIMEOUT_MS;
	uint64_t wait_ms = timeout_ms;

	/*
	 * A guest that goes down at once may take the agent's answer with it, and the VMM then
	 * takes no keys any more: who cannot be told anything may just be ending.
	 */
	if (!ask_guest(daemon, id, ask_ms, job) && wait_ms > ENDING_MS)
		wait_ms = ENDING_MS;
	failpoint("vm.stop.asked");
	return vmm_wait_exit(pidfd, clock_now_ns() + wait_ms * NSEC_PER_MSEC, job->cancel) == 0;
}

static int stop_locked(struct daemon *daemon, struct vm *vm, uint64_t timeout_ms,
		       const struct job *job, bool *ret_forced, struct err *err)
{
	AUTO_CLOSE int pidfd = open_vmm(daemon, vm->id);
	bool is_forced = true;
	int r;

	r = store_vm_set_intent(daemon->store, vm->id, VM_INTENT_STOP, NULL, err);
	if (r < 0)
		return r;
	failpoint("vm.stop.intent");
	if (vm->state == VM_PAUSED && timeout_ms > 0) {
		AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
		const struct vmm_api api = { .socket_path = socket, .timeout_ms = ASK_TIMEOUT_MS };
		struct err ignored = ERR_INIT;

		/* A guest that stands still cannot hear us; one that cannot go on is forced below.
		 */
		IGNORE_RESULT(vmm_resume(&api, &ignored));
	}
	if (pidfd >= 0 && timeout_ms > 0) {
		progress_report(job->progress, "ask", "the guest to shut down", 0, 0);
		is_forced = !end_guest(daemon, vm->id, pidfd, timeout_ms, job);
	}
	/* Cancelled while waiting: what was asked cannot be taken back, so the end is waited for,
	 * by force. */
	if (is_forced)
		progress_report(job->progress, "force", "the VMM to end", 0, 0);
	r = vm_teardown(daemon, vm->id, err);
	if (r < 0)
		return r;
	failpoint("vm.stop.ended");
	r = store_vm_set_state(daemon->store, vm->id, VM_STOPPED, NULL, err);
	if (r < 0)
		return r;
	failpoint("vm.stop.stored");
	vm->state = VM_STOPPED;
	vm->intent = VM_INTENT_NONE;
	vm_set_text(&vm->last_error, NULL);
	*ret_forced = is_forced && pidfd >= 0;
	return 0;
}

int vm_stop(const struct job *job, const char *reference, uint64_t timeout_ms, struct vm *ret,
	    bool *ret_forced, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_STOP, err);
	if (r == 0)
		r = stop_locked(daemon, &vm, timeout_ms, job, ret_forced, err);
	if (r < 0)
		return err_context(err, r, "cannot stop '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}

/* Boots under the lock that is held, with the intent before and the result after. */
static int start_locked(struct daemon *daemon, struct vm *vm, const struct job *job,
			struct strv *warnings, struct err *err)
{
	const enum vm_state before = vm->state == VM_CREATED ? VM_CREATED : VM_STOPPED;
	struct rollback rollback = { .daemon = daemon, .id = vm->id };
	struct err store_err = ERR_INIT;
	int r;

	r = store_vm_set_intent(daemon->store, vm->id, VM_INTENT_START, NULL, err);
	if (r < 0)
		return r;
	failpoint("vm.start.intent");
	r = vm_boot(daemon, vm, 0, job, warnings, err);
	if (r == 0) {
		rollback_push(&rollback, vm_teardown);
		vm->started_at = clock_wall_seconds();
		r = cancel_check(job->cancel, err);
	}
	if (r == 0)
		r = store_vm_set_started(daemon->store, vm->id, vm->started_at, daemon->boot_id,
					 err);
	if (r < 0) {
		rollback_run(&rollback, err);
		if (store_vm_set_state(daemon->store, vm->id, before, err->message, &store_err) < 0)
			err_append(err, &store_err);
		return r;
	}
	failpoint("vm.start.stored");
	vm->state = VM_RUNNING;
	vm->intent = VM_INTENT_NONE;
	vm_set_text(&vm->last_error, NULL);
	return 0;
}

int vm_start(const struct job *job, const char *reference, struct vm *ret, struct strv *warnings,
	     struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_START, err);
	if (r < 0)
		return r;
	r = start_locked(daemon, &vm, job, warnings, err);
	if (r < 0)
		return err_context(err, r, "cannot start '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}

int vm_restart(const struct job *job, const char *reference, uint64_t timeout_ms, struct vm *ret,
	       struct strv *warnings, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	bool is_forced;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_RESTART, err);
	if (r == 0 && vm_verb_allowed(VM_VERB_STOP, vm.state))
		r = stop_locked(daemon, &vm, timeout_ms, job, &is_forced, err);
	if (r == 0)
		r = start_locked(daemon, &vm, job, warnings, err);
	if (r < 0)
		return err_context(err, r, "cannot restart '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}

static int kill_locked(struct daemon *daemon, struct vm *vm, int signal, const struct job *job,
		       struct err *err)
{
	AUTO_CLOSE int pidfd = open_vmm(daemon, vm->id);
	int r;

	r = pidfd < 0 ? -ESRCH : vmm_kill(pidfd, signal);
	if (r < 0)
		return err_sys(err, r, "signal the VMM");
	if (signal != SIGKILL && signal != SIGTERM)
		return 0;
	r = vmm_wait_exit(pidfd, clock_now_ns() + KILL_GRACE_MS * NSEC_PER_MSEC, job->cancel);
	if (r < 0)
		return err_sys(err, r, "wait for the VMM to end");
	r = vm_teardown(daemon, vm->id, err);
	if (r == 0)
		r = store_vm_set_state(daemon->store, vm->id, VM_STOPPED, NULL, err);
	if (r < 0)
		return r;
	vm->state = VM_STOPPED;
	return 0;
}

int vm_kill(const struct job *job, const char *reference, int signal, struct vm *ret,
	    struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_KILL, err);
	if (r < 0)
		return r;
	r = kill_locked(daemon, &vm, signal, job, err);
	if (r < 0)
		return err_context(err, r, "cannot kill '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}

/* Freezing and thawing differ in the request and the state that comes of it. */
static int freeze(const struct job *job, const char *reference, enum vm_verb verb, struct vm *ret,
		  struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_FREE char *socket = NULL;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, verb, err);
	if (r < 0)
		return r;
	socket = vm_file(daemon, vm.id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket, .cancel = job->cancel };

	r = verb == VM_VERB_PAUSE ? vmm_pause(&api, err) : vmm_resume(&api, err);
	if (r == 0) {
		vm.state = vm_verb_result(verb, vm.state);
		r = store_vm_set_state(daemon->store, vm.id, vm.state, NULL, err);
	}
	if (r < 0)
		return err_context(err, r, "cannot %s '%s'", vm_verb_name(verb), vm.name);
	if (verb == VM_VERB_RESUME)
		vm_set_guest_clock(daemon, &vm, job);
	vm_copy(ret, &vm);
	return 0;
}

int vm_pause(const struct job *job, const char *reference, struct vm *ret, struct err *err)
{
	return freeze(job, reference, VM_VERB_PAUSE, ret, err);
}

int vm_resume(const struct job *job, const char *reference, struct vm *ret, struct err *err)
{
	return freeze(job, reference, VM_VERB_RESUME, ret, err);
}

int vm_delete(const struct job *job, const char *reference, struct vm *ret, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = store_vm_set_intent(daemon->store, vm.id, VM_INTENT_DELETE, NULL, err);
	/* Deleting makes the room that its record wants. Should we be killed on the way, a VM
	 * without a folder is left, which can be deleted. */
	if (r < 0 && (err->errnum == ENOSPC || err->errnum == EDQUOT)) {
		*err = ERR_INIT;
		r = 0;
	}
	if (r == 0) {
		failpoint("vm.delete.intent");
		/* The disks go with it, so there is nothing that a shutdown would save. */
		r = vm_erase(daemon, vm.id, err);
	}
	if (r < 0)
		return err_context(err, r, "cannot delete '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}
