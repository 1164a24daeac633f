/* ping, daemon.*, doctor. */
#include "daemon/api.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/version.h"
#include "daemon/census.h"
#include "daemon/doctor.h"
#include "daemon/engine.h"
#include "daemon/look.h"
#include "daemon/names.h"
#include "daemon/operations.h"

static void put_version(json_t *result)
{
	json_put_str(result, "version", banger_version.version);
	json_put_str(result, "commit", banger_version.commit);
	json_put_str(result, "built", banger_version.built);
	json_put_i64(result, "pid", getpid());
}

static int ping(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	(void)call;
	(void)params;
	(void)err;
	put_version(result);
	return 0;
}

/* Resident set: the second number of /proc/self/statm, in pages (proc(5)). */
static uint64_t own_memory_bytes(void)
{
	AUTO_BUF text = BUF_INIT;
	struct span cursor, field;
	uint64_t pages;

	if (file_read(AT_FDCWD, "/proc/self/statm", 256, &text) < 0)
		return 0;
	cursor = buf_span(&text);
	if (!parse_until(&cursor, ' ', &field) || !parse_u64(&cursor, UINT32_MAX, &pages))
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

json_t *api_defaults_json(const struct vm_defaults *defaults)
{
	json_t *json = json_new_object();

	json_put_u64(json, "vcpu", defaults->vcpu);
	json_put_str(json, "vcpu_source", defaults->vcpu_source);
	json_put_u64(json, "memory_bytes", defaults->memory_bytes);
	json_put_str(json, "memory_source", defaults->memory_source);
	json_put_u64(json, "disk_bytes", defaults->disk_bytes);
	json_put_str(json, "disk_source", defaults->disk_source);
	json_put_u64(json, "system_overlay_bytes", defaults->system_overlay_bytes);
	json_put_str(json, "system_overlay_source", defaults->system_overlay_source);
	return json;
}

static void put_engine(struct daemon *daemon, const struct cancel *cancel, json_t *result)
{
	struct vmm_decision decision = { 0 };
	struct err err = ERR_INIT;

	if (engine_get(daemon->engine, cancel, &decision, &err) < 0) {
		json_put_str(result, "engine", NULL);
		json_put_str(result, "accelerator", NULL);
		json_put_str(result, "engine_reason", err.message);
		return;
	}
	json_put_str(result, "engine", vmm_engine_name(decision.engine));
	json_put_str(result, "accelerator", vmm_accelerator_name(decision.accelerator));
	json_put_str(result, "engine_reason", decision.reason);
	vmm_decision_done(&decision);
}

static void put_names(const struct daemon *daemon, json_t *result)
{
	bool is_listening;
	const uint64_t answers = names_answers(daemon->names, &is_listening);

	json_put_str(result, "dns_listen", daemon->config.dns_listen);
	json_put_bool(result, "dns_listening", is_listening);
	json_put_u64(result, "dns_answers", answers);
}

static int status(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	uint64_t total, running;
	int r;

	(void)params;
	r = store_vm_count(daemon->store, &total, &running, err);
	if (r < 0)
		return r;
	put_version(result);
	json_put_u64(result, "uptime_ms", (clock_now_ns() - daemon->started_ns) / NSEC_PER_MSEC);
	json_put_str(result, "socket", daemon->paths.socket);
	json_put_str(result, "state_dir", daemon->paths.state_dir);
	json_put_str(result, "cache_dir", daemon->paths.cache_dir);
	json_put_str(result, "config_file", daemon->paths.config_file);
	json_put_str(result, "log_path", daemon->paths.log);
	json_put_u64(result, "memory_bytes", own_memory_bytes());
	json_put_u64(result, "vms_total", total);
	json_put_u64(result, "vms_running", running);
	json_put_u64(result, "operations", operations_count(daemon->operations));
	put_names(daemon, result);
	json_put_str(result, "default_image", daemon->config.default_image_name);
	json_put(result, "defaults", api_defaults_json(&daemon->defaults));
	put_engine(daemon, rpc_call_cancel(call), result);
	return 0;
}

struct stop_params {
	bool force;
};

static const struct json_field stop_fields[] = {
	{ "force", JSON_FIELD_BOOL, false, offsetof(struct stop_params, force), 0,
	  "even while operations are in flight: they are cancelled" },
};

static int stop(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct stop_params *p = params;
	const size_t count = operations_count(daemon->operations);
	int r;

	if (count > 0 && !p->force) {
		r = err_set(err, ERR_BUSY, "%zu operation%s in flight", count,
			    count == 1 ? " is" : "s are");
		err_hint(err, "wait for them, or use --force to cancel them");
		return r;
	}
	json_put_i64(result, "pid", getpid());
	cancel_fire(&daemon->stop);
	return 0;
}

static int operations_list(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);

	(void)params;
	(void)err;
	json_put(result, "operations", operations_json(daemon->operations));
	return 0;
}

