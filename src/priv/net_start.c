#include "priv/net_start.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "priv/net_holder.h"

#define BACKLOG	    16
#define START_MS    10000
#define END_MS	    3000
#define END_STEP_NS (5 * NSEC_PER_MSEC)

/* The listener goes on in the holder, with its lock. */
static void give_listener(struct unix_listener *listener)
{
	fd_closep(&listener->fd);
	fd_closep(&listener->lock_fd);
	mem_free(TAKE_PTR(listener->path));
}

static int await_report(int report_fd, struct err *err)
{
	struct err said;
	int r;

	r = cancel_poll(NULL, report_fd, POLLIN, clock_now_ns() + START_MS * NSEC_PER_MSEC);
	if (r >= 0)
		r = fd_read_exact(report_fd, &said, sizeof(said));
	if (r == -ENODATA)
		return err_set(err, ERR_SYSTEM, "the isolated network's process ended at once");
	if (r < 0)
		return err_sys(err, r, "wait for the isolated network's process");
	if (said.kind == ERR_NONE)
		return 0;
	*err = said;
	return -EIO;
}

static void make_argv(const struct net_start *start, struct strv *ret)
{
	const struct net_settings *settings = &start->settings;

	strv_add(ret, "bangerd");
	strv_add(ret, NET_HOLDER_OPTION);
	strv_add(ret, settings->tag);
	strv_add(ret, settings->bridge_name);
	strv_addf(ret, "%u", settings->subnet.bridge);
	strv_addf(ret, "%u", settings->subnet.prefix);
	strv_addf(ret, "%u", settings->dns_port);
	if (start->has_user)
		strv_addf(ret, "%u", start->uid);
	else
		strv_add(ret, "-");
	strv_add(ret, start->spaces->count == 2 ? "again" : "new");
}

static int spawn_holder(const struct net_start *start, const struct unix_listener *listener,
			int report_fd, struct process *ret, struct err *err)
{
	const char *path = getenv("PATH"); // NOLINT(concurrency-mt-unsafe): nobody calls setenv()
	AUTO_FREE char *path_line = mem_printf("PATH=%s", path ? path : "/usr/bin:/bin");
	const char *failpoints = getenv("BANGER_FAILPOINT"); // NOLINT(concurrency-mt-unsafe)
	AUTO_FREE char *failpoint_line =
		failpoints ? mem_printf("BANGER_FAILPOINT=%s", failpoints) : NULL;
	char *const environment[] = { path_line, failpoint_line, NULL };
	struct spawn spawn = { .path = "/proc/self/exe", .envp = environment, .new_session = true };
	AUTO_STRV argv = { 0 };

	make_argv(start, &argv);
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, listener->fd, NET_HOLDER_LISTEN);
	spawn_add_fd(&spawn, listener->lock_fd, NET_HOLDER_LOCK);
	spawn_add_fd(&spawn, report_fd, NET_HOLDER_REPORT);
	if (start->spaces->count == 2) {
		spawn_add_fd(&spawn, start->spaces->fds[0], NET_HOLDER_USER);
		spawn_add_fd(&spawn, start->spaces->fds[1], NET_HOLDER_NET);
	}
	return spawn_start(&spawn, ret, err);
}

int net_holder_start(const struct net_start *start, struct process *ret, struct err *err)
{
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	struct unix_listener listener = UNIX_LISTENER_INIT;
	AUTO_CLOSE int read_end = -1;
	int ends[2], r;

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe");
	read_end = ends[0];
	r = unix_listen(start->socket_path, BACKLOG, &listener, err);
	if (r == 0)
		r = spawn_holder(start, &listener, ends[1], &process, err);
	fd_close(ends[1]);
	if (r == 0)
		r = await_report(read_end, err);
	if (r < 0) {
		unix_listener_done(&listener);
		return err_context(err, r, "make the isolated network");
	}
	give_listener(&listener);
	*ret = process;
	process = PROCESS_INIT;
	return 0;
}

int net_holder_gone(const char *socket_path, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + END_MS * NSEC_PER_MSEC;

	for (;;) {
		struct unix_listener listener = UNIX_LISTENER_INIT;
		int r = unix_listen(socket_path, 1, &listener, err);

		unix_listener_done(&listener); /* ours now: it goes, and so does the last one's */
		if (r == 0 || err->kind != ERR_BUSY || clock_now_ns() >= deadline_ns)
			return r;
		*err = ERR_INIT;
		r = cancel_poll(NULL, -1, 0, clock_now_ns() + END_STEP_NS);
		if (r != -ETIMEDOUT)
			return err_sys(err, r, "wait for the isolated network's end");
	}
}
