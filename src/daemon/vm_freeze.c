/* Making a guest stand still, and go on. */
#include "daemon/vm_service.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/autostop.h"
#include "daemon/network.h"
#include "daemon/vm_files.h"
#include "guest/agent.h"
#include "guest/renew.h"
#include "vmm/fc_client.h"

#define FREEZE_TIMEOUT_MS 5000
#define REFRESH_NS	  (20 * NSEC_PER_SEC) /* a loaded host has slow guests */

int vm_refresh_guest(const struct job *job, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *socket = vm_file(job->daemon, vm->id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = job->cancel,
		.deadline_ns = clock_now_ns() + REFRESH_NS,
	};
	AUTO_JSON *identity = json_new_object();
	int r;

	json_put_str(identity, "hostname", vm->name);
	guest_put_clock(identity);
	if (network_has(job->daemon->network, vm->id))
		json_put(identity, "network", network_identity(job->daemon->network, vm));
	r = vm_put_entropy(identity, err);
	return r < 0 ? r : guest_identity(&target, identity, err);
}

void vm_set_guest_clock(struct daemon *daemon, const struct vm *vm)
{
	/* Not to be cancelled: nobody would do it later. */
	const struct job job = { .daemon = daemon };
	struct err err = ERR_INIT;

	if (vm_refresh_guest(&job, vm, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &err },
			  "cannot set the guest's clock, ignoring");
}

/* Makes the VMM pause or resume. What it says counts: an answer may be lost. *state says what holds
 * now. */
static int freeze_vmm(const struct vmm_api *api, enum vm_verb verb, enum vm_state *state,
		      struct err *err)
{
	const enum vm_state wanted = vm_verb_result(verb, *state);
	struct vmm_description description;
	struct err ignored = ERR_INIT;
	int r;

	r = verb == VM_VERB_PAUSE ? vmm_pause(api, err) : vmm_resume(api, err);
	if (r == 0)
		*state = wanted;
	else if (vmm_describe(api, &description, &ignored) == 0)
		*state = vm_state_of_vmm(description.state, *state);
	if (*state != wanted)
		return r;
	*err = ERR_INIT;
	return 0;
}

static int freeze_locked(struct daemon *daemon, struct vm *vm, enum vm_verb verb, struct err *err)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	/* Not to be cancelled: it takes no time, and half of it would be a lie in the database. */
	const struct vmm_api api = { .socket_path = socket, .timeout_ms = FREEZE_TIMEOUT_MS };
	const enum vm_state before = vm->state;
	struct err store_err = ERR_INIT;
	int r;

	r = freeze_vmm(&api, verb, &vm->state, err);
	if (r < 0)
		return r;
	failpoint("vm.freeze.done");
	r = store_vm_set_state(daemon->store, vm->id, vm->state, NULL, &store_err);
	if (r < 0) {
		*err = store_err;
		store_err = ERR_INIT;
		/* Back, so that what is stored stays true. */
		if (freeze_vmm(&api, before == VM_PAUSED ? VM_VERB_PAUSE : VM_VERB_RESUME,
			       &vm->state, &store_err) < 0)
			err_append(err, &store_err);
	}
	return r;
}

static int freeze(const struct job *job, const char *reference, enum vm_verb verb, struct vm *ret,
		  struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, verb, err);
	if (r < 0)
		return r;
	r = freeze_locked(daemon, &vm, verb, err);
	if (r < 0)
		return err_context(err, r, "cannot %s '%s'", vm_verb_name(verb), vm.name);
	if (verb == VM_VERB_RESUME) {
		autostop_touch(daemon->autostop, vm.id);
		vm_set_guest_clock(daemon, &vm);
	}
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
