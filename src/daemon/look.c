#include "daemon/look.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/lease.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/snapshots.h"
#include "daemon/templates.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"
#include "priv/priv.h"
#include "vmm/supervise.h"

#define ANSWER_TIMEOUT_MS   1000
#define SOCKET_FOLDER_CHARS 12

const struct vm *look_find_vm(const struct vm_list *vms, const char *id)
{
	for (size_t i = 0; i < vms->count; i++) {
		if (str_eq(vms->items[i].id, id))
			return &vms->items[i];
	}
	return NULL;
}

/* --- one VM --- */

/* Its VMM as handles.json names it, if that is so. The lease is taken from there in any case. */
static int find_noted(const struct daemon *daemon, const struct vm *vm, struct vm_facts *facts,
		      struct err *err)
{
	struct err load_err = ERR_INIT;
	struct handles handles;
	int r;

	r = handles_load(daemon, vm->id, &handles, &load_err);
	if (r < 0 && handles_is_shortage(load_err.errnum)) {
		*err = load_err;
		return r;
	}
	/* Numbers of another boot name nobody of this one. */
	if (r < 0 || !str_eq(handles.boot_id, daemon->boot_id))
		return 0;
	facts->handles = handles;
	r = vmm_search_is(daemon, vm->id, handles.pid, handles.start_time);
	if (r < 0)
		return err_sys(err, r, "look at process %d", (int)handles.pid);
	facts->has_vmm = facts->is_noted = r > 0;
	return 0;
}

/* Its VMM wherever it is, with what find_noted() found that only handles.json can say. */
static void take_sighting(const struct vmm_sightings *found, const struct vm *vm, bool has_device,
			  struct vm_facts *facts)
{
	const struct vmm_sighting *sighting = vmm_sightings_find(found, vm->id);
	const struct handles noted = facts->handles;

	if (!sighting)
		return;
	facts->has_vmm = true;
	facts->handles = sighting->handles;
	facts->handles.has_network = noted.has_network || has_device;
	/* The row has had no other since the start. */
	(void)snprintf(facts->handles.address, sizeof(facts->handles.address), "%s",
		       noted.address[0] != '\0'		      ? noted.address
		       : facts->handles.has_network && vm->ip ? vm->ip
							      : "");
	facts->handles.lease_pid = noted.lease_pid;
	facts->handles.lease_start_time = noted.lease_start_time;
}

static int find_vmm(struct daemon *daemon, const struct vm *vm, const struct vmm_sightings *found,
		    struct vm_facts *facts, struct err *err)
{
	AUTO_VMM_SIGHTINGS own = { 0 };
	int r;

	r = find_noted(daemon, vm, facts, err);
	if (r == 0 && !facts->has_vmm && !found) {
		r = vmm_search(daemon, &own, err);
		found = &own;
	}
	if (r == 0 && !facts->has_vmm)
		take_sighting(found, vm, network_has(daemon->network, vm->id), facts);
	return r;
}

/* Whether the VMM is who it should be, and in which state. */
static void ask_vmm(const struct daemon *daemon, const struct vm *vm, struct vm_facts *facts)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket, .timeout_ms = ANSWER_TIMEOUT_MS };
	struct vmm_description description;
	struct err ignored = ERR_INIT;

	facts->says = vm->state;
	facts->answers =
		vmm_describe(&api, &description, &ignored) == 0 && str_eq(description.id, vm->id);
	if (facts->answers)
		facts->says = vm_state_of_vmm(description.state, vm->state);
}

static bool is_there(const struct daemon *daemon, const struct vm *vm, enum vm_file file)
{
	AUTO_FREE char *path = vm_file(daemon, vm->id, file);

	return access(path, F_OK) == 0;
}

static unsigned look_at_things(struct daemon *daemon, const struct vm *vm)
{
	struct priv_cgroup_view cgroup;
	unsigned has = 0;

	priv_cgroup_look(daemon->priv, vm->id, &cgroup);
	if (is_there(daemon, vm, VM_FILE_HANDLES))
		has |= VM_HAS_HANDLES;
	if (is_there(daemon, vm, VM_FILE_RUNTIME))
		has |= VM_HAS_SOCKETS;
	/* With others' cgroups below it stays: they are not ours to remove. */
	if (cgroup.exists && (cgroup.processes > 0 || !cgroup.has_others))
		has |= VM_HAS_CGROUP;
	if (network_has(daemon->network, vm->id))
		has |= VM_HAS_DEVICE;
	return has;
}

/* One that leaves the VM as it is. */
static bool is_undone_restore(const struct vm *vm, const struct vm_facts *facts)
{
	return vm->intent == VM_INTENT_RESTORE && !facts->is_decided;
}

/* A client of an earlier daemon holds its lease by living, as long as the VM is one that goes on:
 * with the run ends what handles.json says. */
