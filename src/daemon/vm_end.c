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
#include "daemon/known_hosts.h"
#include "daemon/last_words.h"
#include "daemon/network.h"
#include "daemon/publish.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "daemon/vmm_search.h"
#include "guest/agent.h"
#include "priv/priv.h"
#include "vmm/fc_client.h"
#include "vmm/supervise.h"

#define TERM_GRACE_MS  2000  /* for a VMM to end QEMU and remove its sockets */
#define KILL_GRACE_MS  10000 /* a killed process goes as soon as the kernel has freed its memory */
#define ASK_TIMEOUT_MS 3000  /* for the agent to agree to a shutdown */
#define ENDING_MS      1000  /* for a VMM to end whose guest has */

/*
 * The VMM's process, from the table or, for one that this daemon has not adopted, from
 * handles.json. *ret_pidfd is the caller's own, or -1 when there surely is no such process (any
 * more); what cannot be told is an error.
 */
static int open_vmm(struct daemon *daemon, const char *id, int *ret_pidfd, struct err *err)
{
	struct handles handles;
	struct err load_err = ERR_INIT;
	int pidfd = -1;
	int r;

	*ret_pidfd = -1;
	if (vm_table_get(daemon->table, id, NULL, &pidfd)) {
		if (pidfd < 0)
			return err_sys(err, pidfd, "hold the VMM's process");
		*ret_pidfd = pidfd;
		return 0;
	}
	r = handles_load(daemon, id, &handles, &load_err);
	if (r < 0 && handles_is_shortage(load_err.errnum)) {
		*err = load_err;
		return r;
	}
	/* A file that is none of ours names nobody; reconcile looks for VMMs without it. */
	if (r < 0 || !str_eq(handles.boot_id, daemon->boot_id))
		return 0;
	pidfd = process_open(handles.pid, handles.start_time);
	/* A file in the wrong place names somebody else. */
	r = pidfd < 0 ? 0 : vmm_search_is(daemon, id, handles.pid, handles.start_time);
	if (pidfd >= 0 && r <= 0) {
		fd_close(pidfd);
		return r < 0 ? err_sys(err, r, "look at VMM process %d", (int)handles.pid) : 0;
	}
	if (pidfd == -ESRCH)
		return 0;
	if (pidfd < 0)
		return err_sys(err, pidfd, "open VMM process %d", (int)handles.pid);
	*ret_pidfd = pidfd;
	return 0;
}

int vm_end_process(int pidfd, struct err *err)
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
	AUTO_CLOSE int pidfd = -1;
	int r;

	r = open_vmm(daemon, id, &pidfd, err);
	if (r == 0 && pidfd >= 0)
		r = vm_end_process(pidfd, err);
	if (r < 0)
		return r;
	failpoint("vm.teardown.ended");
	vm_table_remove(daemon->table, id);
	publish_stop(daemon->publish, id);
	/* Nothing of it is to go on, not even what the VMM could not end itself. */
	r = priv_cgroup_end(daemon->priv, id, err);
	if (r < 0)
		return r;
	failpoint("vm.teardown.cgroup");
	r = network_detach(daemon->network, id, err);
	if (r < 0)
		return r;
	failpoint("vm.teardown.network");
	r = vm_runtime_remove(daemon, id, err);
	if (r < 0)
		return r;
	failpoint("vm.teardown.sockets");
	/* Last: as long as it is there, a later daemon knows what to look for. */
	return handles_remove(daemon, id, err);
}

int vm_erase(struct daemon *daemon, const char *id, struct err *err)
{
	struct err pin_err = ERR_INIT;
	int r;

	r = vm_teardown(daemon, id, err);
	if (r < 0)
		return r;
	/* A line too many trusts nobody: the next start writes the file anew. */
	if (known_hosts_unpin(daemon, id, &pin_err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = id, .err = &pin_err },
			  "cannot remove its line from known_hosts, ignoring");
	failpoint("vm.delete.unpinned");
	r = vm_folder_remove(daemon, id, err);
	if (r < 0)
		return r;
	failpoint("vm.delete.folder");
	r = store_vm_delete(daemon->store, id, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND) {
		*err = ERR_INIT;
		r = 0;
	}
	if (r < 0)
		return r;
	failpoint("vm.delete.row");
	lease_drop(daemon->leases, id);
	return 0;
}

/* Puts it in front of what its end looks like from outside: a signal. */
static void blame_memory(uint64_t max_bytes, char **reason)
{
	AUTO_BUF text = BUF_INIT;

	buf_add_str(&text, "the kernel ended it at its memory limit of ");
	text_size(&text, max_bytes);
	buf_addf(&text, ": %s", *reason);
	mem_free(*reason);
	*reason = buf_detach(&text);
}

