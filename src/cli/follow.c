#include "cli/follow.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/log_text.h"
#include "cli/out.h"

#define CHUNK_BYTES  65536U
#define PROC_FD_SIZE 32

struct tail {
	struct cli *cli;
	const struct follow *follow;
	int fd; /* owned: the file at the moment */
	uint64_t offset;
	struct buf held; /* bytes whose escaping needs what follows */
	int inotify_fd;	 /* owned */
	int file_watch;
};

static void tail_done(struct tail *tail)
{
	fd_close(tail->fd);
	fd_close(tail->inotify_fd);
	buf_done(&tail->held);
}

static int write_text(struct tail *tail, bool is_end)
{
	AUTO_BUF text = BUF_INIT;
	size_t used;

	if (tail->follow->is_raw) {
		int r = fd_write_all(tail->cli->out.out_fd, buf_span(&tail->held));

		buf_clear(&tail->held);
		return r;
	}
	used = log_text_escape(buf_span(&tail->held), is_end, &text);
	buf_consume(&tail->held, used);
	return fd_write_all(tail->cli->out.out_fd, buf_span(&text));
}

/*
 * Writes what the file has from the offset on. *ret_write is the failure of writing, which is not
 * the file's fault.
 */
static int drain(struct tail *tail, int *ret_write, struct err *err)
{
	while (!cancel_is_fired(&tail->cli->cancel)) {
		ssize_t n;

		buf_reserve(&tail->held, CHUNK_BYTES);
		n = pread(tail->fd, tail->held.ptr + tail->held.len, CHUNK_BYTES,
			  (off_t)tail->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read the log");
		if (n == 0)
			return 0;
		buf_advance(&tail->held, (size_t)n);
		tail->offset += (uint64_t)n;
		*ret_write = write_text(tail, false);
		if (*ret_write < 0)
			return 0;
	}
	return 0;
}

static int watch_file(struct tail *tail, struct err *err)
{
	char path[PROC_FD_SIZE];

	/* The descriptor, not the name: that may be another file by now. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", tail->fd);
	tail->file_watch = inotify_add_watch(tail->inotify_fd, path, IN_MODIFY);
	if (tail->file_watch < 0)
		return err_sys(err, -errno, "watch the log");
	return 0;
}

static int watch(struct tail *tail, struct err *err)
{
	const char *path = tail->follow->path;
	const char *slash = path ? strrchr(path, '/') : NULL;
	AUTO_FREE char *folder = NULL;

	tail->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (tail->inotify_fd < 0)
		return err_sys(err, -errno, "watch the log");
	if (slash) {
		/* "/" itself for a file in the root folder. */
		folder = mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
		if (inotify_add_watch(tail->inotify_fd, folder, IN_CREATE | IN_MOVED_TO) < 0)
			return err_sys(err, -errno, "watch '%s'", folder);
	}
	return watch_file(tail, err);
}

/* Goes to the beginning of a file that was truncated, or that took the name. */
static int look_again(struct tail *tail, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat held, named;

	if (fstat(tail->fd, &held) < 0)
		return err_sys(err, -errno, "look at the log");
	if ((uint64_t)held.st_size < tail->offset)
		tail->offset = 0;
	if (!tail->follow->path)
		return 0;
	fd = open(tail->follow->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &named) < 0 || !S_ISREG(named.st_mode))
		return 0; /* gone for now, or for good: the old one is what there is */
	if (named.st_dev == held.st_dev && named.st_ino == held.st_ino)
		return 0;
	(void)inotify_rm_watch(tail->inotify_fd, tail->file_watch);
	fd_assign(&tail->fd, TAKE_FD(fd));
	tail->offset = 0;
	return watch_file(tail, err);
}

/* Empties the queue; what changed is found by looking. */
static void take_events(const struct tail *tail)
{
	char events[sizeof(struct inotify_event) + NAME_MAX + 1];

	while (fd_read_some(tail->inotify_fd, events, sizeof(events)) > 0)
		;
}

/* Waits for a change. False when a signal, or a reader who left, ends it. */
static bool wait_change(const struct tail *tail)
{
	struct pollfd fds[] = {
		{ .fd = tail->cli->cancel.fd, .events = POLLIN },
		{ .fd = tail->inotify_fd, .events = POLLIN },
		{ .fd = tail->cli->out.out_fd, .events = 0 }, /* POLLERR: the pipe's reader left */
	};

	(void)poll(fds, ARRAY_LEN(fds), -1);
	return !cancel_is_fired(&tail->cli->cancel) && !(fds[2].revents & POLLERR);
}

static int follow_changes(struct tail *tail, int *ret_write, struct err *err)
{
	while (*ret_write == 0 && wait_change(tail)) {
		int r;

		take_events(tail);
		/* The old file first: its last lines came before the new file was made. */
		r = drain(tail, ret_write, err);
		if (r == 0)
			r = look_again(tail, err);
		if (r == 0 && *ret_write == 0)
			r = drain(tail, ret_write, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int follow_run(struct cli *cli, const struct follow *follow, int *ret_status, struct err *err)
{
	CLEANUP(tail_done)
	struct tail tail = {
		.cli = cli, .follow = follow, .held = BUF_INIT, .inotify_fd = -1, .fd = -1
	};
	int write_result = 0;
	int r = 0;

	tail.fd = fd_clone(follow->fd);
	if (tail.fd < 0)
		return err_sys(err, tail.fd, "open the log");
	/* The watch comes before the first look, so that nothing falls between. */
	if (follow->goes_on)
		r = watch(&tail, err);
	if (r == 0)
		r = drain(&tail, &write_result, err);
	if (r == 0 && write_result == 0 && follow->goes_on)
		r = follow_changes(&tail, &write_result, err);
	if (r < 0)
		return r;
	if (write_result == 0)
		write_result = write_text(&tail, true);
	*ret_status =
		write_result < 0 ? out_write_failed(&cli->out, write_result) : cli_status(cli, 0);
	return 0;
}