static bool is_lease_held(const struct daemon *daemon, const struct vm *vm,
			  const struct vm_facts *facts)
{
	struct lease lease;
	int pidfd;

	if (lease_get(daemon->leases, vm->id, &lease))
		return lease_is_held(daemon->leases, vm->id);
	if (!facts->has_vmm || facts->handles.lease_pid <= 0 || !vm_state_is_alive(vm->state) ||
	    (!vm_intent_lets_run(vm->intent) && !is_undone_restore(vm, facts)))
		return false;
	pidfd = process_open(facts->handles.lease_pid, facts->handles.lease_start_time);
	fd_close(pidfd);
	return pidfd != -ESRCH;
}

int look_at_vm(struct daemon *daemon, const struct vm *vm, const struct vmm_sightings *found,
	       struct vm_facts *ret, struct err *err)
{
	struct vm_facts facts = { .is_other_boot =
					  vm->boot_id && !str_eq(vm->boot_id, daemon->boot_id) };
	AUTO_CLOSE int pidfd = -1;
	int r = 0;

	facts.is_watched = vm_table_get(daemon->table, vm->id, &facts.handles, &pidfd);
	if (facts.is_watched)
		facts.has_ended = pidfd >= 0 && vmm_wait_exit(pidfd, clock_now_ns(), NULL) == 0;
	else
		r = find_vmm(daemon, vm, found, &facts, err);
	if (r < 0)
		return r;
	if (!vm_state_is_alive(vm->state))
		facts.has = look_at_things(daemon, vm);
	else if (facts.has_vmm)
		ask_vmm(daemon, vm, &facts);
	facts.is_decided = snapshot_restore_is_decided(daemon, vm);
	facts.is_lease_held = is_lease_held(daemon, vm, &facts);
	*ret = facts;
	return 0;
}

/* --- what belongs to no VM --- */

struct collection {
	struct strv *names;
	size_t length; /* of the names that we give */
};

static int collect(void *context, const char *name)
{
	const struct collection *collection = context;

	/* What is not named as we name things is not ours. */
	if (strlen(name) == collection->length &&
	    strspn(name, "0123456789abcdef") == collection->length)
		strv_add(collection->names, name);
	return 0;
}

static int list_folder(const char *path, size_t length, struct strv *ret, struct err *err)
{
	struct collection collection = { .names = ret, .length = length };
	AUTO_CLOSE int fd = dir_open(path);
	const int r = fd < 0 ? fd : dir_each(fd, collect, &collection);

	return r < 0 && r != -ENOENT ? err_sys(err, r, "list '%s'", path) : 0;
}

int look_for_names(struct daemon *daemon, struct look_names *ret, struct err *err)
{
	AUTO_FREE char *sockets = mem_printf("%s/vm", daemon->paths.runtime_dir);
	int r;

	r = list_folder(daemon->vms_dir, VM_ID_LENGTH, &ret->folders, err);
	if (r == 0)
		r = list_folder(sockets, SOCKET_FOLDER_CHARS, &ret->sockets, err);
	if (r == 0)
		r = priv_cgroup_ids(daemon->priv, &ret->cgroups, err);
	return r;
}

void look_names_done(struct look_names *names)
{
	strv_done(&names->folders);
	strv_done(&names->sockets);
	strv_done(&names->cgroups);
}

static bool has_vm_named(const struct vm_list *vms, const char *id, size_t length)
{
	for (size_t i = 0; i < vms->count; i++) {
		if (strncmp(vms->items[i].id, id, length) == 0)
			return true;
	}
	return false;
}

static void add_folders(struct daemon *daemon, const struct strv *names, const struct vm_list *vms,
			struct plan *plan)
{
	AUTO_CLOSE int vms_fd = dir_open(daemon->vms_dir);

	for (size_t i = 0; i < names->count; i++) {
		const char *id = names->items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", daemon->vms_dir, id);

		if (has_vm_named(vms, id, VM_ID_LENGTH))
			continue;
		/* We remove a folder before its row, so the database is not the one that this
		 * folder was made with. Disks are worth more than room. */
		if (vms_fd < 0 || vm_disks_are_in(vms_fd, id))
			plan_add(plan, PLAN_LEAVE, id, path,
				 "the folder has disks, but belongs to no VM of the database");
		else
			plan_add(plan, PLAN_REMOVE, id, path, "the folder belongs to no VM");
	}
}

static void add_cgroups(struct daemon *daemon, const struct vmm_sightings *found,
			const struct strv *ids, const struct vm_list *vms, struct plan *plan)
{
	for (size_t i = 0; i < ids->count; i++) {
		struct priv_cgroup_view view;

		if (has_vm_named(vms, ids->items[i], VM_ID_LENGTH))
			continue;
		priv_cgroup_look(daemon->priv, ids->items[i], &view);
		/* With its VMM it ends, too. */
		if (!view.exists || vmm_sightings_find(found, ids->items[i]))
			continue;
		if (view.processes > 0 || view.has_others)
			plan_add(plan, PLAN_LEAVE, ids->items[i], "cgroup",
				 view.processes > 0
					 ? "it belongs to no VM, but has processes"
					 : "it belongs to no VM, but has others' cgroups");
		else
			plan_add(plan, PLAN_REMOVE, ids->items[i], "cgroup", "it belongs to no VM");
	}
}

