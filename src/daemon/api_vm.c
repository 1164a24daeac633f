/* vm.*: parameters in, the service's function, the VM out. */
#include "daemon/api.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/listing.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "guest/agent.h"

#define STOP_TIMEOUT_MS_MAX (24ULL * 3600 * 1000)
#define HEALTH_TIMEOUT_MS   5000
#define PING_TIMEOUT_MS	    2000
#define REFERENCE_MAX	    VM_NAME_MAX
#define SIGNAL_LAST	    31 /* those with a name; real-time signals are the libraries' */

static void put_vm(struct rpc_call *call, const struct vm *vm, json_t *result)
{
	json_put(result, "vm", vm_describe(rpc_call_context(call), vm, VM_DETAIL_ALL));
}

/* --- create --- */

struct create_params {
	char *name;
	char *image;
	char *kernel;
	uint64_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	uint64_t system_overlay_bytes;
	bool nat;
	struct strv publish;
	struct json_maybe_bool start;
	bool ephemeral;
	bool cold;
};

static const struct json_field create_fields[] = {
	{ "name", JSON_FIELD_STRING, false, offsetof(struct create_params, name), 256,
	  "a DNS label; made up when absent" },
	{ "image", JSON_FIELD_STRING, false, offsetof(struct create_params, image), 256,
	  "built first if the catalog has it; the configured default when absent" },
	{ "kernel", JSON_FIELD_STRING, false, offsetof(struct create_params, kernel), 256,
	  "the image's own when absent" },
	{ "vcpu", JSON_FIELD_POSITIVE, false, offsetof(struct create_params, vcpu), UINT32_MAX,
	  "1 to 32" },
	{ "memory_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct create_params, memory_bytes),
	  0, "RAM" },
	{ "disk_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct create_params, disk_bytes), 0,
	  "the work disk, at /root" },
	{ "system_overlay_bytes", JSON_FIELD_POSITIVE, false,
	  offsetof(struct create_params, system_overlay_bytes), 0,
	  "the root file system; at least the image's size" },
	{ "nat", JSON_FIELD_BOOL, false, offsetof(struct create_params, nat), 0,
	  "reach the network through the host; refused where VMs have none" },
	{ "publish", JSON_FIELD_STRINGS, false, offsetof(struct create_params, publish),
	  VM_PORTS_MAX, "[IP:]HOST:GUEST[/tcp]: ports of the guest at the host's loopback, or IP" },
	{ "start", JSON_FIELD_MAYBE_BOOL, false, offsetof(struct create_params, start), 0,
	  "true when absent" },
	{ "ephemeral", JSON_FIELD_BOOL, false, offsetof(struct create_params, ephemeral), 0,
	  "delete it when this connection closes" },
	{ "cold", JSON_FIELD_BOOL, false, offsetof(struct create_params, cold), 0,
	  "boot it, also where there is a template" },
};

/* The client of ephemeral VMs is gone. When the daemon ends, the next one looks whether it still
 * lives. */
static void end_leases(void *context, uint64_t connection, bool is_stopping)
{
	struct daemon *daemon = context;
	const struct job job = { .daemon = daemon };
	AUTO_STRV ids = { 0 };

	if (is_stopping)
		return;
	leases_end(daemon->leases, connection, &ids);
	for (size_t i = 0; i < ids.count; i++) {
		struct err err = ERR_INIT;
		AUTO_VM vm = { 0 };

		if (vm_delete(&job, ids.items[i], &vm, &err) < 0 && err.kind != ERR_NOT_FOUND)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = ids.items[i], .err = &err },
				  "cannot delete an ephemeral VM, leaving that to reconcile");
	}
}

/* The lease that this call's client holds from now on. */
static int begin_lease(struct rpc_call *call, struct lease *ret, struct err *err)
{
	*ret = (struct lease){ .connection = rpc_call_connection(call) };
	/* One whose process cannot be named holds its lease by its connection alone. */
	if (process_start_time(rpc_call_peer_pid(call), &ret->start_time) == 0)
		ret->pid = rpc_call_peer_pid(call);
	return rpc_call_on_close(call, end_leases, rpc_call_context(call), err);
}