struct cancel_params {
	uint64_t id;
};

static const struct json_field cancel_fields[] = {
	{ "id", JSON_FIELD_U64, true, offsetof(struct cancel_params, id), 0,
	  "from daemon.operations.list" },
};

static int cancel_operation(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct cancel_params *p = params;

	(void)result;
	return operations_cancel(daemon->operations, p->id, err);
}

static int doctor(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct job job = api_job(call);
	json_t *checks = doctor_checks(rpc_call_context(call), &job);
	const json_t *check;
	bool is_ok = true;
	size_t i;

	(void)params;
	(void)err;
	json_array_foreach(checks, i, check)
		is_ok = is_ok && !str_eq(json_get_str(check, "status"), "fail");
	json_put(result, "checks", checks);
	json_put_bool(result, "ok", is_ok);
	return 0;
}

static int plan(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	AUTO_PLAN plan = { 0 };
	int r;

	(void)params;
	r = look_at_all(rpc_call_context(call), false, &plan, err);
	if (r < 0)
		return r;
	plan_put_json(&plan, result);
	json_put_bool(result, "daemon_runs", true);
	return 0;
}

#define CENSUS_BYTES_MAX (LIMIT_RPC_FRAME_BYTES - 4096) /* of objects; the rest is around them */

struct census_params {
	uint64_t from;
};

static const struct json_field census_fields[] = {
	{ "from", JSON_FIELD_U64, false, offsetof(struct census_params, from), UINT32_MAX,
	  "how many objects to leave out: those of earlier answers" },
};

/* Thousands of VMs do not fit in one reply: as many objects as do, and at least one. */
static size_t put_objects(const json_t *found, size_t from, json_t *result)
{
	json_t *page = json_new_array();
	AUTO_BUF text = BUF_INIT;
	size_t at;

	for (at = from; at < json_array_size(found); at++) {
		json_t *object = json_array_get(found, at);

		json_write(object, &text);
		if (at > from && text.len + at - from > CENSUS_BYTES_MAX)
			break;
		json_add(page, json_incref(object));
	}
	json_put(result, "objects", page);
	return at;
}

static int census(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct census_params *p = params;
	AUTO_JSON *found = NULL;
	size_t next;
	int r;

	r = census_take(rpc_call_context(call), getpid(), &found, err);
	if (r < 0)
		return r;
	next = put_objects(found, p->from, result);
	if (next < json_array_size(found))
		json_put_u64(result, "next", next);
	else
		json_put_str(result, "next", NULL);
	json_put_bool(result, "daemon_runs", true);
	return 0;
}

static const struct rpc_result_field version_results[] = {
	{ "version", "string", "of the daemon" },
	{ "commit", "string", "that it was built from" },
	{ "built", "string", "when" },
	{ "pid", "integer", "its process" },
};

static const struct rpc_result_field status_results[] = {
	{ "version", "string", "of the daemon" },
	{ "commit", "string", "that it was built from" },
	{ "built", "string", "when" },
	{ "pid", "integer", "its process" },
	{ "uptime_ms", "integer", "since it started" },
	{ "socket", "string", "where it listens" },
	{ "state_dir", "string", "database, images, kernels, VMs" },
	{ "cache_dir", "string", "what can be fetched again" },
	{ "config_file", "string", "present or not" },
	{ "log_path", "string", "its log when started by the CLI" },
	{ "memory_bytes", "integer", "resident" },
	{ "vms_total", "integer", "stored" },
	{ "vms_running", "integer", "running or paused" },
	{ "operations", "integer", "in flight" },
	{ "dns_listen", "string", "where NAME.vm is answered" },
	{ "dns_listening", "boolean", "whether it is; doctor says why not" },
	{ "dns_answers", "integer", "since the daemon started" },
	{ "default_image", "string", "for vm.create" },
	{ "defaults", "object", "for vm.create, each with its source" },
	{ "engine", "string", "qemu, firecracker; null when there is none" },
	{ "accelerator", "string", "kvm, tcg; null without an engine" },
	{ "engine_reason", "string", "why this one, or why none" },
};

