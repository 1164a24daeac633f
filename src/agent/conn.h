/* One connection of the host, in the process that was forked for it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/state.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "wire/frame.h"

struct conn {
	int fd;			   /* borrowed; blocking */
	struct agent_state *state; /* borrowed */
	struct buf input;	   /* owned: what was received and not used yet */
	bool has_replied;	   /* an error is an ERROR frame from now on */
	bool has_failed;	   /* the host was told */
};

/*
 * Receives until `input` has a newline, at most `size_max` bytes with it: *ret_size is the line's
 * size with the newline. ERR_TIMEOUT at the deadline, ERR_LIMIT, ERR_PROTOCOL when the stream ends
 * before.
 */
int conn_read_line(struct conn *conn, size_t size_max, uint64_t deadline_ns, size_t *ret_size,
		   struct err *err) MUST_CHECK;

/* Receives more into `input`: bytes, 0 at the end of the stream. */
int conn_read_more(struct conn *conn, uint64_t deadline_ns, struct err *err) MUST_CHECK;

/* Moves what was received behind the line into the reader. */
void conn_begin_frames(struct conn *conn, struct wire_reader *reader);

/*
 * The next frame of the host, waiting for it: 1 and *ret, or 0 at the end of the stream.
 * ERR_PROTOCOL when a frame is wrong or cut off.
 */
int conn_read_frame(struct conn *conn, struct wire_reader *reader, struct wire_frame *ret,
		    struct err *err) MUST_CHECK;

/* {"ok":true} with the members of `members`, which is given and may be NULL. */
int conn_reply(struct conn *conn, json_t *members, struct err *err) MUST_CHECK;

/* Sends one frame. */
int conn_send_frame(struct conn *conn, enum wire_type type, struct span payload, struct err *err)
	MUST_CHECK;

/* Tells the host of a failure, once: as an error line, or as an ERROR frame after the reply. */
void conn_fail(struct conn *conn, const struct err *failure);

/*
 * Ends the connection so that the host gets everything: closing a socket with unread bytes would
 * reset it, and what was sent last would be lost.
 */
void conn_finish(struct conn *conn);
