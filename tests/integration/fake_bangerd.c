/*
 * A bangerd that answers what a script says, for what a real one will not do on demand: another
 * version, being busy, failing to start, dying in the middle, slow progress. Speaks through the
 * real RPC server.
 *
 * FAKE_SCRIPT names a JSON file, read anew for every request:
 *   { "version", "commit",             what ping says; this build's when absent
 *     "start_error": {...},            said on the ready descriptor instead of being ready
 *     "start_silent": true,            never ready
 *     "is_half_updated": true,         --version tells another commit
 *     "methods": { "METHOD VM" or "METHOD": {
 *         "result": {...}, "error": {"kind", "message", "hint"}, "delay_ms": n,
 *         "progress": [ {"stage", "detail", "done", "total"} ],
 *         "progress_gap_ms": n, "die": true,
 *         "pass": "/path of a file to pass", "connect": "/path of a socket to pass a stream to" } }
 * } FAKE_LOG, when set, gets a line "METHOD PARAMS" for every request, and "done METHOD" or
 * "cancelled METHOD".
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "base/version.h"
#include "config/paths.h"
#include "rpc/server.h"

#define SCRIPT_BYTES_MAX (1024 * 1024)

struct params {
	json_t *values[19];
};

#define FIELD(index, text)                                       \
	{                                                        \
		.name = (text), .type = JSON_FIELD_JSON,         \
		.offset = offsetof(struct params, values[index]) \
	}

/* Every parameter that the contract has: a request with another one is refused by the server. */
static const struct json_field fields[] = {
	FIELD(0, "vm"),		FIELD(1, "name"),
	FIELD(2, "image"),	FIELD(3, "kernel"),
	FIELD(4, "vcpu"),	FIELD(5, "memory_bytes"),
	FIELD(6, "disk_bytes"), FIELD(7, "system_overlay_bytes"),
	FIELD(8, "nat"),	FIELD(9, "start"),
	FIELD(10, "ephemeral"), FIELD(11, "timeout_ms"),
	FIELD(12, "signal"),	FIELD(13, "console"),
	FIELD(14, "force"),	FIELD(15, "available"),
	FIELD(16, "id"),	FIELD(17, "reference"),
	FIELD(18, "brief"),
};

struct daemon_state {
	int stop_fd; /* the write end of a pipe */
};

static int answer(struct rpc_call *call, const void *params, json_t *result, struct err *err);

#define METHOD(text)                                                                    \
	{                                                                               \
		.name = (text), .summary = "scripted", .fields = fields,                \
		.field_count = ARRAY_LEN(fields), .params_size = sizeof(struct params), \
		.handler = answer                                                       \
	}

static const struct rpc_method methods[] = {
	METHOD("ping"),		METHOD("daemon.status"),
	METHOD("daemon.stop"),	METHOD("daemon.operations.list"),
	METHOD("vm.create"),	METHOD("vm.start"),
	METHOD("vm.stop"),	METHOD("vm.restart"),
	METHOD("vm.kill"),	METHOD("vm.pause"),
	METHOD("vm.resume"),	METHOD("vm.delete"),
	METHOD("vm.prune"),	METHOD("vm.list"),
	METHOD("vm.show"),	METHOD("vm.health"),
	METHOD("vm.exec"),	METHOD("vm.shell"),
	METHOD("vm.logs"),	METHOD("image.list"),
	METHOD("image.show"),	METHOD("image.pull"),
	METHOD("image.delete"), METHOD("image.catalog"),
	METHOD("kernel.list"),	METHOD("kernel.show"),
	METHOD("kernel.pull"),	METHOD("kernel.rm"),
	METHOD("doctor"),
};

static json_t *read_script(void)
{
	const char *path = getenv("FAKE_SCRIPT");
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	json_t *script = NULL;

	if (!path)
		return json_new_object();
	if (file_read(AT_FDCWD, path, SCRIPT_BYTES_MAX, &text) < 0 ||
	    json_read(buf_span(&text), &script, &err) < 0) {
		fprintf(stderr, "fake_bangerd: script '%s': %s\n", path, err.message);
		exit(3);
	}
	return script;
}

