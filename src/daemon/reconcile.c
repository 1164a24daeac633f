#include "daemon/reconcile.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/look.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/publish.h"
#include "daemon/snapshots.h"
#include "daemon/templates.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"
#include "priv/priv.h"

/* --- doing: one VM --- */

/*
 * Into the table, where whatever comes next finds it. 0 also when it has ended meanwhile, which is
 * then seen by the next look.
 */
static int hold_vmm(struct daemon *daemon, const char *id, const struct handles *handles,
		    struct err *err)
{
	int pidfd;

	if (vm_table_get(daemon->table, id, NULL, NULL))
		return 0;
	pidfd = process_open(handles->pid, handles->start_time);
	if (pidfd == -ESRCH)
		return 0;
	if (pidfd < 0)
		return err_sys(err, pidfd, "open VMM process %d", (int)handles->pid);
	return vm_table_add(daemon->table, id, handles, pidfd, err);
}

static int undo_or_finish(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	int r;

	switch (vm->intent) {
	case VM_INTENT_CREATE:
	case VM_INTENT_DELETE:
		return vm_erase(daemon, vm->id, err);
	case VM_INTENT_START:
		r = vm_teardown(daemon, vm->id, err);
		return r < 0 ? r
			     : store_vm_set_state(daemon->store, vm->id,
						  vm->started_at ? VM_STOPPED : VM_CREATED,
						  "bangerd ended while this VM was being started",
						  err);
	case VM_INTENT_STOP:
		r = vm_teardown(daemon, vm->id, err);
		return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, VM_STOPPED, NULL, err);
	case VM_INTENT_SET:
		return vm_finish_set(daemon, vm, err);
	case VM_INTENT_SNAPSHOT:
		return vm_finish_capture(daemon, vm, err);
	case VM_INTENT_RESTORE:
		return snapshot_finish_restore(daemon, vm, err);
	case VM_INTENT_NONE:
	case VM_INTENT_COUNT:
		break;
	}
	return 0;
}

/* Its row says when it was used on the clock of another boot: that is unknown, then. */
static int correct_boot(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_VM changed = { 0 };
	int r;

	if (str_eq(vm->boot_id, daemon->boot_id))
		return 0;
	/* As it is now: `vm` is from before what was begun with it was finished. */
	r = store_vm_get(daemon->store, vm->id, &changed, err);
	if (r < 0)
		return r;
	vm_set_text(&changed.boot_id, daemon->boot_id);
	changed.used_at_ms = 0;
	return store_vm_update(daemon->store, &changed, err);
}

static int adopt(struct daemon *daemon, const struct vm *vm, const struct vm_facts *facts,
		 struct err *err)
{
	const struct lease lease = { .pid = facts->handles.lease_pid,
				     .start_time = facts->handles.lease_start_time };
	int r;

	r = hold_vmm(daemon, vm->id, &facts->handles, err);
	if (r == 0 && !facts->is_noted)
		r = handles_save(daemon, vm->id, &facts->handles, err);
	if (r == 0)
		r = correct_boot(daemon, vm, err);
	if (r == 0 && vm->ephemeral)
		lease_put(daemon->leases, vm->id, &lease);
	return r;
}

static int note_gone(struct daemon *daemon, const struct vm *vm, const char *reason,
		     struct err *err)
{
	const int r = vm_teardown(daemon, vm->id, err);

	return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, VM_STOPPED, reason, err);
}

static int do_action(struct daemon *daemon, const struct vm *vm, const struct vm_facts *facts,
		     const struct plan_action *action, struct err *err)
{
	switch (action->kind) {
	case PLAN_UNDO:
	case PLAN_FINISH:
		return undo_or_finish(daemon, vm, err);
	case PLAN_ADOPT:
		return adopt(daemon, vm, facts, err);
	case PLAN_SET_STATE:
		return store_vm_set_state(daemon->store, vm->id, facts->says, NULL, err);
	case PLAN_NOTE_END:
		return vm_note_end(daemon, vm->id, err);
	case PLAN_NOTE_GONE:
		return note_gone(daemon, vm, action->reason, err);
	case PLAN_CLEAN:
		return vm_teardown(daemon, vm->id, err);
	case PLAN_DELETE:
		return vm_erase(daemon, vm->id, err);
	case PLAN_REMOVE:
		return snapshots_remove(daemon, vm, action->object, err);
	case PLAN_SET_ADDRESS:
	case PLAN_END:
	case PLAN_RECORD:
	case PLAN_RESTORE:
	case PLAN_LEAVE:
	case PLAN_KIND_COUNT:
		break; /* nothing that is done to one VM */
	}
	return 0;
}

static void log_action(const struct plan_action *action)
{
	/* What every start of a daemon does with every VM that runs is nothing to worry about. */
	const bool is_usual = action->kind == PLAN_ADOPT || action->kind == PLAN_DELETE ||
			      action->kind == PLAN_NOTE_END;

	log_write(is_usual ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		  &(struct log_fields){ .vm = action->vm_id[0] ? action->vm_id : NULL },
		  "%s%s%s: %s", plan_kind_name(action->kind), action->object ? " " : "",
		  action->object ? action->object : "", action->reason);
}

/* The ports of a VM that runs: after a restart, and when one was in use that is free again. */
static void publish_again(struct daemon *daemon, const struct vm *vm)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_VSOCK_SOCKET);

	for (size_t i = 0; i < vm->spec.port_count; i++) {
		struct vm_port port = vm->spec.ports[i];
		struct err err = ERR_INIT;

		if (publish_open(daemon->publish, vm, &port, 1, &err) < 0)
			log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &err },
				  "cannot publish a port, retrying");
	}
	publish_serve(daemon->publish, vm, socket);
}

