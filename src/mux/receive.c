/*
 * What comes from the peer. The parser holds one header and at most one control payload; DATA goes
 * to its stream as it comes, but becomes visible only with the end mark, so that a frame that was
 * cut off by a restart of the peer never reaches a reader.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "mux/state.h"

#define HELLO_PREFIX_SIZE (MUX_HEADER_SIZE + MUX_MAGIC_SIZE)

/* What each type's payload length has to be; DATA's may be less. */
static const struct {
	const char *name;
	uint32_t len;
} frames[FRAME_COUNT] = {
	[FRAME_HELLO] = { "HELLO", MUX_HELLO_SIZE },
	[FRAME_OPEN] = { "OPEN", 8 },
	[FRAME_ACCEPT] = { "ACCEPT", 4 },
	[FRAME_REFUSE] = { "REFUSE", 4 },
	[FRAME_DATA] = { "DATA", MUX_PAYLOAD_MAX },
	[FRAME_WINDOW] = { "WINDOW", 4 },
	[FRAME_EOF] = { "EOF", 0 },
	[FRAME_RESET] = { "RESET", 0 },
};

struct frame {
	enum frame_type type;
	uint32_t id;
	uint32_t len;
	const uint8_t *payload; /* not DATA's */
};

#define violation(err, ...) err_set((err), ERR_PROTOCOL, "multiplexer: " __VA_ARGS__)

static void receive_hello(struct mux *mux, const uint8_t *payload)
{
	const uint64_t session = get_be64(payload + MUX_MAGIC_SIZE);
	const uint64_t answered = get_be64(payload + MUX_MAGIC_SIZE + 8);
	const bool is_new = session != mux->peer_session;

	if (is_new) {
		mux_reset_streams(mux);
		mux->peer_session = session;
		mux->receive = RECEIVE_HUNT;
	}
	if (is_new || answered != mux->session)
		mux->is_hello_due = true;
	if (answered != mux->session)
		return;
	mux->receive = RECEIVE_HEADER;
	if (!mux->is_up) {
		mux->is_up = true;
		mux->is_event_up = true;
	}
}

/* Takes one byte while looking for a HELLO: keeps what may be the beginning of one. */
static void hunt(struct mux *mux, uint8_t byte)
{
	uint8_t prefix[HELLO_PREFIX_SIZE];

	memcpy(put_header(prefix, FRAME_HELLO, 0, MUX_HELLO_SIZE), mux_magic, MUX_MAGIC_SIZE);
	mux->head[mux->head_len++] = byte;
	if (mux->head_len <= HELLO_PREFIX_SIZE) {
		while (memcmp(mux->head, prefix, mux->head_len) != 0) {
			mux->head_len--;
			memmove(mux->head, mux->head + 1, mux->head_len);
		}
		return;
	}
	if (mux->head_len < MUX_HEADER_SIZE + MUX_HELLO_SIZE)
		return;
	mux->head_len = 0;
	/* A session is never 0: that would be somebody else's bytes. */
	if (get_be64(mux->head + HELLO_PREFIX_SIZE) != 0)
		receive_hello(mux, mux->head + MUX_HEADER_SIZE);
}

static bool id_is_ours(const struct mux *mux, uint32_t id)
{
	return id % 2 == (mux->side == MUX_HOST ? 1 : 0);
}

/* Whether the id was open in this session, so that frames for it may still be on the way. */
static bool id_was_open(const struct mux *mux, uint32_t id)
{
	return id != 0 && (id_is_ours(mux, id) ? id < mux->next_id : id <= mux->peer_id_last);
}

static int receive_open(struct mux *mux, const struct frame *frame, struct err *err)
{
	const uint32_t credit = get_be32(frame->payload + 4);
	struct stream *stream;

	if (frame->id == 0 || id_is_ours(mux, frame->id) || frame->id <= mux->peer_id_last)
		return violation(err, "OPEN of stream %u, whose number is not the peer's next",
				 frame->id);
	if (credit > MUX_CREDIT_MAX)
		return violation(err, "credit of %u bytes for stream %u", credit, frame->id);
	mux->peer_id_last = frame->id;

	stream = stream_take(mux, frame->id, get_be32(frame->payload));
	if (stream) {
		stream->state = STREAM_ASKED;
		stream->credit = credit;
		stream_signal(mux, stream, EVENT_BIT_OPEN);
		return 0;
	}
	if (mux->refusal_count == MUX_REFUSALS_MAX)
		return violation(err, "more than %d streams and %d refusals", MUX_STREAMS_MAX,
				 MUX_REFUSALS_MAX);
	mux->refusals[mux->refusal_count++] = frame->id;
	return 0;
}

static int receive_accept(struct mux *mux, struct stream *stream, const struct frame *frame,
			  struct err *err)
{
	const uint32_t credit = get_be32(frame->payload);