static int vm_create_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct create_params *p = params;
	const struct job job = api_job(call);
	struct vm_create_request request = {
		.name = p->name,
		.image = p->image,
		.kernel = p->kernel,
		.vcpu = p->vcpu,
		.memory_bytes = p->memory_bytes,
		.disk_bytes = p->disk_bytes,
		.system_overlay_bytes = p->system_overlay_bytes,
		.publish = &p->publish,
		.nat = p->nat,
		.start = !p->start.is_given || p->start.value,
		.ephemeral = p->ephemeral,
		.is_cold = p->cold,
	};
	AUTO_STRV warnings = { 0 };
	AUTO_VM vm = { 0 };
	int r;

	r = p->ephemeral ? begin_lease(call, &request.lease, err) : 0;
	if (r == 0)
		r = vm_create(&job, &request, &vm, &warnings, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put(result, "warnings", api_strings_json(&warnings));
	return 0;
}

/* --- set --- */

struct set_params {
	char *vm;
	char *name;
	uint64_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	struct json_maybe_bool nat;
};

struct list_params {
	bool brief;
};

static const struct json_field set_fields[] = {
	{ "vm", JSON_FIELD_STRING, true, offsetof(struct set_params, vm), REFERENCE_MAX,
	  "name, id, or a unique prefix of either" },
	{ "name", JSON_FIELD_STRING, false, offsetof(struct set_params, name), 256,
	  "a DNS label that no other VM has; also while it runs" },
	{ "vcpu", JSON_FIELD_POSITIVE, false, offsetof(struct set_params, vcpu), UINT32_MAX,
	  "1 to 32" },
	{ "memory_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct set_params, memory_bytes), 0,
	  "RAM" },
	{ "disk_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct set_params, disk_bytes), 0,
	  "the work disk, which only grows" },
	{ "nat", JSON_FIELD_MAYBE_BOOL, false, offsetof(struct set_params, nat), 0,
	  "reach the network through the host; also while it runs" },
};

static int vm_set_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct set_params *p = params;
	const struct job job = api_job(call);
	const struct vm_set_request request = {
		.name = p->name,
		.vcpu = p->vcpu,
		.memory_bytes = p->memory_bytes,
		.disk_bytes = p->disk_bytes,
		.nat = p->nat,
	};
	AUTO_STRV warnings = { 0 };
	AUTO_VM vm = { 0 };
	int r;

	r = vm_set(&job, p->vm, &request, &vm, &warnings, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put(result, "warnings", api_strings_json(&warnings));
	return 0;
}

/* --- verbs on one VM --- */

struct vm_params {
	char *vm;
	struct json_maybe_u64 timeout_ms;
	char *signal;
	bool console;
};

#define FIELD_VM                                                                              \
	{                                                                                     \
		"vm", JSON_FIELD_STRING, true, offsetof(struct vm_params, vm), REFERENCE_MAX, \
			"name, id, or a unique prefix of either"                              \
	}
#define FIELD_TIMEOUT                                                                              \
	{                                                                                          \
		"timeout_ms", JSON_FIELD_MAYBE_U64, false, offsetof(struct vm_params, timeout_ms), \
			STOP_TIMEOUT_MS_MAX,                                                       \
			"for a guest that was asked to shut down; 10000 when absent, 0 forces at " \
			"once"                                                                     \
	}

static const struct json_field vm_fields[] = { FIELD_VM };
static const struct json_field list_fields[] = {
	{ "brief", JSON_FIELD_BOOL, false, offsetof(struct list_params, brief), 0,
	  "only what a table shows: id, name, state, image, ip, vcpu, memory_bytes, disk_bytes, "
	  "workspace and created_at; last_error where there is one" },
};
static const struct json_field stop_fields[] = { FIELD_VM, FIELD_TIMEOUT };
static const struct json_field ping_fields[] = {
	FIELD_VM,
	{ "timeout_ms", JSON_FIELD_MAYBE_U64, false, offsetof(struct vm_params, timeout_ms),
	  STOP_TIMEOUT_MS_MAX, "how long to wait for the answer; 2000 when absent" },
};
static const struct json_field kill_fields[] = {
	FIELD_VM,
	{ "signal", JSON_FIELD_STRING, false, offsetof(struct vm_params, signal), 16,
	  "for the VMM: a name (\"KILL\", \"TERM\") or number; KILL when absent" },
};
static const struct json_field logs_fields[] = {
	FIELD_VM,
	{ "console", JSON_FIELD_BOOL, false, offsetof(struct vm_params, console), 0,
	  "the serial console instead of the VMM's log" },
};

static uint64_t stop_timeout_ms(const struct vm_params *p)
{
	return p->timeout_ms.is_given ? p->timeout_ms.value : VM_STOP_TIMEOUT_MS;
}

