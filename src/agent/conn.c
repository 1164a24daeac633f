#include "agent/conn.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/protocol.h"

#define READ_SIZE     4096
#define LINGER_MS     5000
#define LINGER_BUFFER 8192

int conn_read_more(struct conn *conn, uint64_t deadline_ns, struct err *err)
{
	const int r = cancel_poll(NULL, conn->fd, POLLIN, deadline_ns);
	ssize_t n;

	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "the request did not come in time");
	if (r < 0)
		return err_sys(err, r, "wait for the request");
	buf_reserve(&conn->input, READ_SIZE);
	n = fd_read_some(conn->fd, conn->input.ptr + conn->input.len, READ_SIZE);
	if (n < 0)
		return err_sys(err, (int)n, "read the request");
	buf_advance(&conn->input, (size_t)n);
	return (int)n;
}

int conn_read_line(struct conn *conn, size_t size_max, uint64_t deadline_ns, size_t *ret_size,
		   struct err *err)
{
	size_t searched = 0;

	for (;;) {
		const char *newline =
			memchr(conn->input.ptr + searched, '\n', conn->input.len - searched);

		if (newline && (size_t)(newline - conn->input.ptr) < size_max) {
			*ret_size = (size_t)(newline - conn->input.ptr) + 1;
			return 0;
		}
		if (newline || conn->input.len >= size_max)
			return err_set(err, ERR_LIMIT, "the request line is over %zu bytes",
				       size_max);
		searched = conn->input.len;

		const int r = conn_read_more(conn, deadline_ns, err);

		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, ERR_PROTOCOL, "the stream ended in the request line");
	}
}

void conn_begin_frames(struct conn *conn, struct wire_reader *reader)
{
	size_t room;
	uint8_t *into;

	wire_reader_init(reader);
	if (conn->input.len == 0)
		return;
	into = wire_reader_room(reader, &room);
	assert(conn->input.len <= room); /* a line and one read more are less than a frame */
	memcpy(into, conn->input.ptr, conn->input.len);
	wire_reader_advance(reader, conn->input.len);
	buf_clear(&conn->input);
}

int conn_read_frame(struct conn *conn, struct wire_reader *reader, struct wire_frame *ret,
		    struct err *err)
{
	for (;;) {
		const int r = wire_reader_next(reader, WIRE_FROM_HOST, ret, err);
		size_t room;
		uint8_t *into;
		ssize_t n;

		if (r != 0)
			return r;
		into = wire_reader_room(reader, &room);
		n = fd_read_some(conn->fd, into, room);
		if (n < 0)
			return err_sys(err, (int)n, "read the stream");
		if (n == 0 && wire_reader_pending(reader) > 0)
			return err_set(err, ERR_PROTOCOL, "the stream ended inside a frame");
		if (n == 0)
			return 0;
		wire_reader_advance(reader, (size_t)n);
	}
}

static int send_line(struct conn *conn, const json_t *object)
{
	AUTO_BUF text = BUF_INIT;

	json_write(object, &text);
	buf_add_byte(&text, '\n');
	return fd_write_all(conn->fd, buf_span(&text));
}

int conn_reply(struct conn *conn, json_t *members, struct err *err)
{
	AUTO_JSON *reply = json_new_object();
	int r;

	json_put_bool(reply, "ok", true);
	if (members) {
		const char *key;
		json_t *value;

		json_object_foreach(members, key, value)
			json_put(reply, key, json_incref(value));
		json_decref(members);
	}
	r = send_line(conn, reply);
	if (r < 0)
		return err_sys(err, r, "send the answer");
	conn->has_replied = true;
	return 0;
}

int conn_send_frame(struct conn *conn, enum wire_type type, struct span payload, struct err *err)
{
	uint8_t header[WIRE_HEADER_SIZE];
	int r;

	wire_put_header(header, type, payload.len);
	r = fd_write_all(conn->fd, span_of(header, sizeof(header)));
	if (r == 0)
		r = fd_write_all(conn->fd, payload);
	return r < 0 ? err_sys(err, r, "send to the host") : 0;
}

void conn_fail(struct conn *conn, const struct err *failure)
{
	if (conn->has_failed)
		return;
	conn->has_failed = true;

	/* Nobody is left to be told when this fails too: the host is gone. */
	if (conn->has_replied) {
		struct err ignored = ERR_INIT;

		IGNORE_RESULT(
			conn_send_frame(conn, WIRE_ERROR, span_str(failure->message), &ignored));
		return;
	}

	AUTO_JSON *reply = json_new_object();
	json_t *error = json_new_object();

	json_put_bool(reply, "ok", false);
	json_put_str(error, "kind", err_kind_name(failure->kind));
	json_put_str(error, "message", failure->message);
	json_put(reply, "error", error);
	IGNORE_RESULT(send_line(conn, reply));
}

void conn_finish(struct conn *conn)
{
	const uint64_t deadline_ns = clock_now_ns() + LINGER_MS * NSEC_PER_MSEC;
	uint8_t dropped[LINGER_BUFFER];

	if (shutdown(conn->fd, SHUT_WR) < 0)
		return;
	while (cancel_poll(NULL, conn->fd, POLLIN, deadline_ns) > 0) {
		if (recv(conn->fd, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
			return;
		/* A host that goes on sending does not push the deadline away. */
		if (clock_now_ns() >= deadline_ns)
			return;
	}
}