int vm_note_end(struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_FREE char *console = vm_file(daemon, id, VM_FILE_CONSOLE);
	AUTO_FREE char *log = vm_file(daemon, id, VM_FILE_VMM_LOG);
	AUTO_CLOSE int pidfd = -1;
	AUTO_FREE char *reason = NULL;
	struct priv_usage usage;
	struct vmm_exit status;
	bool is_reaped;
	int r;

	r = open_vmm(daemon, id, &pidfd, err);
	if (r < 0)
		return r;
	if (pidfd >= 0 && vmm_wait_exit(pidfd, clock_now_ns(), NULL) < 0)
		return 0; /* it lives */
	/* A VMM that an earlier daemon started is not our child: its files have to tell. */
	is_reaped = pidfd >= 0 && vmm_reap(pidfd, &status) > 0;
	reason = last_words(console, log, is_reaped ? &status : NULL);
	/* The cgroup knows it until the teardown. */
	if (reason && priv_cgroup_usage(daemon->priv, id, &usage) == 0 && usage.oom_kills > 0)
		blame_memory(usage.memory_max_bytes, &reason);
	/* First what cannot be found out again; what a VM left is seen by the next reconcile. */
	r = store_vm_set_state(daemon->store, id, reason ? VM_ERROR : VM_STOPPED, reason, err);
	if (r < 0)
		return r;
	failpoint("vm.end.stored");
	if (reason)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = id }, "%s", reason);
	else
		log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = id },
			  "the guest powered off");
	return vm_teardown(daemon, id, err);
}

/* --- stop --- */

/*
 * Ending makes the room that its record wants, so a full disk does not forbid it. Should we be
 * killed on the way, the VM is one whose VMM is gone, or one without a folder, as after any crash.
 */
static int begin_ending(struct daemon *daemon, const char *id, enum vm_intent intent,
			struct err *err)
{
	const int r = store_vm_set_intent(daemon->store, id, intent, NULL, err);

	if (r < 0 && (err->errnum == ENOSPC || err->errnum == EDQUOT)) {
		*err = ERR_INIT;
		return 0;
	}
	return r;
}

/* Tells the guest: through its agent or, failing that, by the three keys. < 0 only when cancelled,
 * or when we are short of something. */
static int ask_guest(struct daemon *daemon, const char *id, uint64_t timeout_ms,
		     const struct job *job, bool *ret_told, struct err *err)
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
	struct err ask_err = ERR_INIT;

	*ret_told = guest_shutdown(&target, GUEST_POWEROFF, &ask_err) == 0;
	/* That we have nothing left to ask with is no reason to force it. */
	if (!*ret_told && handles_is_shortage(ask_err.errnum)) {
		*err = ask_err;
		return -ask_err.errnum;
	}
	if (!*ret_told && ask_err.kind != ERR_CANCELLED) {
		log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = id, .err = &ask_err },
			  "the agent does not answer, trying Ctrl-Alt-Del");
		*ret_told = vmm_send_ctrl_alt_del(&api, &ask_err) == 0;
	}
	return *ret_told ? 0 : cancel_check(job->cancel, err);
}

/* Asks the guest to end, and waits for it to do so: *ret_ended. < 0 as ask_guest(). */
static int end_guest(const struct job *job, const char *id, int pidfd, uint64_t timeout_ms,
		     bool *ret_ended, struct err *err)
{
	uint64_t wait_ms = timeout_ms;
	bool is_told;
	int r;

	r = ask_guest(job->daemon, id, timeout_ms < ASK_TIMEOUT_MS ? timeout_ms : ASK_TIMEOUT_MS,
		      job, &is_told, err);
	if (r < 0)
		return r;
	/*
	 * A guest that goes down at once may take the agent's answer with it, and the VMM then
	 * takes no keys any more: who cannot be told anything may just be ending.
	 */
	if (!is_told && wait_ms > ENDING_MS)
		wait_ms = ENDING_MS;
	failpoint("vm.stop.asked");
	r = vmm_wait_exit(pidfd, clock_now_ns() + wait_ms * NSEC_PER_MSEC, job->cancel);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED,
			       "cancelled, but the guest was asked and may shut down all the same");
	*ret_ended = r == 0;
	return 0;
}

/* A guest that stands still cannot hear us; one that cannot go on is forced later. */
static void thaw(struct daemon *daemon, struct vm *vm)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket, .timeout_ms = ASK_TIMEOUT_MS };
	struct err ignored = ERR_INIT;

	if (vm->state == VM_PAUSED && vmm_resume(&api, &ignored) == 0)
		vm->state = VM_RUNNING;
}

/* An ending that was given up: the VM is as it was, but for a guest that was thawed to hear us. */
static void take_back(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	struct err store_err = ERR_INIT;
	int r;

	/* One that still stands still to be copied has to go on. */
	if (vm->intent == VM_INTENT_SNAPSHOT)
		r = store_vm_set_intent(daemon->store, vm->id, vm->intent, NULL, &store_err);
	else
		r = store_vm_set_state(daemon->store, vm->id, vm->state, vm->last_error,
				       &store_err);
	if (r < 0)
		err_append(err, &store_err);
}