static const struct rpc_result_field stop_results[] = { { "pid", "integer",
							  "of the daemon that ends" } };
static const struct rpc_result_field operations_results[] = {
	{ "operations", "array", "id, method, vm, stage, elapsed_ms" },
};
static const struct rpc_result_field doctor_results[] = {
	{ "checks", "array", "name, status (pass, warn, fail), message, hint" },
	{ "ok", "boolean", "nothing failed" },
};

static const struct rpc_result_field plan_results[] = {
	{ "actions", "array",
	  "in their order: action (undo, finish, adopt, set-state, note-end, note-gone, clean, "
	  "delete, set-address, end, remove, record, restore), vm (id), name, object, reason" },
	{ "left", "array", "likewise what cannot be put right, or is not understood: leave" },
	{ "daemon_runs", "boolean", "true; what `bangerd --plan` prints says false" },
};
static const struct rpc_result_field census_results[] = {
	{ "objects", "array",
	  "kind (process, socket, folder, file, cgroup, bridge, tap, rules, row), name, owner (vm, "
	  "banger, none: of no VM, foreign: not ours) and, where known, vm (id), vm_name, pid, "
	  "detail, bytes, used_bytes, processes, files (name, bytes, used_bytes); at most 1 MiB" },
	{ "next", "integer",
	  "there are more: `from` of the next call; null when these are the last" },
	{ "daemon_runs", "boolean", "true; what `bangerd --census` prints says false" },
};

const struct rpc_method api_daemon_methods[] = {
	{ .name = "ping",
	  .summary = "tells who is there",
	  .handler = ping,
	  .results = version_results,
	  .result_count = ARRAY_LEN(version_results) },
	{ .name = "daemon.status",
	  .summary = "what the daemon is and uses",
	  .handler = status,
	  .results = status_results,
	  .result_count = ARRAY_LEN(status_results) },
	{ .name = "daemon.stop",
	  .summary = "ends the daemon; running VMs go on",
	  .fields = stop_fields,
	  .field_count = ARRAY_LEN(stop_fields),
	  .params_size = sizeof(struct stop_params),
	  .handler = stop,
	  .results = stop_results,
	  .result_count = ARRAY_LEN(stop_results) },
	{ .name = "daemon.operations.list",
	  .summary = "operations in flight, oldest first",
	  .handler = operations_list,
	  .results = operations_results,
	  .result_count = ARRAY_LEN(operations_results) },
	{ .name = "daemon.operations.cancel",
	  .summary = "cancels an operation, which undoes what it had begun",
	  .fields = cancel_fields,
	  .field_count = ARRAY_LEN(cancel_fields),
	  .params_size = sizeof(struct cancel_params),
	  .handler = cancel_operation },
	{ .name = "doctor",
	  .summary = "checks every prerequisite",
	  .handler = doctor,
	  .results = doctor_results,
	  .result_count = ARRAY_LEN(doctor_results) },
	{ .name = "doctor.plan",
	  .summary = "what reconcile would do now, VMs that an operation is at left out",
	  .handler = plan,
	  .results = plan_results,
	  .result_count = ARRAY_LEN(plan_results) },
	{ .name = "doctor.census",
	  .summary = "everything of banger's that exists, and what has a name like it",
	  .fields = census_fields,
	  .field_count = ARRAY_LEN(census_fields),
	  .params_size = sizeof(struct census_params),
	  .handler = census,
	  .results = census_results,
	  .result_count = ARRAY_LEN(census_results) },
};
const size_t api_daemon_method_count = ARRAY_LEN(api_daemon_methods);
