/* Looking at VMs and reaching into them; no locks. */
#include "daemon/vm_service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/autostop.h"
#include "daemon/lease.h"
#include "daemon/network.h"
#include "daemon/publish.h"
#include "daemon/reconcile.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "disk/disk.h"
#include "guest/connect.h"
#include "model/reference.h"
#include "wire/protocol.h"

#define CONNECT_TIMEOUT_MS 10000

int daemon_lock_vm(struct daemon *daemon, const char *id, const struct cancel *cancel,
		   struct keyhold *ret, struct err *err)
{
	AUTO_FREE char *key = mem_printf("vm:%s", id);

	return keylock_acquire(daemon->locks, key, cancel, ret, err);
}

int daemon_find_vm(struct daemon *daemon, const char *reference, struct vm *ret, struct err *err)
{
	AUTO_FREE struct reference_target *targets = NULL;
	AUTO_FREE size_t *places = NULL;
	AUTO_VM_LIST list = { 0 };
	size_t count = 0, index;
	int r;

	/* An exact id or name, which come before any prefix, need no look at the others. */
	if (name_is_vm_id(reference) && store_vm_get(daemon->store, reference, ret, err) == 0)
		return 0;
	if (store_vm_get_named(daemon->store, reference, ret, err) == 0)
		return 0;
	r = store_vm_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	targets = mem_alloc(list.count, sizeof(*targets));
	places = mem_alloc(list.count, sizeof(*places));
	for (size_t i = 0; i < list.count; i++) {
		/* What a template is being made of is in no list, so nobody can mean it by less. */
		if (lease_is_own(daemon->leases, list.items[i].id))
			continue;
		places[count] = i;
		targets[count++] = (struct reference_target){ .id = list.items[i].id,
							      .name = list.items[i].name };
	}
	r = reference_resolve(reference, targets, count, &index, err);
	if (r < 0)
		return r;
	vm_copy(ret, &list.items[places[index]]);
	return 0;
}

/* Loads a VM whose lock is held; it may be gone by now. */
static int load_claimed(struct daemon *daemon, const struct vm *found, struct vm *ret,
			struct err *err)
{
	const int r = store_vm_get(daemon->store, found->id, ret, err);

	if (r < 0 && err->kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "'%s' has been deleted", found->name);
	return r;
}

int daemon_claim_vm_as_is(struct daemon *daemon, const char *reference, const struct cancel *cancel,
			  struct keyhold *ret_hold, struct vm *ret, struct err *err)
{
	AUTO_VM found = { 0 };
	int r;

	r = daemon_find_vm(daemon, reference, &found, err);
	if (r < 0)
		return r;
	r = daemon_lock_vm(daemon, found.id, cancel, ret_hold, err);
	if (r < 0)
		return r;
	r = load_claimed(daemon, &found, ret, err);
	if (r < 0)
		keylock_release(ret_hold);
	return r;
}

/* Loads a VM again once what was left half done is done; `is_to_end` as daemon_claim_vm_to_end()
 * says. */
static int put_right(struct daemon *daemon, const struct vm *found, bool is_to_end, struct vm *ret,
		     struct err *err)
{
	int r;

	if (found->intent == VM_INTENT_NONE) {
		vm_copy(ret, found);
		return 0;
	}
	r = reconcile_vm(daemon, found, err);
	if (r < 0 && !(is_to_end && found->intent == VM_INTENT_SNAPSHOT))
		return err_context(err, r,
				   "'%s' of '%s' is half done, and cannot be finished or undone",
				   vm_intent_name(found->intent), found->name);
	*err = ERR_INIT;
	return load_claimed(daemon, found, ret, err);
}

int daemon_claim_vm(struct daemon *daemon, const char *reference, const struct cancel *cancel,
		    struct keyhold *ret_hold, struct vm *ret, struct err *err)
{
	AUTO_VM found = { 0 };
	int r;

	r = daemon_claim_vm_as_is(daemon, reference, cancel, ret_hold, &found, err);
	if (r < 0)
		return r;
	r = put_right(daemon, &found, false, ret, err);
	if (r < 0)
		keylock_release(ret_hold);
	return r;
}

int daemon_claim_vm_to_end(struct daemon *daemon, const char *reference,
			   const struct cancel *cancel, struct keyhold *ret_hold, struct vm *ret,
			   struct err *err)
{
	AUTO_VM found = { 0 };
	int r;

	r = daemon_claim_vm_as_is(daemon, reference, cancel, ret_hold, &found, err);
	if (r < 0)
		return r;
	r = put_right(daemon, &found, true, ret, err);
	if (r < 0)
		keylock_release(ret_hold);
	return r;
}

/* Their names, if they can be had. */
static bool list_snapshots(struct daemon *daemon, const struct vm *vm, struct strv *names)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	struct err ignored = ERR_INIT;

	if (store_snapshot_list(daemon->store, vm->id, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.count; i++)
		strv_add(names, list.items[i].name);
	return true;
}

json_t *vm_describe(struct daemon *daemon, const struct vm *vm, enum vm_detail detail)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_FREE char *console = vm_file(daemon, vm->id, VM_FILE_CONSOLE);
	AUTO_FREE char *log = vm_file(daemon, vm->id, VM_FILE_VMM_LOG);
	AUTO_STRV snapshots = { .items = NULL };
	struct vm_runtime runtime = { .directory = folder, .console_log = console, .vmm_log = log };
	struct err ignored = ERR_INIT;
	struct handles handles;

	if (vm_table_get(daemon->table, vm->id, &handles, NULL)) {
		runtime.engine = vmm_engine_name(handles.engine);
		runtime.accelerator = vmm_accelerator_name(handles.accelerator);
		runtime.pid = handles.pid;
	}
	runtime.ports_open = publish_served(daemon->publish, vm);
	runtime.trouble = network_trouble(daemon->network, vm);
	/* A look at each file of its folder: too much for hundreds of VMs in a list. */
	if (detail == VM_DETAIL_ALL) {
		runtime.has_disk_used =
			disk_used_bytes(folder, &runtime.disk_used_bytes, &ignored) == 0;
		if (list_snapshots(daemon, vm, &snapshots))
			runtime.snapshots = &snapshots;
	}
	return vm_to_json(vm, &runtime);
}

int vm_connect(const struct job *job, const char *reference, enum vm_verb verb, struct vm *ret,
	       int *ret_fd, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_FREE char *socket = NULL;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_find_vm(daemon, reference, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, verb, err);
	if (r < 0)
		return r;
	socket = vm_file(daemon, vm.id, VM_FILE_VSOCK_SOCKET);
	r = guest_connect(socket, WIRE_PORT, job->cancel,
			  clock_now_ns() + CONNECT_TIMEOUT_MS * NSEC_PER_MSEC, ret_fd, err);
	if (r < 0) {
		err_hint(err, "'banger vm logs --console %s' shows what the guest says", vm.name);
		return err_context(err, r, "cannot reach the agent of '%s'", vm.name);
	}
	autostop_touch(daemon->autostop, vm.id);
	vm_copy(ret, &vm);
	return 0;
}