static void write_log(const char *what, const char *method, const struct params *params)
{
	const char *path = getenv("FAKE_LOG");
	AUTO_JSON *given = json_new_object();
	AUTO_BUF line = BUF_INIT;
	AUTO_CLOSE int fd = -1;

	if (!path)
		return;
	for (size_t i = 0; params && i < ARRAY_LEN(fields); i++) {
		if (params->values[i])
			json_put(given, fields[i].name, json_incref(params->values[i]));
	}
	buf_addf(&line, "%s%s ", what, method);
	json_write(given, &line);
	buf_add_byte(&line, '\n');
	/* One write of one line: appended whole, whichever threads write. */
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_all(fd, buf_span(&line)) < 0)
		exit(3);
}

/* The row for "METHOD VM", else for "METHOD"; NULL when there is none. */
static const json_t *find_row(const json_t *script, const char *method, const struct params *params)
{
	const json_t *rows = json_object_get(script, "methods");
	const json_t *row = NULL;

	if (json_is_string(params->values[0])) {
		AUTO_FREE char *key =
			mem_printf("%s %s", method, json_string_value(params->values[0]));

		row = json_object_get(rows, key);
	}
	return row ? row : json_object_get(rows, method);
}

static int pause_for(struct rpc_call *call, uint64_t ms, struct err *err)
{
	const uint64_t until_ns = clock_now_ns() + ms * NSEC_PER_MSEC;

	if (ms > 0 && cancel_poll(rpc_call_cancel(call), -1, 0, until_ns) == -ECANCELED) {
		write_log("cancelled ", rpc_call_method(call), NULL);
		return err_set(err, ERR_CANCELLED, "cancelled");
	}
	return 0;
}

static int report(struct rpc_call *call, const json_t *row, struct err *err)
{
	const json_t *event;
	size_t i;

	json_array_foreach(json_object_get(row, "progress"), i, event) {
		int r = pause_for(call, json_get_u64(row, "progress_gap_ms"), err);

		if (r < 0)
			return r;
		progress_report(rpc_call_progress(call), json_get_str(event, "stage"),
				json_get_str(event, "detail"), json_get_u64(event, "done"),
				json_get_u64(event, "total"));
	}
	return pause_for(call, json_get_u64(row, "delay_ms"), err);
}

static int fail(const json_t *error, struct err *err)
{
	const char *hint = json_get_str(error, "hint");
	const char *kind = json_get_str(error, "kind");
	int r;

	r = err_set(err, err_kind_from_name(kind ? kind : "state"), "%s",
		    json_get_str(error, "message"));
	if (hint)
		err_hint(err, "%s", hint);
	return r;
}

/* Passes what the row says, when it says so. */
static int pass(struct rpc_call *call, const json_t *row, json_t *result, struct err *err)
{
	const char *path = json_get_str(row, "pass");
	const char *socket = json_get_str(row, "connect");
	int fd = -1;

	if (path) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, -errno, "open '%s'", path);
		json_put_str(result, "path", path);
	}
	if (socket) {
		int r = unix_connect(socket, &fd, err);

		if (r < 0)
			return r;
	}
	if (fd >= 0)
		rpc_call_pass_fd(call, fd);
	return 0;
}

static void ping(const json_t *script, json_t *result)
{
	const char *version = json_get_str(script, "version");
	const char *commit = json_get_str(script, "commit");

	json_put_str(result, "version", version ? version : banger_version.version);
	json_put_str(result, "commit", commit ? commit : banger_version.commit);
	json_put_str(result, "built", banger_version.built);
	json_put_u64(result, "pid", (uint64_t)getpid());
}

