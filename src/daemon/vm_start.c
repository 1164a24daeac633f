/* Starting a VM that exists, and starting it anew. */
#include "daemon/vm_service.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "daemon/autostop.h"
#include "daemon/publish.h"

/* With the intent before and the result after. */
static int start_locked(const struct job *job, struct vm *vm, const struct vm_origin *origin,
			struct strv *warnings, struct err *err)
{
	struct daemon *daemon = job->daemon;
	const enum vm_state before = vm->state == VM_CREATED ? VM_CREATED : VM_STOPPED;
	struct rollback rollback = { .daemon = daemon, .id = vm->id };
	struct err store_err = ERR_INIT;
	int r;

	r = vm_ensure_address(daemon, vm, job, err);
	if (r == 0)
		r = publish_open(daemon->publish, vm, vm->spec.ports, vm->spec.port_count, err);
	if (r == 0)
		r = store_vm_set_intent(daemon->store, vm->id, VM_INTENT_START, NULL, err);
	if (r < 0)
		return r;
	failpoint("vm.start.intent");
	rollback_push(&rollback, vm_teardown);
	r = vm_boot(daemon, vm, origin, job, warnings, err);
	if (r == 0) {
		vm->started_at = clock_wall_seconds();
		r = cancel_check(job->cancel, err);
	}
	if (r == 0)
		r = store_vm_set_started(daemon->store, vm->id, vm->started_at, daemon->boot_id,
					 err);
	if (r < 0) {
		/* What cannot be undone now has its intent still: reconcile goes on with it. */
		if (rollback_run(&rollback, err) &&
		    store_vm_set_state(daemon->store, vm->id, before, err->message, &store_err) < 0)
			err_append(err, &store_err);
		return r;
	}
	failpoint("vm.start.stored");
	autostop_touch(daemon->autostop, vm->id);
	vm->state = VM_RUNNING;
	vm->intent = VM_INTENT_NONE;
	vm_set_text(&vm->last_error, NULL);
	return 0;
}

int vm_start_locked(const struct job *job, struct vm *vm, const struct vm_origin *origin,
		    struct strv *warnings, struct err *err)
{
	const int r = start_locked(job, vm, origin, warnings, err);

	if (r < 0)
		publish_close(job->daemon->publish, vm->id);
	return r;
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
	r = vm_start_locked(job, &vm, NULL, warnings, err);
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
		r = vm_stop_locked(daemon, &vm, timeout_ms, job, &is_forced, err);
	if (r == 0)
		r = vm_start_locked(job, &vm, NULL, warnings, err);
	if (r < 0)
		return err_context(err, r, "cannot restart '%s'", vm.name);
	vm_copy(ret, &vm);
	return 0;
}