/* `found` as in look_at_vm(). */
static int reconcile_one(struct daemon *daemon, const struct vm *vm,
			 const struct vmm_sightings *found, struct err *err)
{
	struct vm_facts facts;
	AUTO_PLAN plan = { 0 };
	int r;

	r = look_at_vm(daemon, vm, found, &facts, err);
	if (r < 0)
		return r;
	plan_vm(vm, &facts, &plan);
	snapshots_look(daemon, vm, &plan);
	/* A VMM that handles.json does not name is to be found by whatever ends it. */
	if (plan.count > 0 && facts.has_vmm && !facts.is_noted) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id },
			  "found VMM %d, which handles.json does not name", (int)facts.handles.pid);
		r = hold_vmm(daemon, vm->id, &facts.handles, err);
	}
	for (size_t i = 0; i < plan.count && r == 0; i++) {
		log_action(&plan.items[i]);
		r = do_action(daemon, vm, &facts, &plan.items[i], err);
	}
	/* A change that cannot be finished is no reason not to watch what runs. */
	if (r < 0 && vm->intent != VM_INTENT_NONE && vm_intent_lets_run(vm->intent) &&
	    vm_state_is_alive(vm->state) && facts.has_vmm) {
		struct err watch_err = ERR_INIT;

		if (adopt(daemon, vm, &facts, &watch_err) < 0)
			err_append(err, &watch_err);
	}
	if (r == 0 && vm_state_is_alive(vm->state) &&
	    vm_table_get(daemon->table, vm->id, NULL, NULL))
		publish_again(daemon, vm);
	return r;
}

int reconcile_vm(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	return reconcile_one(daemon, vm, NULL, err);
}

/* --- doing: what belongs to no VM --- */

static int remove_stray(struct daemon *daemon, const struct vmm_sightings *found,
			const struct plan_action *action, struct err *err)
{
	const struct vmm_sighting *sighting;
	int r = 0;

	if (action->kind == PLAN_END) {
		sighting = vmm_sightings_find(found, action->vm_id);
		if (sighting)
			r = hold_vmm(daemon, action->vm_id, &sighting->handles, err);
		return r < 0 ? r : vm_teardown(daemon, action->vm_id, err);
	}
	r = action->object[0] == '/' ? dir_remove_tree(AT_FDCWD, action->object)
				     : priv_cgroup_drop(daemon->priv, action->vm_id);
	return r < 0 ? err_sys(err, r, "remove it") : 0;
}

static void remove_strays(struct daemon *daemon, const struct vmm_sightings *found,
			  const struct plan *plan, bool is_start)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct plan_action *action = &plan->items[i];
		struct err err = ERR_INIT;

		/* What is left is told once, not each minute. */
		if (action->kind != PLAN_LEAVE || is_start)
			log_action(action);
		if (action->kind != PLAN_LEAVE && remove_stray(daemon, found, action, &err) < 0)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = action->vm_id, .err = &err },
				  "cannot remove it, retrying");
	}
}

/* --- everything --- */

/* At the start nobody else is there, and everything is waited for; later nobody is waited for. */
static void reconcile_listed(struct daemon *daemon, const char *id,
			     const struct vmm_sightings *found)
{
	AUTO_FREE char *key = mem_printf("vm:%s", id);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	struct err err = ERR_INIT;
	AUTO_VM vm = { 0 };

	if (!keylock_try(daemon->locks, key, &hold))
		return; /* somebody is at it: then it is not forgotten */
	if (store_vm_get(daemon->store, id, &vm, &err) < 0)
		return; /* deleted meanwhile, or the next pass sees it */
	/* One VM that cannot be put right must not keep the others from being served. */
	if (reconcile_one(daemon, &vm, found, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .vm = id, .err = &err },
			  "cannot reconcile, leaving it as it is");
}

/* VMs and what was theirs. */
static int reconcile_vms(struct daemon *daemon, bool is_start, struct err *err)
{
	AUTO_VMM_SIGHTINGS found = { 0 };
	AUTO_LOOK_NAMES names = { 0 };
	AUTO_VM_LIST vms = { 0 };
	AUTO_PLAN strays = { 0 };
	int r;

	r = vmm_search(daemon, &found, err);
	if (r == 0)
		r = look_for_names(daemon, &names, err);
	if (r == 0)
		r = store_vm_list(daemon->store, &vms, err);
	if (r < 0)
		return r;
	look_for_strays(daemon, &found, &names, &vms, &strays);
	remove_strays(daemon, &found, &strays, is_start);
	for (size_t i = 0; i < vms.count; i++)
		reconcile_listed(daemon, vms.items[i].id, &found);
	return 0;
}

static int reconcile_network(struct daemon *daemon, struct err *err)
{
	AUTO_VM_LIST vms = { 0 };
	struct err net_err = ERR_INIT;
	int r;

	r = store_vm_list(daemon->store, &vms, err);
	if (r < 0)
		return r;
	/* A network that cannot be had keeps nobody from being served: starts will say so. */
	if (network_settle(daemon->network, &vms, &net_err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &net_err },
			  "cannot put the VMs' network right, retrying");
	return 0;
}

int reconcile_all(struct daemon *daemon, struct err *err)
{
	int r;

	r = artifact_reconcile(daemon, err);
	if (r == 0)
		r = templates_reconcile(daemon, err);
	if (r < 0)
		return r;
	network_adopt(daemon->network);
	r = reconcile_vms(daemon, true, err);
	return r < 0 ? r : reconcile_network(daemon, err);
}

void reconcile_pass(struct daemon *daemon)
{
	struct err err = ERR_INIT;

	artifact_settle(daemon);
	templates_pass(daemon);
	if (reconcile_vms(daemon, false, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot look at the VMs, retrying");
	network_pass(daemon->network);
}