static int vm_start_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	AUTO_STRV warnings = { 0 };
	struct vm vm;
	int r;

	r = vm_start(&job, p->vm, &vm, &warnings, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put(result, "warnings", api_strings_json(&warnings));
	vm_done(&vm);
	return 0;
}

static int vm_stop_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	bool is_forced = false;
	struct vm vm;
	int r;

	r = vm_stop(&job, p->vm, stop_timeout_ms(p), &vm, &is_forced, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put_bool(result, "forced", is_forced);
	vm_done(&vm);
	return 0;
}

static int vm_restart_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	AUTO_STRV warnings = { 0 };
	struct vm vm;
	int r;

	r = vm_restart(&job, p->vm, stop_timeout_ms(p), &vm, &warnings, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	json_put(result, "warnings", api_strings_json(&warnings));
	vm_done(&vm);
	return 0;
}

/* "KILL", "SIGKILL" or "9"; what a process cannot be sent on purpose is refused. */
static int read_signal(const char *text, int *ret, struct err *err)
{
	const char *name = text && str_starts(text, "SIG") ? text + 3 : text;
	uint64_t number;

	*ret = SIGKILL;
	if (!text)
		return 0;
	if (parse_u64_text(text, SIGNAL_LAST, &number) && number > 0) {
		*ret = (int)number;
		return 0;
	}
	for (int each = 1; each <= SIGNAL_LAST; each++) {
		if (str_eq(sigabbrev_np(each), name)) {
			*ret = each;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "'%s' is no signal", text);
}

static int vm_kill_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	struct vm vm;
	int signal, r;

	r = read_signal(p->signal, &signal, err);
	if (r == 0)
		r = vm_kill(&job, p->vm, signal, &vm, err);
	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	vm_done(&vm);
	return 0;
}

static int vm_pause_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	struct vm vm;
	const int r = vm_pause(&job, p->vm, &vm, err);

	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	vm_done(&vm);
	return 0;
}

static int vm_resume_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	struct vm vm;
	const int r = vm_resume(&job, p->vm, &vm, err);

	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	vm_done(&vm);
	return 0;
}

static int vm_delete_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	struct vm vm;
	const int r = vm_delete(&job, p->vm, &vm, err);

	if (r < 0)
		return r;
	json_put_str(result, "id", vm.id);
	json_put_str(result, "name", vm.name);
	vm_done(&vm);
	return 0;
}

/* --- looking --- */

static int vm_list_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	AUTO_BUF text = BUF_INIT;
	const struct list_params *p = params;
	const int r = listing_get(daemon->listing, daemon, p->brief ? LISTING_BRIEF : LISTING_WHOLE,
				  &text, err);

	(void)result;
	if (r == 0)
		rpc_call_set_result_text(call, &text);
	return r;
}

static int vm_show_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	struct vm vm;
	const int r = daemon_find_vm(rpc_call_context(call), p->vm, &vm, err);

	if (r < 0)
		return r;
	put_vm(call, &vm, result);
	vm_done(&vm);
	return 0;
}

static void put_deleted(json_t *list, const struct vm *vm, const struct err *err)
{
	json_t *json = json_new_object();

	json_put_str(json, "id", vm->id);
	json_put_str(json, "name", vm->name);
	if (err)
		json_put_str(json, "message", err->message);
	json_add(list, json);
}

static int vm_prune_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct job job = api_job(call);
	AUTO_VM_LIST list = { 0 };
	json_t *deleted = json_new_array(), *failed = json_new_array();
	int r;

	(void)params;
	json_put(result, "deleted", deleted);
	json_put(result, "failed", failed);
	r = store_vm_list(daemon->store, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct vm *each = &list.items[i];
		struct err vm_err = ERR_INIT;
		bool is_deleted = false;

		if (vm_state_is_alive(each->state) || each->intent != VM_INTENT_NONE)
			continue;
		r = cancel_check(job.cancel, err);
		if (r < 0)
			break;
		if (vm_delete_idle(&job, each->id, &is_deleted, &vm_err) < 0)
			put_deleted(failed, each, &vm_err);
		else if (is_deleted)
			put_deleted(deleted, each, NULL);
	}
	return r;
}

