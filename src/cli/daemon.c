/* daemon status, stop and logs: none of them starts a daemon. */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/vm_view.h"

#define END_MS 3000 /* of a process that has said goodbye */

static void pair_default(struct buf *out, const json_t *defaults, const char *what, const char *key,
			 const char *source_key)
{
	const uint64_t value = json_get_u64(defaults, key);
	const char *source = json_get_str(defaults, source_key);
	AUTO_BUF text = BUF_INIT;

	if (str_ends(key, "_bytes"))
		text_size(&text, value);
	else
		buf_addf(&text, "%llu", (unsigned long long)value);
	if (source)
		buf_addf(&text, " (%s)", source);
	view_pair(out, what, text.ptr);
}

static void pair_engine(struct buf *out, const json_t *status, size_t width)
{
	const char *engine = json_get_str(status, "engine");
	const char *accelerator = json_get_str(status, "accelerator");
	const char *reason = json_get_str(status, "engine_reason");
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "%s with %s", engine ? engine : "none", accelerator ? accelerator : "none");
	if (reason)
		buf_addf(&text, ": %s", reason);
	view_pair_prose(out, "engine", text.ptr, width);
}

static void pair_dns(struct buf *out, const json_t *status)
{
	const char *listen = json_get_str(status, "dns_listen");
	AUTO_BUF text = BUF_INIT;

	if (!listen)
		return; /* an older bangerd */
	buf_add_str(&text, listen);
	if (json_is_true(json_object_get(status, "dns_listening")))
		buf_addf(&text, ", %" PRIu64 " answers", json_get_u64(status, "dns_answers"));
	else
		buf_add_str(&text, ", not answering: see 'banger doctor'");
	view_pair(out, "dns", text.ptr);
}

static void add_status(const json_t *status, size_t width, struct buf *out)
{
	const json_t *defaults = json_object_get(status, "defaults");
	AUTO_BUF version = BUF_INIT;
	AUTO_BUF uptime = BUF_INIT;

	link_format_version(json_get_str(status, "version"), json_get_str(status, "commit"),
			    &version);
	text_duration(&uptime, json_get_u64(status, "uptime_ms"));
	view_pair(out, "version", version.ptr);
	view_pair(out, "built", json_get_str(status, "built"));
	view_pair_number(out, "pid", json_get_u64(status, "pid"));
	view_pair(out, "uptime", uptime.ptr);
	view_pair_size(out, "memory", json_get_u64(status, "memory_bytes"));
	view_pair_number(out, "vms", json_get_u64(status, "vms_total"));
	view_pair_number(out, "running", json_get_u64(status, "vms_running"));
	view_pair_number(out, "operations", json_get_u64(status, "operations"));
	pair_engine(out, status, width);
	view_pair(out, "socket", json_get_str(status, "socket"));
	view_pair(out, "state", json_get_str(status, "state_dir"));
	view_pair(out, "cache", json_get_str(status, "cache_dir"));
	view_pair(out, "configuration", json_get_str(status, "config_file"));
	view_pair(out, "log", json_get_str(status, "log_path"));
	pair_dns(out, status);
	view_pair(out, "default image", json_get_str(status, "default_image"));
	pair_default(out, defaults, "default vcpus", "vcpu", "vcpu_source");
	pair_default(out, defaults, "default memory", "memory_bytes", "memory_source");
	pair_default(out, defaults, "default disk", "disk_bytes", "disk_source");
	pair_default(out, defaults, "default overlay", "system_overlay_bytes",
		     "system_overlay_source");
}

/* "  12  vm.create web: image, 3.1 s", a line each. */
static void add_operations(const json_t *operations, struct buf *out)
{
	const json_t *operation;
	size_t i;

	json_array_foreach(operations, i, operation) {
		const char *method = json_get_str(operation, "method");
		const char *vm = json_get_str(operation, "vm");
		const char *stage = json_get_str(operation, "stage");
		AUTO_BUF line = BUF_INIT;

		buf_addf(&line, "%s%s%s, %s%s", method ? method : "?", vm ? " " : "", vm ? vm : "",
			 stage ? stage : "", stage ? ", " : "");
		text_duration(&line, json_get_u64(operation, "elapsed_ms"));
		view_pair(out, i == 0 ? "in flight" : "", line.ptr);
	}
}

