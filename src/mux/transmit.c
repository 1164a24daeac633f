/*
 * What goes to the peer. Frames are made when the channel can take them, into a staging area of two
 * frames, so that nothing but the streams' own buffers grows while the channel is slow. HELLO and
 * refusals go first, then one frame of each stream in turn.
 */
#include <assert.h>
#include <string.h>

#include "mux/state.h"

#define REFUSE_SIZE (MUX_HEADER_SIZE + 4)

const uint8_t mux_magic[MUX_MAGIC_SIZE] = { 'B', 'N', 'G', 'R', 'M', 'U', 'X', '\n' };

static uint8_t *staging_tail(struct mux *mux)
{
	return mux->staging + mux->staged_end;
}

static size_t staging_room(const struct mux *mux)
{
	return sizeof(mux->staging) - mux->staged_end;
}

static void stage_hello(struct mux *mux)
{
	uint8_t *payload;

	if (mux->is_preamble_due) {
		memset(staging_tail(mux), 0, MUX_PREAMBLE_SIZE);
		mux->staged_end += MUX_PREAMBLE_SIZE;
		mux->is_preamble_due = false;
	}
	payload = put_header(staging_tail(mux), FRAME_HELLO, 0, MUX_HELLO_SIZE);
	memcpy(payload, mux_magic, MUX_MAGIC_SIZE);
	put_be64(payload + MUX_MAGIC_SIZE, mux->session);
	put_be64(payload + MUX_MAGIC_SIZE + 8, mux->peer_session);
	mux->staged_end += MUX_HEADER_SIZE + MUX_HELLO_SIZE;
	mux->is_hello_due = false;
}

/* A frame with at most two numbers as payload. */
static void stage_numbers(struct mux *mux, enum frame_type type, uint32_t id, size_t count,
			  const uint32_t numbers[2])
{
	uint8_t *payload = put_header(staging_tail(mux), type, id, (uint32_t)(4 * count));

	for (size_t i = 0; i < count; i++)
		put_be32(payload + 4 * i, numbers[i]);
	mux->staged_end += MUX_HEADER_SIZE + 4 * count;
}

static void stage_refusals(struct mux *mux)
{
	size_t done = 0;

	while (done < mux->refusal_count && staging_room(mux) >= REFUSE_SIZE) {
		stage_numbers(mux, FRAME_REFUSE, mux->refusals[done++], 1,
			      (const uint32_t[2]){ MUX_REFUSED_LIMIT });
	}
	mux->refusal_count -= done;
	memmove(mux->refusals, mux->refusals + done, mux->refusal_count * sizeof(mux->refusals[0]));
}

static void stage_data(struct mux *mux, struct stream *stream)
{
	const size_t count = stream->out.len < MUX_PAYLOAD_MAX ? stream->out.len : MUX_PAYLOAD_MAX;
	uint8_t *payload = put_header(staging_tail(mux), FRAME_DATA, stream->id, (uint32_t)count);

	memcpy(payload, stream->out.ptr, count);
	payload[count] = MUX_END_MARK;
	mux->staged_end += MUX_HEADER_SIZE + count + 1;
	stream->credit -= (uint32_t)count;
	mux->out_total -= count;
	buf_consume(&stream->out, count);
	if (stream->out.len == 0)
		buf_done(&stream->out);
}

/* The one frame of this turn; what the stream has beyond it waits for the next. */
static void stage_turn(struct mux *mux, struct stream *stream)
{
	const uint32_t id = stream->id;

	if (stream->due & DUE_OPEN) {
		stage_numbers(mux, FRAME_OPEN, id, 2,
			      (const uint32_t[2]){ stream->port, stream->window });
		stream->due &= (uint8_t)~DUE_OPEN;
	} else if (stream->due & DUE_REFUSE) {
		stage_numbers(mux, FRAME_REFUSE, id, 1, (const uint32_t[2]){ stream->refusal });
		stream_release(mux, stream);
	} else if (stream->due & DUE_RESET) {
		stage_numbers(mux, FRAME_RESET, id, 0, (const uint32_t[2]){ 0 });
		stream_release(mux, stream);
	} else if (stream->due & DUE_ACCEPT) {
		stage_numbers(mux, FRAME_ACCEPT, id, 1, (const uint32_t[2]){ stream->window });
		stream->due &= (uint8_t)~DUE_ACCEPT;
	} else if (stream->due & DUE_WINDOW) {
		stage_numbers(mux, FRAME_WINDOW, id, 1, (const uint32_t[2]){ stream->unreported });
		stream->granted += stream->unreported;
		stream->unreported = 0;
		stream->due &= (uint8_t)~DUE_WINDOW;
	} else if (stream->out.len > 0) {
		stage_data(mux, stream);
	} else if (stream->is_ended && !stream->is_eof_sent) {
		stage_numbers(mux, FRAME_EOF, id, 0, (const uint32_t[2]){ 0 });
		stream->is_eof_sent = true;
	}
}

static void stage_streams(struct mux *mux)
{
	uint16_t slot;

	while (staging_room(mux) >= MUX_PREAMBLE_SIZE && slot_queue_pop(&mux->ready, &slot)) {
		struct stream *stream = &mux->streams[slot];

		stream->is_ready = false;
		if (!stream_has_output(stream))
			continue;
		stage_turn(mux, stream);
		if (stream->state == STREAM_CLOSING && !stream_has_output(stream))
			stream_release(mux, stream);
		stream_schedule(mux, stream);
	}
	for (size_t i = 0; i < MUX_STREAMS_MAX && mux->starved_count > 0; i++) {
		if (mux->streams[i].state == STREAM_OPEN)
			stream_feed_starved(mux, &mux->streams[i]);
	}
}

struct span mux_output(struct mux *mux)
{
	if (mux->broken.kind != ERR_NONE)
		return span_of(mux->staging, 0);
	if (mux->staged_start == mux->staged_end) {
		mux->staged_start = mux->staged_end = 0;
		if (mux->is_hello_due)
			stage_hello(mux);
		stage_refusals(mux);
		stage_streams(mux);
	}
	return span_of(mux->staging + mux->staged_start, mux->staged_end - mux->staged_start);
}

void mux_sent(struct mux *mux, size_t count)
{
	assert(count <= mux->staged_end - mux->staged_start);
	mux->staged_start += count;
}
