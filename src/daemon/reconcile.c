#include "daemon/reconcile.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/publish.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"
#include "daemon/vmm_search.h"
#include "priv/priv.h"
#include "vmm/supervise.h"

#define ADOPT_TIMEOUT_MS 1000

/* --- VMMs that handles.json does not name, or whose VM should not run --- */

static const struct vm *find_row(const struct vm_list *vms, const char *id)
{
	for (size_t i = 0; i < vms->count; i++) {
		if (str_eq(vms->items[i].id, id))
			return &vms->items[i];
	}
	return NULL;
}

static bool is_written_down(struct daemon *daemon, const struct vmm_sighting *sighting)
{
	struct err ignored = ERR_INIT;
	struct handles known;

	return handles_load(daemon, sighting->id, &known, &ignored) == 0 &&
	       known.pid == sighting->handles.pid &&
	       known.start_time == sighting->handles.start_time &&
	       str_eq(known.boot_id, sighting->handles.boot_id);
}

/* Into the table, where whatever comes next finds it. 0 also when it has ended. */
static int take_over(struct daemon *daemon, const struct vmm_sighting *sighting, struct err *err)
{
	int pidfd = process_open(sighting->handles.pid, sighting->handles.start_time);

	if (pidfd == -ESRCH || vm_table_get(daemon->table, sighting->id, NULL, NULL)) {
		fd_close(pidfd);
		return 0;
	}
	if (pidfd < 0)
		return err_sys(err, pidfd, "open VMM process %d", (int)sighting->handles.pid);
	return vm_table_add(daemon->table, sighting->id, &sighting->handles, pidfd, err);
}

static int settle_vmm(struct daemon *daemon, const struct vm_list *vms,
		      const struct vmm_sighting *sighting, struct err *err)
{
	const struct vm *row = find_row(vms, sighting->id);
	const bool is_known = is_written_down(daemon, sighting);
	int r;

	if (!is_known) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = sighting->id },
			  "found VMM %d, which handles.json does not name",
			  (int)sighting->handles.pid);
		r = take_over(daemon, sighting, err);
		if (r < 0)
			return r;
	}
	/* What was begun with it is finished or undone later, and ends it if need be. */
	if (row && row->intent != VM_INTENT_NONE && row->intent != VM_INTENT_SET)
		return 0;
	if (row && vm_state_is_alive(row->state))
		return is_known ? 0 : handles_save(daemon, row->id, &sighting->handles, err);
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = sighting->id }, "ending VMM %d: %s",
		  (int)sighting->handles.pid,
		  row ? "its VM should not run" : "it belongs to no VM");
	return vm_teardown(daemon, sighting->id, err);
}

static int settle_vmms(struct daemon *daemon, const struct vm_list *vms, struct err *err)
{
	AUTO_VMM_SIGHTINGS found = { 0 };
	int r;

	r = vmm_search(daemon, &found, err);
	for (size_t i = 0; i < found.count && r == 0; i++) {
		struct err vmm_err = ERR_INIT;

		if (settle_vmm(daemon, vms, &found.items[i], &vmm_err) < 0)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = found.items[i].id, .err = &vmm_err },
				  "cannot settle a VMM, leaving it as it is");
	}
	return r;
}

/* --- one VM --- */

static int finish_intent(struct daemon *daemon, const struct vm *vm, struct err *err)
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
	case VM_INTENT_NONE:
	case VM_INTENT_COUNT:
		break;
	}
	return 0;
}

/* Enters a VM that runs as `handles` say; `pidfd` is given. Its row gets the state that its VMM
 * says. */
static int take_in(struct daemon *daemon, const struct vm *vm, const struct handles *handles,
		   int pidfd, enum vm_state state, struct err *err)
{
	const struct lease lease = { .pid = handles->lease_pid,
				     .start_time = handles->lease_start_time };
	int r;

	r = vm_table_add(daemon->table, vm->id, handles, pidfd, err);
	if (r < 0)
		return r;
	if (vm->ephemeral)
		lease_put(daemon->leases, vm->id, &lease);
	/* A daemon was killed between pausing or resuming it and writing that down. */
	return state == vm->state ? 0 : store_vm_set_state(daemon->store, vm->id, state, NULL, err);
}