static int run_status(struct cli *cli, const struct invocation *invocation)
{
	AUTO_JSON *status = NULL;
	AUTO_JSON *operations = NULL;
	struct err err = ERR_INIT;

	(void)invocation;
	if (link_open_running(cli, NULL, &err) < 0 ||
	    request_call(cli, "daemon.status", NULL, NULL, &status, &err) < 0)
		return cli_fail(cli, &err);
	if (cli->out.is_json) {
		out_json(&cli->out, status);
		return 0;
	}
	add_status(status, cli->out.out_width, &cli->out.pending);
	if (json_get_u64(status, "operations") == 0)
		return 0;
	if (request_call(cli, "daemon.operations.list", NULL, NULL, &operations, &err) < 0)
		return cli_fail(cli, &err);
	add_operations(json_object_get(operations, "operations"), &cli->out.pending);
	return 0;
}

const struct command daemon_status_command = {
	.noun = "daemon",
	.verb = "status",
	.summary = "show what bangerd is, uses and does at the moment",
	.description = "Exits with 1 when bangerd does not run.",
	.run = run_status,
};

struct stop_args {
	bool force;
};

static const struct opt stop_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'f',
	  .name = "force",
	  .offset = offsetof(struct stop_args, force),
	  .help = "cancel operations in flight instead of refusing" },
};

/*
 * It answers no more; that its files are closed, too, takes a moment longer. Nobody has to wait for
 * that who cannot: its number may be another's where we are.
 */
static void wait_ended(struct cli *cli, int pidfd)
{
	const uint64_t deadline_ns = clock_now_ns() + END_MS * NSEC_PER_MSEC;

	if (pidfd >= 0)
		IGNORE_RESULT(cancel_poll(&cli->cancel, pidfd, POLLIN, deadline_ns));
}

static int stop(struct cli *cli, bool is_forced, json_t **ret, struct err *err)
{
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_CLOSE int pidfd = -1;
	json_t *params = json_new_object();
	int r;

	json_put_bool(params, "force", is_forced);
	r = request_call(cli, "daemon.stop", params, NULL, ret, err);
	if (r < 0)
		return err_context(err, r, "cannot stop bangerd");
	pidfd = (int)syscall(SYS_pidfd_open, (pid_t)json_get_u64(*ret, "pid"), 0);
	/* Our own connection must not be what it waits for. */
	rpc_client_close(cli->client);
	r = link_paths(&paths, err);
	if (r == 0)
		r = link_wait_gone(cli, paths.socket, err);
	if (r == 0)
		wait_ended(cli, pidfd);
	return r;
}

static int run_stop(struct cli *cli, const struct invocation *invocation)
{
	const struct stop_args *args = invocation->args;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (link_open_running(cli, NULL, &err) < 0) {
		if (err.kind != ERR_NOT_FOUND)
			return cli_fail(cli, &err);
		result = json_new_object();
		json_put(result, "pid", json_null());
	} else if (stop(cli, args->force, &result, &err) < 0) {
		return cli_fail(cli, &err);
	}
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		out_addf(&cli->out, "%s\n",
			 cli->client ? "bangerd is stopped; running VMs go on"
				     : "bangerd was not running");
	return 0;
}

const struct command daemon_stop_command = {
	.noun = "daemon",
	.verb = "stop",
	.summary = "stop bangerd; running VMs go on",
	.description = "Refuses while operations are in flight. The next command starts it again.",
	.opts = stop_opts,
	.opt_count = ARRAY_LEN(stop_opts),
	.args_size = sizeof(struct stop_args),
	.run = run_stop,
};

struct logs_args {
	bool follow;
};

static const struct opt logs_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'f',
	  .name = "follow",
	  .offset = offsetof(struct logs_args, follow),
	  .help = "go on as the log grows, until Ctrl-C" },
};

static int open_log(struct paths *paths, int *ret_fd, struct err *err)
{
	int r;
	int fd;

	r = link_paths(paths, err);
	if (r < 0)
		return r;
	fd = open(paths->log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", paths->log);
	*ret_fd = fd;
	return 0;
}

/* Reads the file by itself: the log matters most when the daemon does not run. */
static int run_logs(struct cli *cli, const struct invocation *invocation)
{
	const struct logs_args *args = invocation->args;
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_CLOSE int fd = -1;
	struct follow follow = { .goes_on = args->follow };
	struct err err = ERR_INIT;
	int status = 0;

	if (open_log(&paths, &fd, &err) < 0)
		return cli_fail(cli, &err);
	follow.fd = fd;
	follow.path = paths.log;
	if (follow_run(cli, &follow, &status, &err) < 0)
		return cli_fail(cli, &err);
	return status;
}

const struct command daemon_logs_command = {
	.noun = "daemon",
	.verb = "logs",
	.summary = "print bangerd's log",
	.opts = logs_opts,
	.opt_count = ARRAY_LEN(logs_opts),
	.args_size = sizeof(struct logs_args),
	.run = run_logs,
};
