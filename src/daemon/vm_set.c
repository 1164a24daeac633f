/*
 * Changing a VM's spec and name. The row gets all of it in one transaction, with the intent to make
 * the rest agree: the work disk's file is grown, a guest that runs is told its name. Whoever finds
 * the intent after a crash does just that again.
 */
#include "daemon/vm_service.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/known_hosts.h"
#include "daemon/network.h"
#include "daemon/vm_disks.h"
#include "disk/disk.h"
#include "model/names.h"

/* The disk as the row has it. Which size the file has is not known: it may have been grown before.
 */
static int grow_disk(struct daemon *daemon, const struct vm *vm, const struct cancel *cancel,
		     struct err *err)
{
	AUTO_DISK_OVERLAY disk = { 0 };
	int r;

	r = vm_disk_find(daemon, vm, VM_DISK_WORK, DISK_ENGINE_QEMU, &disk, err);
	if (r < 0)
		return r;
	disk.size_bytes = 0;
	return disk_grow(&disk, vm->spec.disk_bytes, cancel, err);
}

int vm_finish_set(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	const struct job job = { .daemon = daemon };
	struct err tell_err = ERR_INIT;
	const bool is_alive = vm_state_is_alive(vm->state);
	int r;

	if (is_alive)
		r = network_set_nat(daemon->network, vm->id, vm->spec.nat, err);
	else
		r = grow_disk(daemon, vm, NULL, err);
	if (r == 0 && is_alive && vm_refresh_guest(&job, vm, &tell_err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &tell_err },
			  "cannot tell the guest what has changed, ignoring");
	return r < 0 ? r
		     : store_vm_set_state(daemon->store, vm->id, vm->state, vm->last_error, err);
}

/* --- what is asked for --- */

static int apply_spec(const struct daemon *daemon, const struct vm_set_request *request,
		      struct vm *vm, struct err *err)
{
	struct vm_spec *spec = &vm->spec;
	int r = 0;

	if (request->vcpu)
		r = spec_check_vcpu(request->vcpu, &daemon->host, err);
	if (r == 0 && request->memory_bytes)
		r = spec_check_memory(request->memory_bytes, &daemon->host, err);
	if (r == 0 && request->disk_bytes)
		r = spec_check_disk(request->disk_bytes, err);
	if (r < 0)
		return r;
	if (request->disk_bytes && request->disk_bytes < spec->disk_bytes) {
		AUTO_BUF is = BUF_INIT;

		text_size(&is, spec->disk_bytes);
		return err_set(err, ERR_INVALID, "its disk has %s: disks only grow", is.ptr);
	}
	if (request->vcpu)
		spec->vcpu = (uint32_t)request->vcpu;
	if (request->memory_bytes)
		spec->memory_bytes = request->memory_bytes;
	if (request->disk_bytes)
		spec->disk_bytes = request->disk_bytes;
	return 0;
}

static int apply(const struct daemon *daemon, const struct vm_set_request *request, struct vm *vm,
		 struct err *err)
{
	int r;

	if (request->name) {
		r = name_check_vm(request->name, err);
		if (r < 0)
			return r;
		vm_set_text(&vm->name, request->name);
	}
	if (request->nat.is_given && request->nat.value) {
		r = network_check_nat(daemon->network, err);
		if (r < 0)
			return r;
	}
	if (request->nat.is_given)
		vm->spec.nat = request->nat.value;
	return apply_spec(daemon, request, vm, err);
}

/* Names are the guest's to follow while it runs; what the VMM was started with is not. */
static int check_request(const struct vm_set_request *request, const struct vm *vm, struct err *err)
{
	const bool has_spec = request->vcpu || request->memory_bytes || request->disk_bytes;

	if (!has_spec && !request->name && !request->nat.is_given)
		return err_set(
			err, ERR_INVALID,
			"nothing is to be changed: give name, vcpu, memory, disk size or NAT");
	return has_spec ? vm_check_verb(vm, VM_VERB_SET, err) : 0;
}

/* --- doing it --- */

/* Names are chosen under their own lock, so that who asks whether one is free is told the truth. */
static int store_change(struct daemon *daemon, const struct job *job, struct vm *vm,
			struct err *err)
{
	AUTO_KEYHOLD names = KEYHOLD_INIT;
	int r;

	r = keylock_acquire(daemon->locks, "names", job->cancel, &names, err);
	if (r < 0)
		return r;
	vm->intent = VM_INTENT_SET;
	r = store_vm_update(daemon->store, vm, err);
	vm->intent = VM_INTENT_NONE;
	return r;
}

static void tell_guest(const struct job *job, const struct vm *vm, bool is_renamed,
		       struct strv *warnings)
{
	struct err err = ERR_INIT;

	/* A paused one is told when it goes on. */
	if (vm->state == VM_RUNNING && vm_refresh_guest(job, vm, &err) < 0)
		strv_addf(warnings, "the guest of '%s' keeps its old %s until it is restarted: %s",
			  vm->name, is_renamed ? "hostname" : "name server", err.message);
}

static int set_locked(struct daemon *daemon, const struct vm *before, struct vm *vm,
		      const struct job *job, struct strv *warnings, struct err *err)
{
	struct err undo_err = ERR_INIT, pin_err = ERR_INIT;
	int r;

	r = store_change(daemon, job, vm, err);
	if (r < 0)
		return r;
	failpoint("vm.set.intent");
	if (vm->spec.disk_bytes != before->spec.disk_bytes) {
		progress_report(job->progress, "disk", NULL, 0, 0);
		r = grow_disk(daemon, vm, job->cancel, err);
	}
	if (r == 0)
		r = network_set_nat(daemon->network, vm->id, vm->spec.nat, err);
	if (r < 0) {
		if (network_set_nat(daemon->network, vm->id, before->spec.nat, &undo_err) < 0)
			err_append(err, &undo_err);
		/* A disk that did grow is harmless: the next start uses what the file has. */
		if (store_vm_update(daemon->store, before, &undo_err) < 0)
			err_append(err, &undo_err);
		return r;
	}
	failpoint("vm.set.grown");
	if (!str_eq(vm->name, before->name)) {
		/* ssh checks again at each connection, so this can only leave a line too many. */
		if (known_hosts_pin(daemon, vm, &pin_err) < 0)
			log_write(LOG_LEVEL_WARN,
				  &(struct log_fields){ .vm = vm->id, .err = &pin_err },
				  "cannot write its new name to known_hosts, ignoring");
		failpoint("vm.set.pinned");
	}
	if (!str_eq(vm->name, before->name) || vm->spec.nat != before->spec.nat)
		tell_guest(job, vm, !str_eq(vm->name, before->name), warnings);
	return store_vm_set_state(daemon->store, vm->id, vm->state, vm->last_error, err);
}

int vm_set(const struct job *job, const char *reference, const struct vm_set_request *request,
	   struct vm *ret, struct strv *warnings, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM before = { 0 };
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, reference, job->cancel, &hold, &before, err);
	if (r < 0)
		return r;
	r = check_request(request, &before, err);
	if (r < 0)
		return r;
	vm_copy(&vm, &before);
	r = apply(daemon, request, &vm, err);
	if (r == 0)
		r = set_locked(daemon, &before, &vm, job, warnings, err);
	if (r < 0)
		return err_context(err, r, "cannot change '%s'", before.name);
	vm_copy(ret, &vm);
	return 0;
}
