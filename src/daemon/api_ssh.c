/* ssh into VMs: what the user's ssh must be told, and the stream that its ProxyCommand wants. */
#include "daemon/api.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/known_hosts.h"
#include "daemon/ssh_config.h"
#include "daemon/vm_service.h"
#include "guest/agent.h"

#define ANSWER_TIMEOUT_MS 30000 /* a guest that is still booting has much to do */

struct ssh_params {
	char *vm;
};

static const struct json_field ssh_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct ssh_params, vm), VM_NAME_MAX,
	  "name, id, or a unique prefix of either" },
};

static void put_vm(struct rpc_call *call, const struct vm *vm, json_t *result)
{
	AUTO_FREE char *host = mem_printf("%s%s", vm->name, KNOWN_HOSTS_SUFFIX);

	json_put(result, "vm", vm_describe(rpc_call_context(call), vm, VM_DETAIL_ALL));
	json_put_str(result, "host", host);
}

static int vm_ssh_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct ssh_params *p = params;
	AUTO_FREE char *config = ssh_config_all_path(daemon);
	AUTO_BUF text = BUF_INIT;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_find_vm(daemon, p->vm, &vm, err);
	if (r == 0)
		r = vm_check_verb(&vm, VM_VERB_SSH, err);
	if (r == 0)
		r = known_hosts_pin(daemon, &vm, err);
	if (r == 0)
		r = ssh_config_write(daemon, &text, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put_str(result, "config", config);
	return 0;
}

static int vm_sshd_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct ssh_params *p = params;
	const struct job job = api_job(call);
	AUTO_CLOSE int fd = -1;
	AUTO_VM vm = { 0 };
	int r;

	r = vm_connect(&job, p->vm, VM_VERB_SSH, &vm, &fd, err);
	if (r < 0)
		return r;
	/* ssh looks into known_hosts once sshd has answered, which is after this. */
	r = known_hosts_pin(job.daemon, &vm, err);
	if (r == 0)
		r = guest_ssh(fd, job.cancel, clock_now_ns() + ANSWER_TIMEOUT_MS * NSEC_PER_MSEC,
			      err);
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		err_hint(err, "'banger vm shell %s' needs none", vm.name);
	if (r < 0)
		return err_context(err, r, "cannot ssh into '%s'", vm.name);
	rpc_call_pass_fd(call, TAKE_FD(fd));
	put_vm(call, &vm, result);
	return 0;
}

static int ssh_config_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	const struct daemon *daemon = rpc_call_context(call);
	AUTO_FREE char *path = ssh_config_path(daemon);
	AUTO_FREE char *known_hosts = known_hosts_path(daemon);
	AUTO_BUF text = BUF_INIT;
	int r;

	(void)params;
	r = ssh_config_write(daemon, &text, err);
	if (r < 0)
		return r;
	json_put_str(result, "config", path);
	json_put_str(result, "text", text.ptr);
	json_put_str(result, "identity", daemon->ssh_key_path);
	json_put_str(result, "known_hosts", known_hosts);
	return 0;
}

static const struct rpc_result_field ssh_results[] = {
	{ "vm", "object", "the VM" },
	{ "host", "string", "what ssh is to call it: NAME.vm" },
	{ "config", "string", "file for ssh's -F: ours in front of the user's and the system's" },
};
static const struct rpc_result_field sshd_results[] = {
	{ "vm", "object", "the VM" },
	{ "host", "string", "what ssh is to call it: NAME.vm" },
};
static const struct rpc_result_field config_results[] = {
	{ "config", "string", "file to include in the user's configuration" },
	{ "text", "string", "what is in it" },
	{ "identity", "string", "the user's private key" },
	{ "known_hosts", "string", "file with the keys of all VMs" },
};

const struct rpc_method api_ssh_methods[] = {
	{ .name = "vm.ssh",
	  .summary = "what ssh needs to reach a VM, whose key is pinned",
	  .fields = ssh_fields,
	  .field_count = ARRAY_LEN(ssh_fields),
	  .params_size = sizeof(struct ssh_params),
	  .handler = vm_ssh_call,
	  .results = ssh_results,
	  .result_count = ARRAY_LEN(ssh_results) },
	{ .name = "vm.sshd",
	  .summary = "a stream to a VM's sshd, for ssh's ProxyCommand; started if none listens",
	  .fields = ssh_fields,
	  .field_count = ARRAY_LEN(ssh_fields),
	  .params_size = sizeof(struct ssh_params),
	  .handler = vm_sshd_call,
	  .results = sshd_results,
	  .result_count = ARRAY_LEN(sshd_results),
	  .flags = RPC_PASSES_FD },
	{ .name = "ssh.config",
	  .summary = "the files with which ssh reaches VMs from any terminal",
	  .handler = ssh_config_call,
	  .results = config_results,
	  .result_count = ARRAY_LEN(config_results) },
};
const size_t api_ssh_method_count = ARRAY_LEN(api_ssh_methods);
