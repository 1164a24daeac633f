/* vm.fork */
#include "daemon/api.h"

#include "base/json.h"
#include "daemon/vm_fork.h"
#include "daemon/vm_service.h"

struct fork_params {
	char *vm;
	char *name;
	uint64_t count;
};

static const struct json_field fork_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct fork_params, vm), VM_NAME_MAX,
	  "name, id, or a unique prefix of either" },
	{ "name", JSON_FIELD_STRING, false, offsetof(struct fork_params, name), 256,
	  "of the new VM; of several NAME-1, NAME-2, ...; made up when absent" },
	{ "count", JSON_FIELD_POSITIVE, false, offsetof(struct fork_params, count), VM_FORK_MAX,
	  "how many, at most 100; 1 when absent" },
};

static int vm_fork_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct fork_params *p = params;
	const struct job job = api_job(call);
	const struct vm_fork_request request = { .name = p->name,
						 .count = p->count ? p->count : 1 };
	AUTO_VM_FORKS forks = { .captured = { .pause_us = 0 } };
	json_t *vms;
	int r;

	r = vm_fork(&job, p->vm, &request, &forks, err);
	if (r < 0)
		return r;
	vms = json_new_array();
	json_put(result, "vms", vms);
	for (size_t i = 0; i < forks.vms.count; i++)
		json_add(vms, vm_describe(job.daemon, &forks.vms.items[i], VM_DETAIL_ALL));
	json_put_u64(result, "pause_us", forks.captured.pause_us);
	json_put(result, "warnings", api_strings_json(&forks.warnings));
	return 0;
}

static const struct rpc_result_field fork_results[] = {
	{ "vms", "array", "the new VMs, as in `vm.show`" },
	{ "pause_us", "integer", "how long the VM stood still; 0 when it was paused" },
	{ "warnings", "array", "for the user" },
};

const struct rpc_method api_fork_methods[] = {
	{ .name = "vm.fork",
	  .summary = "makes VMs that run on from where another one is now",
	  .fields = fork_fields,
	  .field_count = ARRAY_LEN(fork_fields),
	  .params_size = sizeof(struct fork_params),
	  .handler = vm_fork_call,
	  .results = fork_results,
	  .result_count = ARRAY_LEN(fork_results),
	  .flags = RPC_MUTATES },
};
const size_t api_fork_method_count = ARRAY_LEN(api_fork_methods);
