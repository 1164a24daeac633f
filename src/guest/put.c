/*
 * Sending. Both directions are watched at once: an agent whose disk is full says so in the middle,
 * and would otherwise be told about gigabytes that it does not want.
 */
#include "guest/copy.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/connect.h"
#include "guest/transfer.h"
#include "wire/protocol.h"

#define PIECE_SIZE 65536
_Static_assert(PIECE_SIZE <= WIRE_PAYLOAD_MAX, "a piece is one frame");

struct upload {
	struct guest_io io;
	const struct guest_copy *copy; /* borrowed, as the next */
	const struct guest_tar *tar;
	uint64_t moved;
	bool is_sent;	       /* the whole tar, END included, is in `out` or sent */
	bool is_stream_closed; /* the agent takes no more; it may still say why */
	bool is_ended;	       /* END has come back */
	struct buf out;	       /* owned: one frame on its way */
	struct guest_copied summary;
	uint8_t piece[PIECE_SIZE];
	struct wire_reader reader;
};

static void upload_free(struct upload *upload)
{
	if (!upload)
		return;
	buf_done(&upload->out);
	mem_free(upload);
}
DEFINE_FREEP(upload, upload_free);

struct guest_io transfer_io(const struct guest_copy *copy)
{
	return (struct guest_io){ .fd = copy->fd,
				  .cancel = copy->cancel,
				  .deadline_ns = copy->deadline_ns,
				  .idle_ms = GUEST_IDLE_MS };
}

int transfer_check_path(const char *path, struct err *err)
{
	if (path[0] != '/' || strlen(path) > GUEST_PATH_MAX || !text_is_utf8(span_str(path)))
		return err_set(err, ERR_INVALID, "'%s' is no absolute path in UTF-8", path);
	return 0;
}

int transfer_request(const struct guest_io *io, const json_t *request, struct err *err)
{
	AUTO_JSON *reply = NULL;
	int r;

	r = guest_call(io->fd, request, io->cancel, io->deadline_ns, &reply, err);
	if (r == 0 && json_object_size(reply) != 1)
		r = err_set(err, ERR_PROTOCOL, "wrong answer from the agent: it has %zu members",
			    json_object_size(reply));
	return r;
}

int transfer_read_summary(struct span text, struct guest_copied *ret, struct err *err)
{
	static const struct json_field fields[] = {
		{ "entries", JSON_FIELD_U64, true, offsetof(struct guest_copied, entries), 0,
		  NULL },
		{ "bytes", JSON_FIELD_U64, true, offsetof(struct guest_copied, bytes), 0, NULL },
	};
	struct guest_copied summary = { .entries = 0 };
	AUTO_JSON *object = NULL;
	int r;

	r = json_read(text, &object, err);
	if (r == 0)
		r = json_read_fields(object, fields, ARRAY_LEN(fields), &summary, err);
	if (r < 0) {
		err->kind = ERR_PROTOCOL;
		return err_context(err, -EPROTO, "wrong summary from the agent");
	}
	*ret = summary;
	return 0;
}

static int read_tar(struct upload *upload, struct err *err)
{
	const struct guest_tar *tar = upload->tar;
	ssize_t n;

	if (tar->fd >= 0) {
		n = fd_read_some(tar->fd, upload->piece, sizeof(upload->piece));
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(err, (int)n, "read the files to send");
	} else {
		n = tar->read(tar->context, upload->piece, sizeof(upload->piece), err);
		if (n < 0)
			return (int)n;
	}
	if (n > 0) {
		wire_add_frame(&upload->out, WIRE_DATA, span_of(upload->piece, (size_t)n));
		return 0;
	}
	wire_add_frame(&upload->out, WIRE_END, span_of("", 0));
	upload->is_sent = true;
	return 0;
}

static int send_piece(struct upload *upload, struct err *err)
{
	const ssize_t n = guest_io_send_now(&upload->io, buf_span(&upload->out));

	if (n == -EAGAIN)
		return 0;
	if (n == -EPIPE || n == -ECONNRESET) {
		upload->is_stream_closed = true;
		buf_clear(&upload->out);
		return 0;
	}
	if (n < 0)
		return err_sys(err, (int)n, "write to the agent");
	buf_consume(&upload->out, (size_t)n);
	upload->moved += (uint64_t)n;
	if (upload->copy->moved)
		upload->copy->moved(upload->copy->context, upload->moved);
	return 0;
}