/* A VM that should run: takes it over, or notes that it does not run any more. */
static int adopt(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket, .timeout_ms = ADOPT_TIMEOUT_MS };
	struct vmm_process known = VMM_PROCESS_INIT, found = VMM_PROCESS_INIT;
	struct vmm_description description;
	struct handles handles = { 0 };
	struct err adopt_err = ERR_INIT;
	const char *reason = "its VMM was gone when bangerd started";
	enum vm_state state = vm->state;
	int r;

	if (vm->boot_id && !str_eq(vm->boot_id, daemon->boot_id))
		reason = "the host was rebooted";
	r = handles_load(daemon, vm->id, &handles, &adopt_err);
	if (r == 0) {
		known.pid = handles.pid;
		known.start_time = handles.start_time;
		memcpy(known.boot_id, handles.boot_id, sizeof(known.boot_id));
		r = vmm_adopt(&known, &api, vm->id, &found, &description, &adopt_err);
	}
	/* A process that lives but does not answer is watched, not killed: what is wrong is not
	 * known. */
	if (found.pid != 0) {
		if (r < 0)
			log_write(LOG_LEVEL_WARN,
				  &(struct log_fields){ .vm = vm->id, .err = &adopt_err },
				  "the VMM lives but does not answer, leaving it alone");
		else
			state = vm_state_of_vmm(description.state, vm->state);
		return take_in(daemon, vm, &handles, TAKE_FD(found.pidfd), state, err);
	}
	/* A handles.json that is none of ours names nobody; what could not be read is tried again.
	 */
	if (adopt_err.kind != ERR_NOT_FOUND && adopt_err.kind != ERR_PROTOCOL &&
	    adopt_err.kind != ERR_INVALID && adopt_err.kind != ERR_LIMIT) {
		*err = adopt_err;
		return r;
	}
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &adopt_err }, "%s",
		  reason);
	r = vm_teardown(daemon, vm->id, err);
	return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, VM_STOPPED, reason, err);
}

/* What only a running VM has, of one that does not run. */
static int remove_rest(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *handles = vm_file(daemon, vm->id, VM_FILE_HANDLES);

	if (!vm_table_get(daemon->table, vm->id, NULL, NULL) && access(handles, F_OK) < 0)
		return 0;
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id },
		  "removing what it left when it ended");
	return vm_teardown(daemon, vm->id, err);
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

int reconcile_vm(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	int r;

	if (vm->intent != VM_INTENT_NONE) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id },
			  "finishing or undoing '%s'", vm_intent_name(vm->intent));
		r = finish_intent(daemon, vm, err);
		/* A VM that was changed goes on as it was; the others end with what was begun. */
		if (r < 0 || vm->intent != VM_INTENT_SET)
			return r;
	}
	if (!vm_state_is_alive(vm->state))
		r = remove_rest(daemon, vm, err);
	else if (vm_table_get(daemon->table, vm->id, NULL, NULL))
		r = vm_note_end(daemon, vm->id, err);
	else
		r = adopt(daemon, vm, err);
	if (r < 0)
		return r;
	if (vm_table_get(daemon->table, vm->id, NULL, NULL))
		publish_again(daemon, vm);
	if (vm->ephemeral && !lease_is_held(daemon->leases, vm->id)) {
		log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = vm->id },
			  "deleting: it was to live as long as its client");
		return vm_erase(daemon, vm->id, err);
	}
	return 0;
}

/* --- folders that belong to no VM --- */

struct sweep {
	int dir_fd; /* borrowed */
	const struct vm_list *vms;
	size_t name_len; /* how much of an id the folder's name is */
	bool keeps_disks;
};

static int sweep_folder(void *context, const char *name)
{
	const struct sweep *sweep = context;
	int r;

	/* What is not named as we name things is not ours. */
	if (strlen(name) != sweep->name_len || strspn(name, "0123456789abcdef") != sweep->name_len)
		return 0;
	for (size_t i = 0; i < sweep->vms->count; i++) {
		if (strncmp(sweep->vms->items[i].id, name, sweep->name_len) == 0)
			return 0;
	}
	/* We remove a folder before its row, so the database is not the one that this folder was
	 * made with. Disks are worth more than room. */
	if (sweep->keeps_disks && vm_disks_are_in(sweep->dir_fd, name)) {
		log_write(LOG_LEVEL_WARN, NULL,
			  "folder '%s' has disks, but belongs to no VM of the database, leaving it",
			  name);
		return 0;
	}
	r = dir_remove_tree(sweep->dir_fd, name);
	log_write(r < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, NULL, "folder '%s' belongs to no VM, %s",
		  name, r < 0 ? "and cannot be removed, ignoring" : "removed");
	return 0;
}