static int vm_health_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct vm_params *p = params;
	struct guest_health health = { 0 };
	AUTO_FREE char *socket = NULL;
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_find_vm(daemon, p->vm, &vm, err);
	if (r < 0)
		return r;
	r = vm_check_verb(&vm, VM_VERB_HEALTH, err);
	if (r < 0)
		return r;
	socket = vm_file(daemon, vm.id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = rpc_call_cancel(call),
		.deadline_ns = clock_now_ns() + HEALTH_TIMEOUT_MS * NSEC_PER_MSEC,
	};

	r = guest_health(&target, &health, err);
	json_put_bool(result, "healthy", r == 0);
	json_put_str(result, "message", r < 0 ? err->message : NULL);
	json_put_str(result, "agent_version", health.version);
	json_put_str(result, "hostname", health.hostname);
	json_put_u64(result, "uptime_ms", health.uptime_ms);
	json_put_u64(result, "round_trip_us", health.round_trip_us);
	json_put(result, "stages", api_strings_json(&health.stages));
	guest_health_done(&health);
	return err->kind == ERR_CANCELLED ? r : 0;
}

static int vm_ports_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	json_t *ports = NULL;
	const int r = vm_ports(&job, p->vm, &ports, err);

	if (r < 0)
		return r;
	json_put(result, "ports", ports);
	return 0;
}

static int vm_ping_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	const uint64_t timeout_ms = p->timeout_ms.is_given ? p->timeout_ms.value : PING_TIMEOUT_MS;
	uint64_t round_trip_us = 0;
	const int r = vm_ping(&job, p->vm, timeout_ms, &round_trip_us, err);

	if (r < 0)
		return r;
	json_put_u64(result, "round_trip_us", round_trip_us);
	return 0;
}

static int connect_call(struct rpc_call *call, const void *params, enum vm_verb verb,
			json_t *result, struct err *err)
{
	const struct vm_params *p = params;
	const struct job job = api_job(call);
	struct vm vm;
	int fd, r;

	r = vm_connect(&job, p->vm, verb, &vm, &fd, err);
	if (r < 0)
		return r;
	rpc_call_pass_fd(call, fd);
	put_vm(call, &vm, result);
	vm_done(&vm);
	return 0;
}

static int vm_exec_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	return connect_call(call, params, VM_VERB_EXEC, result, err);
}

static int vm_shell_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	return connect_call(call, params, VM_VERB_SHELL, result, err);
}

static int vm_cp_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	return connect_call(call, params, VM_VERB_CP, result, err);
}

static int vm_workspace_export_call(struct rpc_call *call, const void *params, json_t *result,
				    struct err *err)
{
	return connect_call(call, params, VM_VERB_EXEC, result, err);
}

static int vm_logs_call(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct vm_params *p = params;
	AUTO_FREE char *path = NULL;
	struct vm vm;
	int fd, r;

	r = daemon_find_vm(daemon, p->vm, &vm, err);
	if (r < 0)
		return r;
	path = vm_file(daemon, vm.id, p->console ? VM_FILE_CONSOLE : VM_FILE_VMM_LOG);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		r = err_set(err, ERR_BAD_STATE, "'%s' has no log yet", vm.name);
		err_hint(err, "it has not been started: 'banger vm start %s'", vm.name);
	} else if (fd < 0) {
		r = err_sys(err, -errno, "open '%s'", path);
	}
	vm_done(&vm);
	if (r < 0)
		return r;
	rpc_call_pass_fd(call, fd);
	json_put_str(result, "path", path);
	return 0;
}

/* --- the table --- */

static const struct rpc_result_field vm_results[] = { { "vm", "object", "the VM" } };
static const struct rpc_result_field started_results[] = {
	{ "vm", "object", "the VM" },
	{ "warnings", "array", "sentences that the user should see" },
};
static const struct rpc_result_field stopped_results[] = {
	{ "vm", "object", "the VM" },
	{ "forced", "boolean", "the guest did not end by itself" },
};
static const struct rpc_result_field ports_results[] = {
	{ "ports", "array",
	  "protocol (https, http, tcp, udp), transport, endpoint, addresses, port, pid, process, "
	  "command" },
};
static const struct rpc_result_field ping_results[] = {
	{ "round_trip_us", "integer", "question to answer" },
};
static const struct rpc_result_field deleted_results[] = {
	{ "id", "string", "of the VM that is gone" },
	{ "name", "string", "its name" },
};
static const struct rpc_result_field pruned_results[] = {
	{ "deleted", "array", "id, name" },
	{ "failed", "array", "id, name, message" },
};
static const struct rpc_result_field list_results[] = { { "vms", "array",
							  "in the order of creation" } };
