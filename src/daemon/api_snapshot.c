/* vm.snapshot.* */
#include "daemon/api.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/look.h"
#include "daemon/snapshots.h"
#include "daemon/vm_service.h"

#define LISTED_VMS_MAX 256

struct create_params {
	char *vm;
	char *name;
};

struct list_params {
	struct strv vms;
};

struct snapshot_params {
	char *vm;
	char *snapshot;
};

static const struct json_field create_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct create_params, vm), VM_NAME_MAX,
	  "name, id, or a unique prefix" },
	{ "name", JSON_FIELD_STRING, false, offsetof(struct create_params, name), 256,
	  "a DNS label; the first of snap0, snap1, ... that is free when absent" },
};

static const struct json_field list_fields[] = {
	{ "vms", JSON_FIELD_STRINGS, false, offsetof(struct list_params, vms), LISTED_VMS_MAX,
	  "names, ids or unique prefixes; all VMs when absent" },
};

static const struct json_field snapshot_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct snapshot_params, vm), VM_NAME_MAX,
	  "name, id, or a unique prefix" },
	{ "snapshot", JSON_FIELD_STRING, true, offsetof(struct snapshot_params, snapshot),
	  VM_NAME_MAX, "name, id, or a unique prefix of the id" },
};

static json_t *describe(const struct job *job, const struct snapshot_of *of)
{
	return snapshot_describe(job->daemon, &of->snapshot, of->vm.name);
}

static int create_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct create_params *p = params;
	const struct job job = api_job(call);
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	const int r = snapshot_create(&job, p->vm, p->name, &of, err);

	if (r < 0)
		return r;
	json_put(result, "snapshot", describe(&job, &of));
	return 0;
}

static int add_snapshots(struct daemon *daemon, const struct vm_list *vms, const char *vm_id,
			 json_t *snapshots, struct err *err)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	const int r = store_snapshot_list(daemon->store, vm_id, &list, err);

	for (size_t i = 0; i < list.count; i++) {
		const struct vm *vm = look_find_vm(vms, list.items[i].vm_id);

		if (vm) /* else it has gone in between */
			json_add(snapshots, snapshot_describe(daemon, &list.items[i], vm->name));
	}
	return r;
}

static int list_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct list_params *p = params;
	json_t *snapshots = json_new_array();
	AUTO_STRV ids = { .items = NULL };
	AUTO_VM_LIST vms = { 0 };
	int r = 0;

	json_put(result, "snapshots", snapshots);
	for (size_t i = 0; i < p->vms.count && r == 0; i++) {
		AUTO_VM vm = { 0 };

		r = daemon_find_vm(daemon, p->vms.items[i], &vm, err);
		if (r == 0 && !strv_has(&ids, vm.id))
			strv_add(&ids, vm.id);
	}
	if (r == 0)
		r = store_vm_list(daemon->store, &vms, err);
	if (r == 0 && p->vms.count == 0)
		r = add_snapshots(daemon, &vms, NULL, snapshots, err);
	for (size_t i = 0; i < ids.count && r == 0; i++)
		r = add_snapshots(daemon, &vms, ids.items[i], snapshots, err);
	return r;
}

static int show_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct snapshot_params *p = params;
	const struct job job = api_job(call);
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	struct err problem = ERR_INIT;
	int r;

	r = snapshot_find(job.daemon, p->vm, p->snapshot, &of, err);
	if (r < 0)
		return r;
	r = snapshot_check(&job, &of.vm, &of.snapshot, &problem);
	json_put(result, "snapshot", describe(&job, &of));
	json_put_str(result, "problem", r < 0 ? problem.message : NULL);
	return cancel_check(job.cancel, err);
}

static int delete_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct snapshot_params *p = params;
	const struct job job = api_job(call);
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	const int r = snapshot_delete(&job, p->vm, p->snapshot, &of, err);

	if (r < 0)
		return r;
	json_put(result, "snapshot", describe(&job, &of));
	return 0;
}

static int restore_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct snapshot_params *p = params;
	const struct job job = api_job(call);
	AUTO_SNAPSHOT_OF of = { .snapshot = { .name = NULL } };
	AUTO_STRV warnings = { .items = NULL };
	const int r = snapshot_restore(&job, p->vm, p->snapshot, &of, &warnings, err);

	if (r < 0)
		return r;
	json_put(result, "vm", vm_describe(job.daemon, &of.vm, VM_DETAIL_ALL));
	json_put(result, "snapshot", describe(&job, &of));
	json_put(result, "warnings", api_strings_json(&warnings));
	return 0;
}

static const struct rpc_result_field snapshot_results[] = {
	{ "snapshot", "object", "the snapshot" },
};
static const struct rpc_result_field list_results[] = {
	{ "snapshots", "array", "in the order of creation" },
};
static const struct rpc_result_field show_results[] = {
	{ "snapshot", "object", "the snapshot" },
	{ "problem", "string", "why it cannot be restored; null when it can" },
};
static const struct rpc_result_field restore_results[] = {
	{ "vm", "object", "the VM" },
	{ "snapshot", "object", "the snapshot" },
	{ "warnings", "array", "sentences that the user should see" },
};

#define METHOD(method_name, text, table, params_type, call, result_table, method_flags) \
	{                                                                               \
		.name = (method_name), .summary = (text), .fields = (table),            \
		.field_count = ARRAY_LEN(table), .params_size = sizeof(params_type),    \
		.handler = (call), .results = (result_table),                           \
		.result_count = ARRAY_LEN(result_table), .flags = (method_flags)        \
	}

const struct rpc_method api_snapshot_methods[] = {
	METHOD("vm.snapshot.create", "keeps a VM as it is now, memory and disks", create_fields,
	       struct create_params, create_call, snapshot_results, RPC_MUTATES),
	METHOD("vm.snapshot.list", "snapshots", list_fields, struct list_params, list_call,
	       list_results, 0),
	METHOD("vm.snapshot.show", "everything known of a snapshot, and whether it can be restored",
	       snapshot_fields, struct snapshot_params, show_call, show_results, 0),
	METHOD("vm.snapshot.delete", "deletes a snapshot; its VM goes on", snapshot_fields,
	       struct snapshot_params, delete_call, snapshot_results, RPC_MUTATES),
	METHOD("vm.snapshot.restore", "makes a VM what it was, and has it run", snapshot_fields,
	       struct snapshot_params, restore_call, restore_results, RPC_MUTATES),
};
const size_t api_snapshot_method_count = ARRAY_LEN(api_snapshot_methods);