static int sweep_folders(const char *path, struct sweep sweep, struct err *err)
{
	AUTO_CLOSE int dir_fd = dir_open(path);
	int r;

	sweep.dir_fd = dir_fd;
	r = dir_fd < 0 ? dir_fd : dir_each(dir_fd, sweep_folder, &sweep);
	return r < 0 ? err_sys(err, r, "sweep '%s'", path) : 0;
}

static bool is_in_list(void *context, const char *id)
{
	return find_row(context, id) != NULL;
}

/* A VM's cgroups go with it; these are of rows that are gone, as with a database put back. */
static int sweep_cgroups(struct daemon *daemon, struct vm_list *vms, struct err *err)
{
	size_t removed = 0, busy = 0;
	const int r = priv_cgroup_sweep(daemon->priv, is_in_list, vms, &removed, &busy, err);

	if (removed > 0)
		log_info("removed %zu cgroups that belonged to no VM", removed);
	if (busy > 0)
		log_warn("%zu cgroups belong to no VM, but have processes, leaving them", busy);
	return r;
}

int reconcile_all(struct daemon *daemon, struct err *err)
{
	AUTO_FREE char *sockets = mem_printf("%s/vm", daemon->paths.runtime_dir);
	AUTO_VM_LIST before = { 0 };
	AUTO_VM_LIST after = { 0 };
	struct err net_err = ERR_INIT;
	int r;

	r = artifact_reconcile(daemon, err);
	if (r == 0)
		r = network_adopt(daemon->network, err);
	if (r == 0)
		r = store_vm_list(daemon->store, &before, err);
	if (r == 0)
		r = settle_vmms(daemon, &before, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < before.count; i++) {
		struct err vm_err = ERR_INIT;

		/* One VM that cannot be put right must not keep the others from being served. */
		if (reconcile_vm(daemon, &before.items[i], &vm_err) < 0)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = before.items[i].id, .err = &vm_err },
				  "cannot reconcile, leaving it as it is");
	}
	r = store_vm_list(daemon->store, &after, err);
	if (r == 0)
		r = sweep_folders(daemon->vms_dir,
				  (struct sweep){ .vms = &after,
						  .name_len = VM_ID_LENGTH,
						  .keeps_disks = true },
				  err);
	if (r == 0)
		r = sweep_folders(sockets, (struct sweep){ .vms = &after, .name_len = 12 }, err);
	if (r == 0)
		r = sweep_cgroups(daemon, &after, err);
	if (r < 0)
		return r;
	/* A network that cannot be had keeps nobody from being served: starts will say so. */
	if (network_settle(daemon->network, &after, &net_err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &net_err },
			  "cannot put the VMs' network right");
	return 0;
}

void reconcile_pass(struct daemon *daemon)
{
	AUTO_VM_LIST list = { 0 };
	struct err err = ERR_INIT;

	artifact_settle(daemon);
	if (store_vm_list(daemon->store, &list, &err) < 0) {
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot list VMs, retrying");
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		AUTO_KEYHOLD hold = KEYHOLD_INIT;
		AUTO_FREE char *key = mem_printf("vm:%s", list.items[i].id);
		struct err vm_err = ERR_INIT;
		AUTO_VM vm = { 0 };

		if (!keylock_try(daemon->locks, key, &hold))
			continue; /* somebody is at it: then it is not forgotten */
		if (store_vm_get(daemon->store, list.items[i].id, &vm, &vm_err) < 0)
			continue; /* deleted meanwhile, or the next pass sees it */
		if (reconcile_vm(daemon, &vm, &vm_err) < 0)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = vm.id, .err = &vm_err },
				  "cannot reconcile, retrying");
	}
	network_pass(daemon->network);
}
