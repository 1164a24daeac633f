#include "guest/io.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/text.h"

#define PEEK_SIZE	  4096
#define AGENT_MESSAGE_MAX 300 /* bytes of the agent's text in a message */

int guest_io_wait(const struct guest_io *io, short events, struct err *err)
{
	uint64_t deadline_ns = io->deadline_ns;
	int r;

	if (io->idle_ms > 0) {
		const uint64_t idle_ns = clock_now_ns() + io->idle_ms * NSEC_PER_MSEC;

		deadline_ns = idle_ns < deadline_ns ? idle_ns : deadline_ns;
	}
	r = cancel_poll(io->cancel, io->fd, events, deadline_ns);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "the agent did not answer in time");
	if (r < 0)
		return err_sys(err, r, "wait for the agent");
	return 0;
}

ssize_t guest_io_recv_now(const struct guest_io *io, void *into, size_t size, int flags)
{
	ssize_t n;

	do {
		n = recv(io->fd, into, size, flags | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t guest_io_send_now(const struct guest_io *io, struct span bytes)
{
	ssize_t n;

	do {
		n = send(io->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t recv_flags(const struct guest_io *io, void *into, size_t size, int flags,
			  struct err *err)
{
	for (;;) {
		const ssize_t n = guest_io_recv_now(io, into, size, flags);
		int r;

		if (n == -ECONNRESET)
			return 0;
		if (n >= 0)
			return n;
		if (n != -EAGAIN)
			return err_sys(err, (int)n, "read from the agent");
		r = guest_io_wait(io, POLLIN, err);
		if (r < 0)
			return r;
	}
}

ssize_t guest_io_recv(const struct guest_io *io, void *into, size_t size, struct err *err)
{
	return recv_flags(io, into, size, 0, err);
}

int guest_io_send(const struct guest_io *io, struct span bytes, struct err *err)
{
	while (bytes.len > 0) {
		const ssize_t n = guest_io_send_now(io, bytes);

		if (n >= 0) {
			bytes = span_skip(bytes, (size_t)n);
		} else if (n == -EAGAIN) {
			const int r = guest_io_wait(io, POLLOUT, err);

			if (r < 0)
				return r;
		} else {
			return err_sys(err, n == -ECONNRESET ? -EPIPE : (int)n,
				       "write to the agent");
		}
	}
	return 0;
}

int guest_io_recv_line(const struct guest_io *io, size_t size_max, struct buf *line,
		       bool *ret_complete, struct err *err)
{
	char peeked[PEEK_SIZE];

	*ret_complete = false;
	while (!*ret_complete) {
		const size_t room = size_max - line->len;
		const size_t size = room < sizeof(peeked) ? room : sizeof(peeked);
		const char *newline;
		ssize_t n;

		if (room == 0)
			return err_set(err, ERR_PROTOCOL, "the answer has no newline in %zu bytes",
				       size_max);
		n = recv_flags(io, peeked, size, MSG_PEEK, err);
		if (n <= 0)
			return (int)n;
		newline = memchr(peeked, '\n', (size_t)n);
		if (newline)
			n = newline - peeked + 1;
		n = guest_io_recv_now(io, peeked, (size_t)n, 0);
		if (n < 0)
			return err_sys(err, (int)n, "read from the agent");
		buf_add(line, span_of(peeked, (size_t)n));
		*ret_complete = newline != NULL;
	}
	return 0;
}

int guest_io_recv_frame(const struct guest_io *io, struct wire_reader *reader,
			struct wire_frame *ret, struct err *err)
{
	for (;;) {
		const int r = wire_reader_next(reader, WIRE_FROM_GUEST, ret, err);
		uint8_t *into;
		size_t room;
		ssize_t n;

		if (r < 0)
			return err_context(err, r, "wrong answer from the agent");
		if (r > 0)
			return 1;
		into = wire_reader_room(reader, &room);
		n = guest_io_recv(io, into, room, err);
		if (n < 0)
			return (int)n;
		if (n == 0 && wire_reader_pending(reader) > 0)
			return err_set(err, ERR_PROTOCOL,
				       "the agent closed the connection in the middle of a frame");
		if (n == 0)
			return 0;
		wire_reader_advance(reader, (size_t)n);
	}
}

int guest_io_agent_error(const struct wire_frame *frame, struct err *err)
{
	AUTO_BUF text = BUF_INIT;

	text_escape(&text, frame->payload, AGENT_MESSAGE_MAX);
	return err_set(err, ERR_BAD_STATE, "the agent gave up: %s", text.ptr);
}