int vm_stop_locked(struct daemon *daemon, struct vm *vm, uint64_t timeout_ms, const struct job *job,
		   bool *ret_forced, struct err *err)
{
	AUTO_CLOSE int pidfd = -1;
	bool has_ended = false;
	int r;

	r = open_vmm(daemon, vm->id, &pidfd, err);
	if (r == 0)
		r = begin_ending(daemon, vm->id, VM_INTENT_STOP, err);
	if (r < 0)
		return r;
	failpoint("vm.stop.intent");
	if (pidfd >= 0 && timeout_ms > 0) {
		progress_report(job->progress, "shutdown", "asking the guest", 0, 0);
		thaw(daemon, vm);
		r = end_guest(job, vm->id, pidfd, timeout_ms, &has_ended, err);
		if (r < 0) {
			take_back(daemon, vm, err);
			return r;
		}
	}
	if (!has_ended)
		progress_report(job->progress, "force", "ending the VMM", 0, 0);
	r = vm_teardown(daemon, vm->id, err);
	if (r < 0)
		return r;
	failpoint("vm.stop.ended");
	r = store_vm_set_state(daemon->store, vm->id, VM_STOPPED, NULL, err);
	if (r < 0)
		return err_context(err, r, "it has ended, but that cannot be stored");
	failpoint("vm.stop.stored");
	vm->state = VM_STOPPED;
	vm->intent = VM_INTENT_NONE;
	vm_set_text(&vm->last_error, NULL);
	*ret_forced = !has_ended && pidfd >= 0;
	return 0;
}

int vm_stop(const struct job *job, const char *reference, uint64_t timeout_ms, struct vm *ret,
	    bool *ret_forced, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm_to_end(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_STOP, err);
	if (r < 0)
		return r;
	r = vm_stop_locked(daemon, &vm, timeout_ms, job, ret_forced, err);
	if (r < 0)
		return err_context(err, r, "cannot stop '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}

/* --- kill --- */

static int kill_locked(struct daemon *daemon, struct vm *vm, int signal, const struct job *job,
		       struct err *err)
{
	/* What dies of the signal dies soon; a VMM that was asked may not, and then goes on. */
	const struct cancel *cancel = signal == SIGKILL ? NULL : job->cancel;
	AUTO_CLOSE int pidfd = -1;
	int r;

	r = open_vmm(daemon, vm->id, &pidfd, err);
	if (r < 0)
		return r;
	if (signal != SIGKILL && signal != SIGTERM) {
		r = pidfd < 0 ? -ESRCH : vmm_kill(pidfd, signal);
		return r < 0 ? err_sys(err, r, "signal the VMM") : 0;
	}
	r = begin_ending(daemon, vm->id, VM_INTENT_STOP, err);
	if (r < 0)
		return r;
	failpoint("vm.kill.intent");
	r = pidfd < 0 ? 0 : vmm_kill(pidfd, signal);
	if (r == 0 && pidfd >= 0)
		r = vmm_wait_exit(pidfd, clock_now_ns() + KILL_GRACE_MS * NSEC_PER_MSEC, cancel);
	if (r < 0 && r != -ESRCH) {
		r = err_sys(err, r, "wait for the VMM to end");
		if (signal != SIGKILL)
			err_hint(err, "'banger vm kill %s' makes it end", vm->name);
		take_back(daemon, vm, err);
		return r;
	}
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

	r = daemon_claim_vm_to_end(daemon, reference, job->cancel, &hold, &vm, err);
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

/* --- delete --- */

static int delete_locked(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_CLOSE int pidfd = -1;
	int r;

	/* Who cannot even hold its process must not promise anything. */
	r = open_vmm(daemon, vm->id, &pidfd, err);
	fd_closep(&pidfd);
	if (r == 0)
		r = begin_ending(daemon, vm->id, VM_INTENT_DELETE, err);
	if (r == 0) {
		failpoint("vm.delete.intent");
		/* The disks go with it, so there is nothing that a shutdown would save. */
		r = vm_erase(daemon, vm->id, err);
	}
	return r < 0 ? err_context(err, r, "cannot delete '%s'", vm->name) : 0;
}

int vm_delete(const struct job *job, const char *reference, struct vm *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	/* Whatever was left half done goes too, so it need not be finished first. */
	r = daemon_claim_vm_as_is(job->daemon, reference, job->cancel, &hold, &vm, err);
	if (r == 0)
		r = delete_locked(job->daemon, &vm, err);
	if (r < 0)
		return r;
	vm_copy(ret, &vm);
	return 0;
}

int vm_delete_idle(const struct job *job, const char *id, bool *ret_deleted, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	struct err claim_err = ERR_INIT;
	AUTO_VM vm = { 0 };
	int r;

	*ret_deleted = false;
	r = daemon_claim_vm_as_is(job->daemon, id, job->cancel, &hold, &vm, &claim_err);
	if (r < 0 && claim_err.kind == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = claim_err;
		return r;
	}
	if (vm_state_is_alive(vm.state) || vm.intent != VM_INTENT_NONE)
		return 0;
	r = delete_locked(job->daemon, &vm, err);
	*ret_deleted = r == 0;
	return r;
}
