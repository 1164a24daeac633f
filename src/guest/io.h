/* Bounded reading and writing on a stream to the agent: every wait has a deadline and can be
 * cancelled. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "wire/frame.h"

struct guest_io {
	int fd;			     /* borrowed stream socket; its mode does not matter */
	const struct cancel *cancel; /* may be NULL */
	uint64_t deadline_ns;	     /* for all that is done with it */
	uint64_t idle_ms;	     /* for one wait; 0: only the deadline counts */
};

/* Waits for POLLIN or POLLOUT. 0, or < 0 with ERR_TIMEOUT, ERR_CANCELLED or ERR_SYSTEM. */
int guest_io_wait(const struct guest_io *io, short events, struct err *err) MUST_CHECK;

/* Without waiting: bytes moved, 0 at the end of input, -EAGAIN, -EPIPE, -ECONNRESET... */
ssize_t guest_io_recv_now(const struct guest_io *io, void *into, size_t size, int flags) MUST_CHECK;
ssize_t guest_io_send_now(const struct guest_io *io, struct span bytes) MUST_CHECK;

/* Waits for bytes; a connection that was reset ends as if it were closed. Bytes, or 0 at the end.
 */
ssize_t guest_io_recv(const struct guest_io *io, void *into, size_t size, struct err *err)
	MUST_CHECK;

/* Sends all. -EPIPE when the agent does not listen any more. */
int guest_io_send(const struct guest_io *io, struct span bytes, struct err *err) MUST_CHECK;

/*
 * Appends one line to `line`, with its newline, and takes nothing beyond it from the stream.
 * ERR_PROTOCOL when it is over `size_max` bytes; *ret_complete is false when the stream ended
 * first.
 */
int guest_io_recv_line(const struct guest_io *io, size_t size_max, struct buf *line,
		       bool *ret_complete, struct err *err) MUST_CHECK;

/*
 * Waits for the next frame of the guest: 1, or 0 when the stream ended between frames; an end
 * within a frame is ERR_PROTOCOL.
 */
int guest_io_recv_frame(const struct guest_io *io, struct wire_reader *reader,
			struct wire_frame *ret, struct err *err) MUST_CHECK;

/* Fills `err` with the agent's reason in an ERROR frame, escaped. */
int guest_io_agent_error(const struct wire_frame *frame, struct err *err) MUST_CHECK;

/* Reads and judges a reply line, as guest_call() does after its request. */
int guest_recv_reply(const struct guest_io *io, json_t **ret_reply, struct err *err) MUST_CHECK;