	if (stream->state == STREAM_CLOSING)
		return 0;
	if (stream->state != STREAM_OPENING || (stream->due & DUE_OPEN))
		return violation(err, "ACCEPT of stream %u, which was not asked for", frame->id);
	if (credit > MUX_CREDIT_MAX)
		return violation(err, "credit of %u bytes for stream %u", credit, frame->id);
	stream->state = STREAM_OPEN;
	stream->credit = credit;
	stream_signal(mux, stream, EVENT_BIT_ACCEPTED);
	stream_schedule(mux, stream);
	stream_feed_starved(mux, stream);
	return 0;
}

static int receive_refuse(struct mux *mux, struct stream *stream, const struct frame *frame,
			  struct err *err)
{
	const uint32_t code = get_be32(frame->payload);

	if (stream->state == STREAM_CLOSING) {
		stream_release(mux, stream);
		return 0;
	}
	if (stream->state != STREAM_OPENING || (stream->due & DUE_OPEN))
		return violation(err, "REFUSE of stream %u, which was not asked for", frame->id);
	stream->refusal = code == MUX_REFUSED_NOBODY  ? MUX_REFUSED_NOBODY
			  : code == MUX_REFUSED_LIMIT ? MUX_REFUSED_LIMIT
						      : MUX_REFUSED_FAILED;
	stream_finish(mux, stream, EVENT_BIT_REFUSED);
	return 0;
}

static int receive_window(struct mux *mux, struct stream *stream, const struct frame *frame,
			  struct err *err)
{
	const uint32_t credit = get_be32(frame->payload);

	if (stream->state == STREAM_OPENING)
		return violation(err, "WINDOW for stream %u before its ACCEPT", frame->id);
	if (credit == 0 || credit > MUX_CREDIT_MAX - stream->credit)
		return violation(err, "credit of %u and %u bytes for stream %u", stream->credit,
				 credit, frame->id);
	stream->credit += credit;
	if (stream->state == STREAM_OPEN)
		stream_feed_starved(mux, stream);
	return 0;
}

static int receive_eof(struct mux *mux, struct stream *stream, const struct frame *frame,
		       struct err *err)
{
	if (stream->state == STREAM_OPENING || stream->state == STREAM_ASKED)
		return violation(err, "EOF of stream %u before its ACCEPT", frame->id);
	if (stream->is_peer_ended)
		return violation(err, "EOF of stream %u twice", frame->id);
	stream->is_peer_ended = true;
	stream->due &= (uint8_t)~DUE_WINDOW;
	if (stream->state == STREAM_OPEN)
		stream_signal(mux, stream, EVENT_BIT_READABLE);
	return 0;
}

/* A whole frame that is neither DATA nor HELLO. */
static int receive_control(struct mux *mux, const struct frame *frame, struct err *err)
{
	struct stream *stream;

	if (frame->type == FRAME_OPEN)
		return receive_open(mux, frame, err);

	stream = stream_by_id(mux, frame->id);
	if (!stream) {
		if (id_was_open(mux, frame->id))
			return 0;
		return violation(err, "%s for stream %u, which was never open",
				 frames[frame->type].name, frame->id);
	}
	switch (frame->type) {
	case FRAME_ACCEPT:
		return receive_accept(mux, stream, frame, err);
	case FRAME_REFUSE:
		return receive_refuse(mux, stream, frame, err);
	case FRAME_WINDOW:
		return receive_window(mux, stream, frame, err);
	case FRAME_EOF:
		return receive_eof(mux, stream, frame, err);
	case FRAME_RESET:
		stream_finish(mux, stream, EVENT_BIT_RESET);
		return 0;
	case FRAME_HELLO:
	case FRAME_OPEN:
	case FRAME_DATA:
	case FRAME_COUNT:
		break;
	}
	return violation(err, "%s frame in the wrong place", frames[frame->type].name);
}

/* Checks a DATA header and finds where its bytes go. */
static int begin_data(struct mux *mux, const struct frame *frame, struct err *err)
{
	struct stream *stream = stream_by_id(mux, frame->id);

	mux->body_stream = 0;
	mux->body_left = frame->len;
	if (!stream && !id_was_open(mux, frame->id))
		return violation(err, "DATA for stream %u, which was never open", frame->id);
	if (!stream)
		return 0;
	if (stream->state == STREAM_OPENING || stream->state == STREAM_ASKED)
		return violation(err, "DATA for stream %u before its ACCEPT", frame->id);
	if (stream->is_peer_ended)
		return violation(err, "DATA for stream %u after its EOF", frame->id);
	if (frame->len > stream->granted)
		return violation(err, "%u bytes for stream %u, which has credit for %u", frame->len,
				 frame->id, stream->granted);
	stream->granted -= frame->len;
	if (stream->state == STREAM_OPEN)
		mux->body_stream = stream_number(mux, stream);
	return 0;
}