static const struct rpc_result_field health_results[] = {
	{ "healthy", "boolean", "the agent answered" },
	{ "message", "string", "why it did not; null when it did" },
	{ "agent_version", "string", "null without an answer" },
	{ "hostname", "string", "of the guest" },
	{ "uptime_ms", "integer", "of the guest" },
	{ "round_trip_us", "integer", "question to answer" },
	{ "stages", "array", "of its boot that it has reached" },
};
static const struct rpc_result_field logs_results[] = { { "path", "string", "of the file" } };

#define METHOD(method_name, text, table, call, result_table, method_flags)                \
	{                                                                                 \
		.name = (method_name), .summary = (text), .fields = (table),              \
		.field_count = ARRAY_LEN(table), .params_size = sizeof(struct vm_params), \
		.handler = (call), .results = (result_table),                             \
		.result_count = ARRAY_LEN(result_table), .flags = (method_flags)          \
	}

const struct rpc_method api_vm_methods[] = {
	{ .name = "vm.create",
	  .summary = "makes a VM and starts it",
	  .fields = create_fields,
	  .field_count = ARRAY_LEN(create_fields),
	  .params_size = sizeof(struct create_params),
	  .handler = vm_create_call,
	  .results = started_results,
	  .result_count = ARRAY_LEN(started_results),
	  .flags = RPC_MUTATES },
	METHOD("vm.start", "boots a VM", vm_fields, vm_start_call, started_results, RPC_MUTATES),
	METHOD("vm.stop", "asks the guest to shut down, then forces it", stop_fields, vm_stop_call,
	       stopped_results, RPC_MUTATES),
	METHOD("vm.restart", "stops and starts", stop_fields, vm_restart_call, started_results,
	       RPC_MUTATES),
	METHOD("vm.kill", "signals the VMM", kill_fields, vm_kill_call, vm_results, RPC_MUTATES),
	METHOD("vm.pause", "freezes", vm_fields, vm_pause_call, vm_results, RPC_MUTATES),
	METHOD("vm.resume", "thaws, and sets the guest's clock", vm_fields, vm_resume_call,
	       vm_results, RPC_MUTATES),
	{ .name = "vm.set",
	  .summary = "changes a VM that does not run",
	  .fields = set_fields,
	  .field_count = ARRAY_LEN(set_fields),
	  .params_size = sizeof(struct set_params),
	  .handler = vm_set_call,
	  .results = started_results,
	  .result_count = ARRAY_LEN(started_results),
	  .flags = RPC_MUTATES },
	METHOD("vm.delete", "ends a VM and removes everything of it", vm_fields, vm_delete_call,
	       deleted_results, RPC_MUTATES),
	{ .name = "vm.prune",
	  .summary = "deletes every VM that is not running",
	  .handler = vm_prune_call,
	  .results = pruned_results,
	  .result_count = ARRAY_LEN(pruned_results),
	  .flags = RPC_MUTATES },
	{ .name = "vm.list",
	  .summary = "all VMs",
	  .fields = list_fields,
	  .field_count = ARRAY_LEN(list_fields),
	  .params_size = sizeof(struct list_params),
	  .handler = vm_list_call,
	  .results = list_results,
	  .result_count = ARRAY_LEN(list_results) },
	METHOD("vm.show", "everything known of a VM", vm_fields, vm_show_call, vm_results, 0),
	METHOD("vm.health", "asks the agent how it is", vm_fields, vm_health_call, health_results,
	       0),
	METHOD("vm.ports", "what listens in the guest, and what it speaks", vm_fields,
	       vm_ports_call, ports_results, 0),
	METHOD("vm.ping", "a question to the agent and its answer", ping_fields, vm_ping_call,
	       ping_results, 0),
	METHOD("vm.exec", "a stream to the agent, for a command", vm_fields, vm_exec_call,
	       vm_results, RPC_PASSES_FD),
	METHOD("vm.shell", "a stream to the agent, for a session", vm_fields, vm_shell_call,
	       vm_results, RPC_PASSES_FD),
	METHOD("vm.cp", "a stream to the agent, for files", vm_fields, vm_cp_call, vm_results,
	       RPC_PASSES_FD),
	METHOD("vm.workspace.export", "a stream to the agent, for the work that is in the guest",
	       vm_fields, vm_workspace_export_call, vm_results, RPC_PASSES_FD),
	METHOD("vm.logs", "a log file, opened for reading", logs_fields, vm_logs_call, logs_results,
	       RPC_PASSES_FD),
};
const size_t api_vm_method_count = ARRAY_LEN(api_vm_methods);
