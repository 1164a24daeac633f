/* vm.workspace.prepare: the client inspects and packs, this hands out streams and keeps the record.
 */
#include "daemon/api.h"

#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "daemon/vm_service.h"

#define PATH_BYTES_MAX	 4095
#define HEAD_BYTES_MAX	 64 /* a commit's name in hex */
#define BRANCH_BYTES_MAX 1024
#define MODE_BYTES_MAX	 32

struct prepare_params {
	char *vm;
	char *guest_path;
	char *host_path;
	char *head;
	char *fingerprint;
	char *branch;
	char *from;
	char *mode;
	bool include_untracked;
	bool pending;
};

static const struct json_field prepare_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct prepare_params, vm), VM_NAME_MAX,
	  "name, id, or a unique prefix of either" },
	{ "guest_path", JSON_FIELD_STRING, false, offsetof(struct prepare_params, guest_path),
	  PATH_BYTES_MAX, "where the checkout has been put: recorded; absolute" },
	{ "host_path", JSON_FIELD_STRING, false, offsetof(struct prepare_params, host_path),
	  PATH_BYTES_MAX, "where it is from, with guest_path; absolute" },
	{ "head", JSON_FIELD_STRING, false, offsetof(struct prepare_params, head), HEAD_BYTES_MAX,
	  "the commit that the host's HEAD was, with guest_path; absent without commits" },
	{ "fingerprint", JSON_FIELD_STRING, false, offsetof(struct prepare_params, fingerprint),
	  HEAD_BYTES_MAX, "of the host's files then, with host_path: for the client to compare" },
	{ "branch", JSON_FIELD_STRING, false, offsetof(struct prepare_params, branch),
	  BRANCH_BYTES_MAX, "that was asked for, with host_path; absent: the host's" },
	{ "from", JSON_FIELD_STRING, false, offsetof(struct prepare_params, from), BRANCH_BYTES_MAX,
	  "where branch was asked to begin, as it was named; absent: the host's HEAD" },
	{ "mode", JSON_FIELD_STRING, false, offsetof(struct prepare_params, mode), MODE_BYTES_MAX,
	  "shallow_overlay or full_copy, with host_path" },
	{ "include_untracked", JSON_FIELD_BOOL, false,
	  offsetof(struct prepare_params, include_untracked), 0,
	  "whether untracked files were shipped too, with host_path" },
	{ "pending", JSON_FIELD_BOOL, false, offsetof(struct prepare_params, pending), 0,
	  "instead of host_path: what is recorded at guest_path is about to be changed, and not "
	  "complete before the next record" },
};

static bool is_commit(const char *text)
{
	const size_t len = strspn(text, "0123456789abcdef");

	return text[len] == '\0' && (len == 40 || len == 64);
}

static int check_record(const struct prepare_params *p, struct err *err)
{
	const bool has_details = p->head || p->fingerprint || p->branch || p->from || p->mode ||
				 p->include_untracked;

	if (p->pending && p->host_path)
		return err_set(err, ERR_INVALID, "host_path and pending exclude each other");
	if (!p->guest_path != !(p->host_path || p->pending))
		return err_set(err, ERR_INVALID, "guest_path goes with host_path or pending");
	if (has_details && !p->host_path)
		return err_set(err, ERR_INVALID, "what is recorded goes with host_path");
	if ((p->guest_path && p->guest_path[0] != '/') || (p->host_path && p->host_path[0] != '/'))
		return err_set(err, ERR_INVALID, "guest_path and host_path must be absolute");
	if (p->head && !is_commit(p->head))
		return err_set(err, ERR_INVALID, "'%s' is no commit", p->head);
	if (p->from && (!p->branch || !p->from[0]))
		return err_set(err, ERR_INVALID, "from names a commit and goes with branch");
	if (p->mode && !str_eq(p->mode, "shallow_overlay") && !str_eq(p->mode, "full_copy"))
		return err_set(err, ERR_INVALID, "'%s' is no mode", p->mode);
	return 0;
}

/* Until the next record the one that there is does not hold. */
static int record_pending(struct daemon *daemon, const struct prepare_params *p, struct vm *vm,
			  struct err *err)
{
	if (!str_eq(vm->workspace.guest_path, p->guest_path))
		return 0;
	vm->workspace.is_pending = true;
	return store_vm_set_workspace(daemon->store, vm->id, &vm->workspace, err);
}

static int record(struct daemon *daemon, const struct prepare_params *p, struct vm *vm,
		  struct err *err)
{
	const struct vm_workspace workspace = { .guest_path = p->guest_path,
						.host_path = p->host_path,
						.head = p->head,
						.fingerprint = p->fingerprint,
						.branch = p->branch,
						.from = p->from,
						.mode = p->mode,
						.has_untracked = p->include_untracked };
	const int r = store_vm_set_workspace(daemon->store, vm->id, &workspace, err);

	if (r < 0)
		return r;
	vm_set_text(&vm->workspace.guest_path, p->guest_path);
	vm_set_text(&vm->workspace.host_path, p->host_path);
	vm_set_text(&vm->workspace.head, p->head);
	vm_set_text(&vm->workspace.fingerprint, p->fingerprint);
	vm_set_text(&vm->workspace.branch, p->branch);
	vm_set_text(&vm->workspace.from, p->from);
	vm_set_text(&vm->workspace.mode, p->mode);
	vm->workspace.has_untracked = p->include_untracked;
	vm->workspace.is_pending = false;
	return 0;
}

static int vm_workspace_prepare_call(struct rpc_call *call, const void *params, json_t *result,
				     struct err *err)
{
	const struct prepare_params *p = params;
	const struct job job = api_job(call);
	AUTO_CLOSE int fd = -1;
	AUTO_VM vm = { 0 };
	int r;

	r = check_record(p, err);
	if (r == 0)
		r = vm_connect(&job, p->vm, VM_VERB_EXEC, &vm, &fd, err);
	if (r == 0 && p->pending)
		r = record_pending(job.daemon, p, &vm, err);
	else if (r == 0 && p->guest_path)
		r = record(job.daemon, p, &vm, err);
	if (r < 0)
		return r;
	rpc_call_pass_fd(call, TAKE_FD(fd));
	json_put(result, "vm", vm_describe(job.daemon, &vm, VM_DETAIL_ALL));
	return 0;
}

static const struct rpc_result_field prepare_results[] = { { "vm", "object", "the VM" } };

const struct rpc_method api_workspace_methods[] = {
	{ .name = "vm.workspace.prepare",
	  .summary =
		  "a stream to the agent, for a checkout; with guest_path also the record that it "
		  "is there",
	  .fields = prepare_fields,
	  .field_count = ARRAY_LEN(prepare_fields),
	  .params_size = sizeof(struct prepare_params),
	  .handler = vm_workspace_prepare_call,
	  .results = prepare_results,
	  .result_count = ARRAY_LEN(prepare_results),
	  .flags = RPC_MUTATES | RPC_PASSES_FD },
};
const size_t api_workspace_method_count = ARRAY_LEN(api_workspace_methods);