static int begin_frame(struct mux *mux, struct err *err)
{
	const struct frame frame = { .type = mux->head[1],
				     .id = get_be32(mux->head + 4),
				     .len = get_be32(mux->head + 8) };

	if (mux->head[0] != MUX_VERSION)
		return violation(err, "frame of version %u", mux->head[0]);
	if (frame.type < FRAME_HELLO || frame.type >= FRAME_COUNT)
		return violation(err, "frame of unknown type %u", mux->head[1]);
	if (mux->head[2] != 0 || mux->head[3] != 0)
		return violation(err, "%s frame with reserved bits", frames[frame.type].name);

	if (frame.type == FRAME_DATA) {
		if (frame.len == 0 || frame.len > MUX_PAYLOAD_MAX)
			return violation(err, "DATA frame of %u bytes", frame.len);
		mux->head_len = 0;
		mux->receive = RECEIVE_DATA;
		return begin_data(mux, &frame, err);
	}
	if (frame.len != frames[frame.type].len)
		return violation(err, "%s frame of %u bytes", frames[frame.type].name, frame.len);
	mux->receive = RECEIVE_CONTROL;
	return 0;
}

static int end_control(struct mux *mux, struct err *err)
{
	const struct frame frame = { .type = mux->head[1],
				     .id = get_be32(mux->head + 4),
				     .len = get_be32(mux->head + 8),
				     .payload = mux->head + MUX_HEADER_SIZE };

	mux->head_len = 0;
	mux->receive = RECEIVE_HEADER;
	if (frame.type != FRAME_HELLO)
		return receive_control(mux, &frame, err);
	if (frame.id != 0 || memcmp(frame.payload, mux_magic, MUX_MAGIC_SIZE) != 0 ||
	    get_be64(frame.payload + MUX_MAGIC_SIZE) == 0)
		return violation(err, "HELLO without its magic or session");
	receive_hello(mux, frame.payload);
	return 0;
}

/* Appends to the stream, whose window has room: `granted` was checked with the header. */
static void receive_body(struct mux *mux, struct span bytes)
{
	struct stream *stream = mux->body_stream ? stream_by_number(mux, mux->body_stream) : NULL;

	if (!stream || stream->state != STREAM_OPEN)
		return;
	if (!stream->in)
		stream->in = mem_alloc(1, stream->window);
	if (stream->in_end + bytes.len > stream->window) {
		memmove(stream->in, stream->in + stream->in_start,
			stream->in_end - stream->in_start);
		stream->in_whole -= stream->in_start;
		stream->in_end -= stream->in_start;
		stream->in_start = 0;
	}
	assert(stream->in_end + bytes.len <= stream->window);
	memcpy(stream->in + stream->in_end, bytes.ptr, bytes.len);
	stream->in_end += bytes.len;
}

static int end_data(struct mux *mux, uint8_t mark, struct err *err)
{
	struct stream *stream = mux->body_stream ? stream_by_number(mux, mux->body_stream) : NULL;

	if (mark != MUX_END_MARK)
		return violation(err, "DATA frame without its end mark");
	mux->receive = RECEIVE_HEADER;
	if (stream && stream->state == STREAM_OPEN) {
		stream->in_whole = stream->in_end;
		stream_signal(mux, stream, EVENT_BIT_READABLE);
	}
	return 0;
}

/* Takes bytes of a header or control payload up to `size` in all; whether it is complete. */
static bool collect(struct mux *mux, struct span *bytes, size_t size)
{
	size_t count = size - mux->head_len;

	if (count > bytes->len)
		count = bytes->len;
	memcpy(mux->head + mux->head_len, bytes->ptr, count);
	mux->head_len += count;
	*bytes = span_skip(*bytes, count);
	return mux->head_len == size;
}

/* Takes at least one byte, if only to decide; control frames without payload end right away. */
static int receive_some(struct mux *mux, struct span *bytes, struct err *err)
{
	int r = 0;

	switch (mux->receive) {
	case RECEIVE_HUNT:
		hunt(mux, bytes->ptr[0]);
		*bytes = span_skip(*bytes, 1);
		return 0;
	case RECEIVE_HEADER:
		if (mux->head_len == 0 && bytes->ptr[0] == 0) {
			*bytes = span_skip(*bytes, 1);
			return 0;
		}
		if (!collect(mux, bytes, MUX_HEADER_SIZE))
			return 0;
		r = begin_frame(mux, err);
		if (r == 0 && mux->receive == RECEIVE_CONTROL && frames[mux->head[1]].len == 0)
			r = end_control(mux, err);
		return r;
	case RECEIVE_CONTROL:
		if (!collect(mux, bytes, MUX_HEADER_SIZE + frames[mux->head[1]].len))
			return 0;
		return end_control(mux, err);
	case RECEIVE_DATA: {
		const size_t count = bytes->len < mux->body_left ? bytes->len : mux->body_left;

		receive_body(mux, span_of(bytes->ptr, count));
		mux->body_left -= (uint32_t)count;
		*bytes = span_skip(*bytes, count);
		if (mux->body_left == 0)
			mux->receive = RECEIVE_MARK;
		return 0;
	}
	case RECEIVE_MARK:
		r = end_data(mux, bytes->ptr[0], err);
		*bytes = span_skip(*bytes, 1);
		return r;
	}
	return r;
}

int mux_feed(struct mux *mux, struct span bytes, struct err *err)
{
	int r = 0;

	if (mux->broken.kind != ERR_NONE) {
		*err = mux->broken;
		return -EPROTO;
	}
	while (bytes.len > 0 && r == 0)
		r = receive_some(mux, &bytes, err);
	if (r < 0)
		mux->broken = *err;
	return r;
}
