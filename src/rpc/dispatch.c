#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "rpc/private.h"

#define PROGRESS_INTERVAL_NS (100 * NSEC_PER_MSEC)
#define SUGGESTIONS_MAX	     256 /* methods that are looked through for a likely name */

/* --- what handlers may ask -------------------------------------------------------------------- */

void *rpc_call_context(const struct rpc_call *call)
{
	return call->connection->server->config.context;
}

const char *rpc_call_method(const struct rpc_call *call)
{
	return call->method->name;
}

uint64_t rpc_call_connection(const struct rpc_call *call)
{
	return call->connection->id;
}

pid_t rpc_call_peer_pid(const struct rpc_call *call)
{
	return call->connection->peer.pid;
}

struct cancel *rpc_call_cancel(struct rpc_call *call)
{
	return &call->cancel;
}

const struct progress *rpc_call_progress(struct rpc_call *call)
{
	return &call->progress;
}

void rpc_call_observe(struct rpc_call *call, const struct progress *observer)
{
	call->observer = observer;
}

void rpc_call_pass_fd(struct rpc_call *call, int fd)
{
	fd_assign(&call->passed_fd, fd);
}

void rpc_call_set_result_text(struct rpc_call *call, struct buf *text)
{
	buf_done(&call->result_text);
	call->result_text = *text;
	*text = BUF_INIT;
}

int rpc_call_on_close(struct rpc_call *call, rpc_close_hook *hook, void *hook_context,
		      struct err *err)
{
	struct rpc_connection *connection = call->connection;

	for (size_t i = 0; i < connection->hook_count; i++) {
		if (connection->hooks[i].function == hook &&
		    connection->hooks[i].context == hook_context)
			return 0;
	}
	if (connection->hook_count == RPC_CLOSE_HOOKS_MAX)
		return err_set(err, ERR_LIMIT,
			       "more than %d things depend on one connection of a client",
			       RPC_CLOSE_HOOKS_MAX);

	connection->hooks[connection->hook_count++] =
		(struct rpc_hook){ .function = hook, .context = hook_context };
	return 0;
}

/* --- progress --------------------------------------------------------------------------------- */

/* Whether this report is worth a line; the caller holds out_lock. */
static bool progress_is_due(struct rpc_call *call, const struct progress_event *event)
{
	const uint64_t now = clock_now_ns();
	const bool is_final = event->total > 0 && event->done == event->total;
	const bool is_new_stage =
		strncmp(call->reported_stage, event->stage, sizeof(call->reported_stage) - 1) != 0;

	if (!is_final && !is_new_stage && now - call->reported_ns < PROGRESS_INTERVAL_NS)
		return false;

	call->reported_ns = now;
	memset(call->reported_stage, 0, sizeof(call->reported_stage));
	memcpy(call->reported_stage, event->stage,
	       strnlen(event->stage, sizeof(call->reported_stage) - 1));
	return true;
}

static void report_progress(void *context, const struct progress_event *event)
{
	struct rpc_call *call = context;
	struct rpc_connection *connection = call->connection;
	const uint64_t elapsed_ms = (clock_now_ns() - call->started_ns) / NSEC_PER_MSEC;
	AUTO_BUF line = BUF_INIT;

	if (call->observer)
		progress_report(call->observer, event->stage, event->detail, event->done,
				event->total);

	pthread_mutex_lock(&connection->out_lock);
	if (progress_is_due(call, event) && !rpc_connection_is_behind(connection)) {
		rpc_progress_write(call->id, event, elapsed_ms, &line);
		rpc_connection_send_lossy(connection, buf_span(&line));
	}
	pthread_mutex_unlock(&connection->out_lock);
}

/* --- rpc.discover ----------------------------------------------------------------------------- */

static json_t *describe_method(const struct rpc_method *method)
{
	json_t *object = json_new_object();
	json_t *params = json_new_array();
	json_t *result = json_new_array();

	for (size_t i = 0; i < method->field_count; i++) {
		const struct json_field *field = &method->fields[i];
		json_t *param = json_new_object();

		json_put_str(param, "name", field->name);
		json_put_str(param, "type", json_field_type_name(field->type));
		json_put_bool(param, "required", field->required);
		json_put_str(param, "meaning", field->meaning);
		json_add(params, param);
	}
	for (size_t i = 0; i < method->result_count; i++) {
		const struct rpc_result_field *field = &method->results[i];
		json_t *member = json_new_object();

		json_put_str(member, "name", field->name);
		json_put_str(member, "type", field->type);
		json_put_str(member, "meaning", field->meaning);
		json_add(result, member);
	}

	json_put_str(object, "name", method->name);
	json_put_str(object, "summary", method->summary);
	json_put(object, "params", params);
	json_put(object, "result", result);
	json_put_bool(object, "mutates", method->flags & RPC_MUTATES);
	json_put_bool(object, "descriptor", method->flags & RPC_PASSES_FD);
	return object;
}

static int handle_discover(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err);

static const struct rpc_result_field discover_results[] = {
	{ "methods", "array", "every method: name, summary, params, result, mutates, descriptor" },
};

static const struct rpc_method discover_method = {
	.name = "rpc.discover",
	.summary = "describe every method",
	.handler = handle_discover,
	.results = discover_results,
	.result_count = ARRAY_LEN(discover_results),
};

