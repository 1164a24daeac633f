#include "guest/connect.h"

#include <errno.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "guest/io.h"
#include "wire/protocol.h"

#define AGENT_MESSAGE_MAX 300 /* bytes of the agent's text in a message */
#define SHOWN_MAX	  48  /* bytes of a wrong answer in a message */

int guest_connect_reply(struct span reply)
{
	static const char prefix[] = "OK ";
	const size_t prefix_len = sizeof(prefix) - 1;
	struct span cursor = reply;
	uint64_t number;

	if (reply.len < prefix_len)
		return memcmp(reply.ptr, prefix, reply.len) == 0 ? 0 : -1;
	if (!parse_literal(&cursor, prefix))
		return -1;
	if (cursor.len == 0)
		return 0;
	if (!parse_u64(&cursor, UINT32_MAX, &number))
		return -1;
	if (cursor.len == 0)
		return 0;
	return parse_byte(&cursor, '\n') && parse_end(&cursor) ? 1 : -1;
}

static int wrong_connect_reply(const struct buf *reply, struct err *err)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, buf_span(reply), SHOWN_MAX);
	return err_set(err, ERR_PROTOCOL, "the VMM answered CONNECT with '%s'", shown.ptr);
}

/* Byte by byte at most to the newline; a wrong byte is noticed when it comes, not at the deadline.
 */
static int read_connect_reply(const struct guest_io *io, struct err *err)
{
	AUTO_BUF reply = BUF_INIT;

	while (reply.len < GUEST_CONNECT_REPLY_MAX) {
		uint8_t byte;
		int verdict;
		const ssize_t n = guest_io_recv(io, &byte, 1, err);

		if (n < 0)
			return (int)n;
		if (n == 0 && reply.len == 0)
			return err_set(err, ERR_NOT_FOUND,
				       "nobody listens on that port in the guest");
		if (n == 0)
			break;
		buf_add_byte(&reply, byte);
		verdict = guest_connect_reply(buf_span(&reply));
		if (verdict > 0)
			return 0;
		if (verdict < 0)
			break;
	}
	return wrong_connect_reply(&reply, err);
}

int guest_connect(const char *socket_path, uint32_t port, const struct cancel *cancel,
		  uint64_t deadline_ns, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_BUF request = BUF_INIT;
	struct guest_io io = { .cancel = cancel, .deadline_ns = deadline_ns };
	int r;

	r = unix_connect_until(socket_path, cancel, deadline_ns, &fd, err);
	if (r < 0)
		return err_context(err, r, "connect to the guest");
	io.fd = fd;
	buf_addf(&request, "CONNECT %u\n", port);
	r = guest_io_send(&io, buf_span(&request), err);
	if (r == 0)
		r = read_connect_reply(&io, err);
	else if (r == -EPIPE)
		r = err_set(err, ERR_NOT_FOUND, "the VMM closed the connection");
	if (r < 0)
		return err_context(err, r, "connect to port %u of the guest", port);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* {"ok":false,"error":{"kind","message"}} */
static int read_refusal(const json_t *reply, struct err *err)
{
	struct refusal {
		char *kind;
		char *message;
	} refusal = { 0 };
	static const struct json_field fields[] = {
		{ "kind", JSON_FIELD_STRING, true, offsetof(struct refusal, kind), 32, NULL },
		{ "message", JSON_FIELD_STRING, true, offsetof(struct refusal, message),
		  WIRE_MESSAGE_MAX, NULL },
	};
	AUTO_BUF shown = BUF_INIT;
	enum err_kind kind;
	int r;

	r = json_object_size(reply) == 2 ? 0 : -EPROTO;
	if (r == 0)
		r = json_read_fields(json_object_get(reply, "error"), fields, ARRAY_LEN(fields),
				     &refusal, err);
	if (r < 0)
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: 'error' is no error");
	kind = err_kind_from_name(refusal.kind);
	text_escape(&shown, span_str(refusal.message), AGENT_MESSAGE_MAX);
	json_fields_done(fields, ARRAY_LEN(fields), &refusal);
	return err_set(err, kind == ERR_NONE ? ERR_SYSTEM : kind, "%s", shown.ptr);
}

int guest_read_reply(struct span line, json_t **ret_reply, struct err *err)
{
	AUTO_JSON *reply = NULL;
	const json_t *ok;

	if (json_read(line, &reply, err) < 0) {
		err->kind = ERR_PROTOCOL;
		return err_context(err, -EPROTO, "wrong answer from the agent");
	}
	ok = json_object_get(reply, "ok");
	if (!json_is_boolean(ok))
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: it has no boolean 'ok'");
	if (json_is_false(ok))
		return read_refusal(reply, err);
	if (ret_reply)
		*ret_reply = TAKE_PTR(reply);
	return 0;
}

int guest_recv_reply(const struct guest_io *io, json_t **ret_reply, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	bool is_complete = false;
	int r;

	r = guest_io_recv_line(io, WIRE_REPLY_MAX, &line, &is_complete, err);
	if (r < 0)
		return err_context(err, r, "ask the agent");
	if (!is_complete)
		return err_set(err, ERR_PROTOCOL,
			       "the agent closed the connection without an answer");
	return guest_read_reply(span_of(line.ptr, line.len - 1), ret_reply, err);
}

int guest_call(int fd, const json_t *request, const struct cancel *cancel, uint64_t deadline_ns,
	       json_t **ret_reply, struct err *err)
{
	const struct guest_io io = { .fd = fd, .cancel = cancel, .deadline_ns = deadline_ns };
	AUTO_BUF line = BUF_INIT;
	int r;

	json_write(request, &line);
	buf_add_byte(&line, '\n');
	if (line.len > WIRE_REQUEST_MAX)
		return err_set(err, ERR_LIMIT, "the request is over %d bytes", WIRE_REQUEST_MAX);
	r = guest_io_send(&io, buf_span(&line), err);
	/* An agent that closed early may have said why. */
	if (r < 0 && r != -EPIPE)
		return r;
	return guest_recv_reply(&io, ret_reply, err);
}