static int answer(struct rpc_call *call, const void *given, json_t *result, struct err *err)
{
	const struct params *params = given;
	const struct daemon_state *state = rpc_call_context(call);
	const char *method = rpc_call_method(call);
	AUTO_JSON *script = read_script();
	const json_t *row = find_row(script, method, params);
	int r;

	write_log("", method, params);
	if (json_get_bool(row, "die"))
		_exit(9);
	r = report(call, row, err);
	if (r < 0)
		return r;
	if (json_object_get(row, "error"))
		return fail(json_object_get(row, "error"), err);
	if (json_object_get(row, "result") &&
	    json_object_update(result, json_object_get(row, "result")) < 0)
		return err_set(err, ERR_INVALID, "the script's result is no object");
	r = pass(call, row, result, err);
	if (r < 0)
		return r;
	if (str_eq(method, "ping"))
		ping(script, result);
	if (str_eq(method, "daemon.stop") && write(state->stop_fd, "x", 1) != 1)
		return err_sys(err, -errno, "tell the main thread");
	write_log("done ", method, NULL);
	return 0;
}

/* Says on the ready descriptor what the script wants. False: the program ends. */
static bool say_ready(int ready_fd, const json_t *script)
{
	const json_t *error = json_object_get(script, "start_error");
	AUTO_BUF line = BUF_INIT;

	if (json_get_bool(script, "start_silent"))
		return poll(NULL, 0, -1) == 0;
	if (error)
		json_write(error, &line);
	else
		buf_add_byte(&line, '1');
	buf_add_byte(&line, '\n');
	if (ready_fd >= 0 && fd_write_all(ready_fd, buf_span(&line)) < 0)
		return false;
	fd_close(ready_fd);
	return !error;
}

static int serve(const struct paths *paths, int ready_fd, const json_t *script, struct err *err)
{
	CLEANUP(unix_listener_done) struct unix_listener listener = UNIX_LISTENER_INIT;
	CLEANUP(rpc_server_freep) struct rpc_server *server = NULL;
	struct daemon_state state;
	char byte;
	int ends[2];
	int r;

	r = paths_make(paths, err);
	if (r < 0)
		return r;
	r = unix_listen(paths->socket, 16, &listener, err);
	if (r < 0)
		return r;
	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe");
	state.stop_fd = ends[1];
	const struct rpc_server_config config = {
		.listen_fd = listener.fd,
		.owner_uid = geteuid(),
		.methods = methods,
		.method_count = ARRAY_LEN(methods),
		.context = &state,
	};

	r = rpc_server_start(&config, &server, err);
	if (r < 0)
		return r;
	if (say_ready(ready_fd, script))
		r = fd_read_exact(ends[0], &byte, 1);
	rpc_server_stop(server);
	fd_close(ends[0]);
	fd_close(ends[1]);
	return r;
}

static void say_failure(int fd, const struct err *err)
{
	AUTO_JSON *json = json_new_object();
	AUTO_BUF line = BUF_INIT;

	json_put_str(json, "kind", err_kind_name(err->kind));
	json_put_str(json, "message", err->message);
	json_write(json, &line);
	buf_add_byte(&line, '\n');
	if (fd_write_all(fd, buf_span(&line)) < 0)
		_exit(3);
}

int main(int argc, char **argv)
{
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_JSON *script = read_script();
	struct path_environment environment;
	struct err err = ERR_INIT;
	uint64_t ready_fd = UINT64_MAX;

	for (int i = 1; i < argc; i++) {
		if (str_eq(argv[i], "--version")) {
			printf("bangerd %s (%s, built %s)\n", banger_version.version,
			       json_get_bool(script, "is_half_updated") ? "other"
									: banger_version.commit,
			       banger_version.built);
			return 0;
		}
		if (str_eq(argv[i], "--defaults")) {
			puts("{\"default_image\":\"tiny\",\"defaults\":{\"vcpu\":3,"
			     "\"memory_bytes\":1073741824,\"disk_bytes\":8589934592,"
			     "\"system_overlay_bytes\":8589934592,\"vcpu_source\":\"config\"}}");
			return 0;
		}
		if (str_eq(argv[i], "--ready-fd") && i + 1 < argc &&
		    !parse_u64_text(argv[i + 1], 1024, &ready_fd))
			return 2;
	}
	path_environment_read(&environment);
	if (paths_resolve(&environment, &paths, &err) < 0 ||
	    serve(&paths, ready_fd == UINT64_MAX ? -1 : (int)ready_fd, script, &err) < 0) {
		say_failure(ready_fd == UINT64_MAX ? STDERR_FILENO : (int)ready_fd, &err);
		return 1;
	}
	return 0;
}