static int handle_discover(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	const struct rpc_server_config *config = &call->connection->server->config;
	json_t *methods = json_new_array();

	(void)params;
	(void)err;
	for (size_t i = 0; i < config->method_count; i++)
		json_add(methods, describe_method(&config->methods[i]));
	json_add(methods, describe_method(&discover_method));
	json_put(result, "methods", methods);
	return 0;
}

/* --- one request ------------------------------------------------------------------------------ */

static const struct rpc_method *find_method(const struct rpc_server_config *config,
					    const char *name)
{
	for (size_t i = 0; i < config->method_count; i++) {
		if (str_eq(config->methods[i].name, name))
			return &config->methods[i];
	}
	return str_eq(name, discover_method.name) ? &discover_method : NULL;
}

static void refuse_method(const struct rpc_server_config *config, const char *name, struct err *err)
{
	const char *names[SUGGESTIONS_MAX];
	const char *nearest;
	size_t count = 0;

	while (count < config->method_count && count < ARRAY_LEN(names)) {
		names[count] = config->methods[count].name;
		count++;
	}
	nearest = text_nearest(name, names, count);

	(void)err_set(err, ERR_UNSUPPORTED, "unknown method '%s'", name);
	if (nearest)
		err_hint(err, "did you mean '%s'?", nearest);
}

static int send_error(struct rpc_connection *connection, json_t *id, int code,
		      const struct err *err)
{
	AUTO_BUF line = BUF_INIT;

	rpc_error_write(id, code, err, &line);
	return rpc_connection_send(connection, buf_span(&line), -1);
}

static int send_result(struct rpc_call *call, json_t *result)
{
	AUTO_BUF line = BUF_INIT;
	struct err err = ERR_INIT;

	if (call->passed_fd >= 0)
		json_put_bool(result, "descriptor", true);
	if (call->result_text.len > 0)
		rpc_reply_write_text(call->id, buf_span(&call->result_text), &line);
	else
		rpc_reply_write(call->id, result, &line);
	if (line.len <= RPC_REPLY_BYTES_MAX)
		return rpc_connection_send(call->connection, buf_span(&line), call->passed_fd);

	(void)err_set(&err, ERR_LIMIT, "the answer is %zu bytes, over the limit of %d", line.len,
		      RPC_REPLY_BYTES_MAX);
	return send_error(call->connection, call->id, rpc_code_of(&err), &err);
}

static int run_handler(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct rpc_server_config *config = &call->connection->server->config;
	int r;

	if (config->around && call->method != &discover_method)
		r = config->around(config->context, call, call->method, params, result, err);
	else
		r = call->method->handler(call, params, result, err);

	/* A handler that fails without a word is our mistake, but the client must hear something.
	 */
	if (r < 0 && err->kind == ERR_NONE)
		r = err_sys(err, r, "'%s' failed", call->method->name);
	return r;
}

/* Runs the handler while the watcher may cancel it, and answers. */
static int run_call(struct rpc_call *call, const void *params)
{
	AUTO_JSON *result = json_new_object();
	struct err err = ERR_INIT;
	int r;

	r = rpc_server_begin_call(call->connection, &call->cancel);
	if (r < 0)
		return r;
	r = run_handler(call, params, result, &err);
	rpc_server_end_call(call->connection);

	if (r < 0)
		return send_error(call->connection, call->id, rpc_code_of(&err), &err);
	return send_result(call, result);
}

static int make_call(struct rpc_connection *connection, const struct rpc_method *method, json_t *id,
		     const void *params)
{
	struct rpc_call call = {
		.connection = connection,
		.method = method,
		.id = id,
		.cancel = CANCEL_INIT,
		.started_ns = clock_now_ns(),
		.passed_fd = -1,
		.result_text = BUF_INIT,
	};
	struct err err = ERR_INIT;
	int r;

	call.progress = (struct progress){ .report = report_progress, .context = &call };
	r = cancel_init(&call.cancel);
	if (r < 0) {
		(void)err_sys(&err, r, "begin '%s'", method->name);
		return send_error(connection, id, rpc_code_of(&err), &err);
	}

	r = run_call(&call, params);
	cancel_done(&call.cancel);
	fd_close(call.passed_fd);
	buf_done(&call.result_text);
	return r;
}

int rpc_dispatch(struct rpc_connection *connection, struct span frame)
{
	CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
	AUTO_FREE void *params = NULL;
	const struct rpc_method *method;
	struct err err = ERR_INIT;
	int code, r;

	r = rpc_request_parse(frame, &request, &code, &err);
	if (r < 0)
		return send_error(connection, request.id, code, &err);

	method = find_method(&connection->server->config, request.method);
	if (!method) {
		refuse_method(&connection->server->config, request.method, &err);
		return send_error(connection, request.id, RPC_CODE_UNKNOWN_METHOD, &err);
	}

	params = mem_alloc(1, method->params_size > 0 ? method->params_size : 1);
	r = json_read_fields(request.params, method->fields, method->field_count, params, &err);
	if (r < 0)
		return send_error(connection, request.id, RPC_CODE_BAD_PARAMS, &err);

	r = make_call(connection, method, request.id, params);
	json_fields_done(method->fields, method->field_count, params);
	return r;
}