void look_for_strays(struct daemon *daemon, const struct vmm_sightings *found,
		     const struct look_names *names, const struct vm_list *vms, struct plan *plan)
{
	for (size_t i = 0; i < found->count; i++) {
		const struct vmm_sighting *sighting = &found->items[i];
		AUTO_FREE char *vmm = mem_printf("VMM %d", (int)sighting->handles.pid);

		if (!look_find_vm(vms, sighting->id) && vmm_sightings_find(found, sighting->id))
			plan_add(plan, PLAN_END, sighting->id, vmm, "it belongs to no VM");
	}
	add_folders(daemon, &names->folders, vms, plan);
	for (size_t i = 0; i < names->sockets.count; i++) {
		const char *name = names->sockets.items[i];
		AUTO_FREE char *path = mem_printf("%s/vm/%s", daemon->paths.runtime_dir, name);

		if (!has_vm_named(vms, name, SOCKET_FOLDER_CHARS))
			plan_add(plan, PLAN_REMOVE, NULL, path, "the folder belongs to no VM");
	}
	add_cgroups(daemon, found, &names->cgroups, vms, plan);
}

/* --- everything --- */

/* What will be of it: its state, when the plan is done. */
static void settle_state(struct vm *vm, const struct plan *plan, size_t from)
{
	for (size_t i = from; i < plan->count; i++) {
		const enum plan_kind kind = plan->items[i].kind;

		if ((kind == PLAN_UNDO && vm->intent != VM_INTENT_RESTORE) ||
		    kind == PLAN_NOTE_END || kind == PLAN_NOTE_GONE || kind == PLAN_DELETE ||
		    (kind == PLAN_FINISH && !vm_intent_lets_run(vm->intent)))
			vm->state = VM_STOPPED;
	}
	vm->intent = VM_INTENT_NONE;
}

/* What a look at all VMs gathers. */
struct sweep {
	struct daemon *daemon;
	const struct vmm_sightings *found;
	bool is_start;
	struct strv connected; /* ids of those that were started with a network device */
	struct plan *plan;     /* borrowed */
};

static int add_vm(struct sweep *sweep, struct vm *vm, struct err *err)
{
	struct daemon *daemon = sweep->daemon;
	struct plan *plan = sweep->plan;
	AUTO_FREE char *key = mem_printf("vm:%s", vm->id);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	const size_t from = plan->count;
	struct err look_err = ERR_INIT;
	struct vm_facts facts;
	AUTO_VM now = { 0 };

	/* Somebody is at it: then it is not forgotten. */
	if (!sweep->is_start && !keylock_try(daemon->locks, key, &hold))
		return 0;
	if (store_vm_get(daemon->store, vm->id, &now, &look_err) < 0) {
		if (look_err.kind == ERR_NOT_FOUND)
			return 0; /* deleted meanwhile */
		*err = look_err;
		return -EIO;
	}
	if (look_at_vm(daemon, &now, sweep->found, &facts, &look_err) < 0) {
		plan_add_vm(plan, PLAN_LEAVE, &now, NULL, look_err.message);
	} else {
		plan_vm(&now, &facts, plan);
		snapshots_look(daemon, &now, plan);
		if (facts.handles.has_network)
			strv_add(&sweep->connected, now.id);
	}
	vm->state = now.state;
	vm->intent = now.intent;
	settle_state(vm, plan, from);
	return 0;
}

int look_at_all(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
{
	AUTO_VMM_SIGHTINGS found = { 0 };
	AUTO_LOOK_NAMES names = { 0 };
	AUTO_VM_LIST vms = { 0 };
	struct sweep sweep = {
		.daemon = daemon, .found = &found, .is_start = is_start, .plan = plan
	};
	int r;

	r = artifact_look(daemon, is_start, plan, err);
	if (r == 0)
		r = templates_look(daemon, is_start, plan, err);
	if (r == 0)
		r = vmm_search(daemon, &found, err);
	if (r == 0)
		r = look_for_names(daemon, &names, err);
	if (r == 0 && daemon->store)
		r = store_vm_list(daemon->store, &vms, err);
	if (r < 0)
		return r;
	look_for_strays(daemon, &found, &names, &vms, plan);
	for (size_t i = 0; i < vms.count && r == 0; i++)
		r = add_vm(&sweep, &vms.items[i], err);
	if (r == 0)
		r = network_look(daemon->network, &vms, &sweep.connected, is_start, plan, err);
	strv_done(&sweep.connected);
	return r;
}
