#include "cli/link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "base/version.h"
#include "cli/cli.h"

#define READY_BYTES_MAX	 4096
#define PAUSE_MS	 10
#define OUTPUT_BYTES_MAX 65536
#define VIEW_BYTES_MAX	 (64UL << 20)

int link_paths(struct paths *ret, struct err *err)
{
	struct path_environment environment;

	path_environment_read(&environment);
	return paths_resolve(&environment, ret, err);
}

void link_format_version(const char *version, const char *commit, struct buf *out)
{
	buf_addf(out, "%s (%s)", version ? version : "of unknown version",
		 commit ? commit : "unknown commit");
}

/* --- starting ------------------------------------------------------------------------------- */

static int find_daemon(char **ret, struct err *err)
{
	static const char *const places[] = { "bangerd", "../libexec/banger/bangerd" };
	AUTO_FREE char *folder = NULL;
	int r;

	r = process_own_folder(&folder);
	if (r < 0)
		return err_sys(err, r, "find the folder of this program");
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", folder, places[i]);

		if (access(path, X_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	r = err_set(err, ERR_NOT_FOUND, "there is no bangerd in '%s'", folder);
	err_hint(err, "install banger completely: its programs belong into one folder");
	return r;
}

static int spawn_daemon(const struct paths *paths, int ready_fd, struct process *ret,
			struct err *err)
{
	static const char *const words[] = { "bangerd", "--ready-fd", "3" };
	AUTO_STRV argv = { .items = NULL };
	AUTO_FREE char *program = NULL;
	AUTO_CLOSE int log_fd = -1;
	struct spawn spawn;
	int r;

	r = find_daemon(&program, err);
	if (r < 0)
		return r;
	r = paths_make(paths, err);
	if (r < 0)
		return r;
	/* The daemon logs by itself; this is for what the dynamic linker or a sanitizer says. */
	log_fd = open(paths->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log_fd < 0)
		return err_sys(err, -errno, "open '%s'", paths->log);

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		strv_add(&argv, words[i]);
	spawn = (struct spawn){
		.path = program,
		.argv = strv_argv(&argv),
		.envp = environ,
		.new_session = true,
	};
	spawn_add_fd(&spawn, log_fd, STDOUT_FILENO);
	spawn_add_fd(&spawn, log_fd, STDERR_FILENO);
	spawn_add_fd(&spawn, ready_fd, 3);
	return spawn_start(&spawn, ret, err);
}

int link_read_ready(struct span said, struct err *err)
{
	AUTO_JSON *json = NULL;
	struct err ignored = ERR_INIT;
	const char *kind;
	const char *message;
	const char *hint;
	int r;

	if (said.len == 0 || said.ptr[said.len - 1] != '\n')
		return err_set(err, ERR_PROTOCOL, "bangerd ended before it was ready");
	if (said.ptr[0] != '{')
		return 0;
	if (json_read(span_of(said.ptr, said.len - 1), &json, &ignored) < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd ended before it was ready");

	kind = json_get_str(json, "kind");
	message = json_get_str(json, "message");
	hint = json_get_str(json, "hint");
	r = err_set(err, kind ? err_kind_from_name(kind) : ERR_BAD_STATE, "%s",
		    message ? message : "bangerd gave no reason");
	if (!str_empty(hint))
		err_hint(err, "%s", hint);
	return r;
}

/* Reads to the first newline, the end, or the deadline. */
static int read_ready(struct cli *cli, int fd, struct buf *said, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + LINK_START_MS * NSEC_PER_MSEC;

	while (said->len < READY_BYTES_MAX) {
		ssize_t n;
		int r;

		r = cancel_poll(&cli->cancel, fd, POLLIN, deadline_ns);
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "cancelled while bangerd started");
		if (r == -ETIMEDOUT)
			return err_set(err, ERR_TIMEOUT, "bangerd was not ready after %d s",
				       LINK_START_MS / 1000);
		if (r < 0)
			return err_sys(err, r, "wait for bangerd");

		buf_reserve(said, READY_BYTES_MAX);
		n = fd_read_some(fd, said->ptr + said->len, READY_BYTES_MAX - said->len);
		if (n < 0)
			return err_sys(err, (int)n, "hear from bangerd");
		if (n == 0)
			return 0;
		buf_advance(said, (size_t)n);
		if (said->ptr[said->len - 1] == '\n')
			return 0;
	}
	return 0;
}

static int start_daemon(struct cli *cli, const struct paths *paths, struct err *err)
{
	struct process process = PROCESS_INIT;
	AUTO_BUF said = BUF_INIT;
	AUTO_CLOSE int read_fd = -1;
	int ends[2];
	int r;

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe");
	read_fd = ends[0];
	r = spawn_daemon(paths, ends[1], &process, err);
	fd_close(ends[1]);
	if (r < 0)
		return r;

	r = read_ready(cli, read_fd, &said, err);
	if (r == 0)
		r = link_read_ready(buf_span(&said), err);
	if (r < 0) {
		process_kill(&process);
		if (!err->hint[0])
			err_hint(err, "see '%s'", paths->log);
		return r;
	}
	process_done(&process);
	return 0;
}

/* What the daemon's program prints when it is asked with one option. */
static int ask_program(struct cli *cli, const char *option, size_t bytes_max, struct buf *ret,
		       struct err *err)
{
	AUTO_STRV argv = { .items = NULL };
	AUTO_FREE char *program = NULL;
	struct spawn spawn;
	int r;

	r = find_daemon(&program, err);
	if (r < 0)
		return r;
	strv_add(&argv, "bangerd");
	strv_add(&argv, option);
	spawn = (struct spawn){ .path = program, .argv = strv_argv(&argv), .envp = environ };
	return spawn_run(&spawn, &cli->cancel, LINK_START_MS, bytes_max, ret, err);
}

int link_read_defaults(struct cli *cli, json_t **ret, struct err *err)
{
	AUTO_BUF output = BUF_INIT;
	int r;

	r = ask_program(cli, "--defaults", OUTPUT_BYTES_MAX, &output, err);
	return r < 0 ? r : json_read(buf_span(&output), ret, err);
}

int link_read_view(struct cli *cli, const char *option, json_t **ret, struct err *err)
{
	AUTO_BUF output = BUF_INIT;
	int r;

	r = ask_program(cli, option, VIEW_BYTES_MAX, &output, err);
	return r < 0 ? r : json_read(buf_span(&output), ret, err);
}

/* Whether the bangerd that we would start is of our version: otherwise a restart would change
 * nothing. */
static bool program_is_this_version(struct cli *cli)
{
	AUTO_FREE char *wanted =
		mem_printf("bangerd %s (%s", banger_version.version, banger_version.commit);
	AUTO_BUF output = BUF_INIT;
	struct err ignored = ERR_INIT;

	return ask_program(cli, "--version", OUTPUT_BYTES_MAX, &output, &ignored) == 0 &&
	       str_starts(output.ptr, wanted);
}

/* --- finding and agreeing ------------------------------------------------------------------- */

static int fail_silent(const char *socket, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct unix_peer peer = { .pid = 0 };
	struct err ignored = ERR_INIT;
	int r;

	if (unix_connect(socket, &fd, &ignored) == 0 && unix_peer_of(fd, &peer) < 0)
		peer.pid = 0;
	r = err_set(err, ERR_TIMEOUT, "bangerd does not answer on '%s'", socket);
	if (peer.pid > 0)
		err_hint(err,
			 "end it with 'kill -9 %d'; running VMs go on, and the next command starts "
			 "a new one",
			 (int)peer.pid);
	return r;
}

static int probe(const char *socket, enum rpc_presence *ret, json_t **ret_ping, struct err *err)
{
	int r;

	r = rpc_probe(socket, LINK_ANSWER_MS, ret, ret_ping, err);
	if (r < 0)
		return err_context(err, r, "cannot reach bangerd");
	if (*ret == RPC_SILENT)
		return fail_silent(socket, err);
	return 0;
}

static bool is_this_version(const json_t *ping)
{
	return str_eq(json_get_str(ping, "version"), banger_version.version) &&
	       str_eq(json_get_str(ping, "commit"), banger_version.commit);
}

int link_wait_gone(struct cli *cli, const char *socket, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + LINK_STOP_MS * NSEC_PER_MSEC;

	for (;;) {
		const uint64_t pause_ns = clock_now_ns() + PAUSE_MS * NSEC_PER_MSEC;
		struct err ignored = ERR_INIT;
		AUTO_CLOSE int fd = -1;

		if (unix_connect(socket, &fd, &ignored) < 0)
			return 0;
		if (clock_now_ns() >= deadline_ns)
			return err_set(err, ERR_TIMEOUT, "bangerd did not end within %d s",
				       LINK_STOP_MS / 1000);
		/* It only waits: -ETIMEDOUT is what is expected. */
		if (cancel_poll(&cli->cancel, -1, 0, pause_ns) == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "cancelled while bangerd stopped");
	}
}

/* Stops an idle daemon of another version. */
static int retire(struct cli *cli, const char *socket, const json_t *ping, struct err *err)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	const struct rpc_options options = { .cancel = &cli->cancel, .timeout_ms = LINK_STOP_MS };
	AUTO_BUF theirs = BUF_INIT;
	AUTO_BUF ours = BUF_INIT;
	AUTO_JSON *result = NULL;
	int r;

	link_format_version(json_get_str(ping, "version"), json_get_str(ping, "commit"), &theirs);
	link_format_version(banger_version.version, banger_version.commit, &ours);

	r = rpc_connect(socket, &client, err);
	if (r < 0)
		return err_context(err, r, "cannot reach bangerd");
	/* It refuses by itself while operations are in flight, so there is no race between asking
	 * and stopping. */
	r = rpc_call(client, "daemon.stop", NULL, &options, &result, err);
	if (r < 0 && err->kind == ERR_BUSY) {
		r = err_set(err, ERR_BUSY, "bangerd is %s, this is banger %s, and bangerd is busy",
			    theirs.ptr, ours.ptr);
		err_hint(err,
			 "try again when its operations have ended ('banger daemon status'), or "
			 "end them with 'banger daemon stop --force'");
		return r;
	}
	if (r < 0)
		return err_context(err, r, "cannot replace bangerd %s by %s", theirs.ptr, ours.ptr);
	rpc_client_freep(&client);

	r = link_wait_gone(cli, socket, err);
	if (r < 0)
		return err_context(err, r, "cannot replace bangerd %s by %s", theirs.ptr, ours.ptr);
	out_note(&cli->out, "note: bangerd was %s and is restarted as %s; running VMs go on",
		 theirs.ptr, ours.ptr);
	return 0;
}

/*
 * The daemon that runs is of another version: it is replaced when that helps. After half an update
 * (bangerd beside us is not ours either) it would not, and what runs is better than nothing.
 */
static int settle_version(struct cli *cli, const char *socket, const json_t *ping,
			  enum rpc_presence *presence, struct err *err)
{
	AUTO_BUF theirs = BUF_INIT;
	AUTO_BUF ours = BUF_INIT;

	if (program_is_this_version(cli)) {
		int r = retire(cli, socket, ping, err);

		if (r == 0)
			*presence = RPC_ABSENT;
		return r;
	}
	link_format_version(json_get_str(ping, "version"), json_get_str(ping, "commit"), &theirs);
	link_format_version(banger_version.version, banger_version.commit, &ours);
	out_note(&cli->out,
		 "warning: bangerd is %s, but this is banger %s: install both of one version",
		 theirs.ptr, ours.ptr);
	return 0;
}

/* Waits for the daemon that another command is starting at this moment. */
static bool wait_alive(struct cli *cli, const char *socket)
{
	const uint64_t deadline_ns = clock_now_ns() + LINK_START_MS * NSEC_PER_MSEC;
	enum rpc_presence presence = RPC_ABSENT;
	struct err ignored = ERR_INIT;

	while (rpc_probe(socket, LINK_ANSWER_MS, &presence, NULL, &ignored) == 0 &&
	       presence != RPC_ALIVE && clock_now_ns() < deadline_ns) {
		const uint64_t pause_ns = clock_now_ns() + PAUSE_MS * NSEC_PER_MSEC;

		if (cancel_poll(&cli->cancel, -1, 0, pause_ns) == -ECANCELED)
			return false;
	}
	return presence == RPC_ALIVE;
}

/*
 * Of several commands that start a daemon at once one wins: the others' daemons find the place
 * taken, perhaps before the winner listens.
 */
static int start_daemon_or_wait(struct cli *cli, const struct paths *paths, struct err *err)
{
	int r;

	r = start_daemon(cli, paths, err);
	if (r == 0 || err->kind == ERR_CANCELLED)
		return r;
	if (err->kind == ERR_BUSY && wait_alive(cli, paths->socket))
		return 0;
	return err_context(err, r, "cannot start bangerd");
}

static int connect_client(struct cli *cli, const char *socket, struct err *err)
{
	struct rpc_client *client;
	int r;

	r = rpc_connect(socket, &client, err);
	if (r < 0)
		return err_context(err, r, "cannot reach bangerd");
	rpc_client_free(cli->client);
	cli->client = client;
	return 0;
}

int link_open(struct cli *cli, struct err *err)
{
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_JSON *ping = NULL;
	enum rpc_presence presence;
	int r;

	r = link_paths(&paths, err);
	if (r < 0)
		return r;
	r = probe(paths.socket, &presence, &ping, err);
	if (r < 0)
		return r;
	if (presence == RPC_ALIVE && !is_this_version(ping)) {
		r = settle_version(cli, paths.socket, ping, &presence, err);
		if (r < 0)
			return r;
	}
	if (presence != RPC_ALIVE) {
		r = start_daemon_or_wait(cli, &paths, err);
		if (r < 0)
			return r;
	}
	return connect_client(cli, paths.socket, err);
}

int link_open_running(struct cli *cli, json_t **ret_ping, struct err *err)
{
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_JSON *ping = NULL;
	enum rpc_presence presence;
	int r;

	r = link_paths(&paths, err);
	if (r < 0)
		return r;
	r = probe(paths.socket, &presence, &ping, err);
	if (r < 0)
		return r;
	if (presence != RPC_ALIVE) {
		r = err_set(err, ERR_NOT_FOUND, "bangerd is not running");
		err_hint(err, "commands that need it start it, such as 'banger ps'");
		return r;
	}
	r = connect_client(cli, paths.socket, err);
	if (r < 0)
		return r;
	if (ret_ping)
		*ret_ping = TAKE_PTR(ping);
	return 0;
}