static int take_frame(struct upload *upload, const struct wire_frame *frame, struct err *err)
{
	if (frame->type == WIRE_ERROR)
		return guest_io_agent_error(frame, err);
	if (frame->type != WIRE_END)
		return err_set(err, ERR_PROTOCOL, "wrong answer from the agent: %s frame to files",
			       wire_type_name(frame->type));
	if (!upload->is_sent || upload->out.len > 0)
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: END before it was due");
	upload->is_ended = true;
	return transfer_read_summary(frame->payload, &upload->summary, err);
}

static int recv_answer(struct upload *upload, struct err *err)
{
	struct wire_frame frame;
	size_t room;
	uint8_t *into = wire_reader_room(&upload->reader, &room);
	const ssize_t n = guest_io_recv_now(&upload->io, into, room, 0);
	int r;

	if (n == -EAGAIN)
		return 0;
	if (n < 0 && n != -ECONNRESET)
		return err_sys(err, (int)n, "read from the agent");
	if (n <= 0)
		return err_set(err, ERR_PROTOCOL,
			       "the agent closed the connection before it had all files");
	wire_reader_advance(&upload->reader, (size_t)n);
	r = wire_reader_next(&upload->reader, WIRE_FROM_GUEST, &frame, err);
	if (r < 0)
		return err_context(err, r, "wrong answer from the agent");
	return r == 0 ? 0 : take_frame(upload, &frame, err);
}

/* The guest is idle only when it is its turn: waiting for the tar is our own affair. */
static uint64_t turn_deadline(const struct upload *upload)
{
	const uint64_t idle_ns = clock_now_ns() + upload->io.idle_ms * NSEC_PER_MSEC;
	const bool is_guests_turn =
		upload->out.len > 0 || upload->is_sent || upload->is_stream_closed;

	return is_guests_turn && idle_ns < upload->io.deadline_ns ? idle_ns
								  : upload->io.deadline_ns;
}

static int turn(struct upload *upload, struct err *err)
{
	const bool wants_tar =
		upload->out.len == 0 && !upload->is_sent && !upload->is_stream_closed;
	struct pollfd polls[3] = {
		{ .fd = upload->io.fd,
		  .events = (short)(POLLIN | (upload->out.len > 0 ? POLLOUT : 0)) },
		{ .fd = wants_tar ? upload->tar->fd : -1, .events = POLLIN },
		{ .fd = upload->io.cancel ? upload->io.cancel->fd : -1, .events = POLLIN },
	};
	const bool has_tar = wants_tar && upload->tar->fd < 0; /* without waiting */
	const uint64_t deadline_ns = turn_deadline(upload);
	int n = poll(polls, 3, has_tar ? 0 : clock_poll_ms(deadline_ns));
	int r = 0;

	if (n < 0)
		return errno == EINTR ? 0 : err_sys(err, -errno, "wait for the agent");
	if (polls[2].revents)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (n == 0 && !has_tar && clock_now_ns() >= deadline_ns)
		return err_set(err, ERR_TIMEOUT, "the agent did not take the files in time");
	if (polls[1].revents || has_tar)
		r = read_tar(upload, err);
	if (r == 0 && (polls[0].revents & POLLOUT))
		r = send_piece(upload, err);
	if (r == 0 && (polls[0].revents & (POLLIN | POLLHUP | POLLERR)))
		r = recv_answer(upload, err);
	return r;
}

static int put(const struct guest_copy *copy, const char *path, bool is_staged,
	       const struct guest_tar *tar, struct guest_copied *ret, struct err *err)
{
	CLEANUP(upload_freep) struct upload *upload = mem_alloc(1, sizeof(*upload));
	AUTO_JSON *request = json_new_object();
	int r;

	upload->io = transfer_io(copy);
	upload->copy = copy;
	upload->tar = tar;
	upload->out = BUF_INIT;
	wire_reader_init(&upload->reader);
	r = transfer_check_path(path, err);
	if (r < 0)
		return r;
	json_put_str(request, "op", wire_op_name(WIRE_OP_PUT));
	json_put_str(request, "path", path);
	if (is_staged)
		json_put_bool(request, "staged", true);
	r = transfer_request(&upload->io, request, err);
	while (r == 0 && !upload->is_ended)
		r = turn(upload, err);
	if (r < 0)
		return err_context(err, r, "put files in '%s'", path);
	*ret = upload->summary;
	return 0;
}

int guest_put(const struct guest_copy *copy, const char *path, const struct guest_tar *tar,
	      struct guest_copied *ret, struct err *err)
{
	return put(copy, path, false, tar, ret, err);
}

int guest_put_staged(const struct guest_copy *copy, const char *path, const struct guest_tar *tar,
		     struct guest_copied *ret, struct err *err)
{
	return put(copy, path, true, tar, ret, err);
}
