#include "cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/span.h"

#define WAY_BYTES 65536

struct way {
	int from;
	int to;
	size_t start; /* of what was read and not written */
	size_t end;
	bool has_ended; /* no more comes from `from` */
	uint8_t bytes[WAY_BYTES];
};

/* Does what can be done now: 0, or -errno when an end is broken. */
static int way_step(struct way *way)
{
	ssize_t n;

	if (way->start == way->end && !way->has_ended) {
		n = fd_read_some(way->from, way->bytes, sizeof(way->bytes));
		if (n == -EAGAIN)
			return 0;
		way->start = 0;
		way->end = n > 0 ? (size_t)n : 0;
		/* Who broke off has said all that will come. */
		way->has_ended = n == 0 || n == -ECONNRESET || n == -EIO;
		if (n < 0 && !way->has_ended)
			return (int)n;
	}
	if (way->start < way->end) {
		n = fd_write_some(way->to, span_of(way->bytes + way->start, way->end - way->start));
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		way->start += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static bool way_is_done(const struct way *way)
{
	return way->has_ended && way->start == way->end;
}

static struct pollfd way_slot(const struct way *way)
{
	if (way->start < way->end)
		return (struct pollfd){ .fd = way->to, .events = POLLOUT };
	return (struct pollfd){ .fd = way->has_ended ? -1 : way->from, .events = POLLIN };
}

/* `there` leads to the stream, `back` from it. */
static int run(struct way *there, struct way *back, const struct cancel *cancel, struct err *err)
{
	bool is_told = false;
	int r;

	while (!way_is_done(back)) {
		struct pollfd fds[] = { way_slot(there),
					way_slot(back),
					{ .fd = cancel->fd, .events = POLLIN } };

		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return err_sys(err, -errno, "wait for the stream");
		r = cancel_check(cancel, err);
		if (r < 0)
			return r;
		r = way_step(there);
		/* sshd has gone, and what it said last is still to come. */
		if (r == -EPIPE || r == -ECONNRESET) {
			there->start = there->end;
			there->has_ended = true;
		} else if (r < 0) {
			return err_sys(err, r, "send to the guest");
		}
		if (way_is_done(there) && !is_told) {
			is_told = true;
			(void)shutdown(there->to, SHUT_WR); /* fails when it has gone already */
		}
		r = way_step(back);
		if (r == -EPIPE || r == -ECONNRESET)
			return 0;
		if (r < 0)
			return err_sys(err, r, "receive from the guest");
	}
	return 0;
}

/* Other programs may hold the same open file: it must be as it was in the end. */
static int make_nonblocking(int fd, bool *ret_was)
{
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	*ret_was = (flags & O_NONBLOCK) != 0;
	return fd_set_nonblocking(fd, true);
}

int relay_run(const struct relay_ends *ends, struct err *err)
{
	AUTO_FREE struct way *there = mem_alloc(1, sizeof(*there));
	AUTO_FREE struct way *back = mem_alloc(1, sizeof(*back));
	bool in_was = false, out_was = false;
	int r;

	there->from = ends->in_fd;
	there->to = back->from = ends->stream_fd;
	back->to = ends->out_fd;
	r = fd_set_nonblocking(ends->stream_fd, true);
	if (r == 0)
		r = make_nonblocking(ends->in_fd, &in_was);
	if (r == 0)
		r = make_nonblocking(ends->out_fd, &out_was);
	r = r < 0 ? err_sys(err, r, "prepare standard input and output")
		  : run(there, back, ends->cancel, err);
	IGNORE_RESULT(fd_set_nonblocking(ends->in_fd, in_was));
	IGNORE_RESULT(fd_set_nonblocking(ends->out_fd, out_was));
	return r;
}
