/* vm.workspace.prepare: the client inspects and packs, this hands out streams and keeps the record.
 */
#include "daemon/api.h"

#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "daemon/vm_service.h"

#define PATH_BYTES_MAX 4095
#define HEAD_BYTES_MAX 64 /* a commit's name in hex */

struct prepare_params {
	char *vm;
	char *guest_path;
	char *host_path;
	char *head;
	char *fingerprint;
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
	  HEAD_BYTES_MAX, "of the host's files then, with guest_path: for the client to compare" },
};

static bool is_commit(const char *text)
{
	const size_t len = strspn(text, "0123456789abcdef");

	return text[len] == '\0' && (len == 40 || len == 64);
}

static int check_record(const struct prepare_params *p, struct err *err)
{
	if (!p->guest_path != !p->host_path)
		return err_set(err, ERR_INVALID, "guest_path and host_path go together");
	if ((p->head || p->fingerprint) && !p->guest_path)
		return err_set(err, ERR_INVALID, "head and fingerprint go with guest_path");
	if (p->guest_path && (p->guest_path[0] != '/' || p->host_path[0] != '/'))
		return err_set(err, ERR_INVALID, "guest_path and host_path must be absolute");
	if (p->head && !is_commit(p->head))
		return err_set(err, ERR_INVALID, "'%s' is no commit", p->head);
	return 0;
}

static int record(struct daemon *daemon, const struct prepare_params *p, struct vm *vm,
		  struct err *err)
{
	const struct vm_workspace workspace = { .guest_path = p->guest_path,
						.host_path = p->host_path,
						.head = p->head,
						.fingerprint = p->fingerprint };
	const int r = store_vm_set_workspace(daemon->store, vm->id, &workspace, err);

	if (r < 0)
		return r;
	vm_set_text(&vm->workspace.guest_path, p->guest_path);
	vm_set_text(&vm->workspace.host_path, p->host_path);
	vm_set_text(&vm->workspace.head, p->head);
	vm_set_text(&vm->workspace.fingerprint, p->fingerprint);
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
	if (r == 0 && p->guest_path)
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
