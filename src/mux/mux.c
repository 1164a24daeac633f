/*
 * Streams as their owner sees them. A stream lives in a slot of a fixed table; its number is
 * generation and slot, so a number that was given up never finds a later stream. Slots that have
 * events or output wait in two queues; entries of slots that were freed meanwhile are skipped.
 */
#include "mux/mux.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "mux/state.h"

/* The owner's numbers have 32 bits, of which the slot takes 10. */
#define GENERATION_MAX (UINT32_MAX / MUX_STREAMS_MAX)
#define ID_MAX	       (UINT32_MAX - 2)

static uint16_t *hash_head(struct mux *mux, uint32_t id)
{
	return &mux->hash[id % MUX_STREAMS_MAX];
}

bool slot_queue_pop(struct slot_queue *queue, uint16_t *ret)
{
	if (queue->count == 0)
		return false;
	*ret = queue->slots[queue->head];
	queue->head = (queue->head + 1) % MUX_STREAMS_MAX;
	queue->count--;
	return true;
}

void slot_queue_push(struct slot_queue *queue, uint16_t slot)
{
	assert(queue->count < MUX_STREAMS_MAX);
	queue->slots[(queue->head + queue->count) % MUX_STREAMS_MAX] = slot;
	queue->count++;
}

struct stream *stream_by_id(struct mux *mux, uint32_t id)
{
	uint16_t slot = *hash_head(mux, id);

	while (slot != MUX_SLOT_NONE && mux->streams[slot].id != id)
		slot = mux->streams[slot].hash_next;
	return slot == MUX_SLOT_NONE ? NULL : &mux->streams[slot];
}

struct stream *stream_by_number(struct mux *mux, uint32_t number)
{
	struct stream *stream = &mux->streams[number % MUX_STREAMS_MAX];
	const bool is_valid = stream->state != STREAM_FREE && stream->state != STREAM_CLOSING &&
			      stream->generation == number / MUX_STREAMS_MAX;

	return is_valid ? stream : NULL;
}

static struct stream *stream_of_owner(struct mux *mux, uint32_t number)
{
	struct stream *stream = stream_by_number(mux, number);

	assert(stream);
	return stream;
}

static const struct stream *stream_of_owner_const(const struct mux *mux, uint32_t number)
{
	const struct stream *stream = &mux->streams[number % MUX_STREAMS_MAX];

	assert(stream->state != STREAM_FREE && stream->state != STREAM_CLOSING &&
	       stream->generation == number / MUX_STREAMS_MAX);
	return stream;
}

struct stream *stream_take(struct mux *mux, uint32_t id, uint32_t port)
{
	struct stream *stream = NULL;

	if (mux->stream_count == MUX_STREAMS_MAX)
		return NULL;
	for (size_t i = 0; i < MUX_STREAMS_MAX && !stream; i++) {
		struct stream *candidate = &mux->streams[(mux->free_hint + i) % MUX_STREAMS_MAX];

		if (candidate->state == STREAM_FREE)
			stream = candidate;
	}
	assert(stream);

	*stream = (struct stream){
		.generation = stream->generation % GENERATION_MAX + 1,
		.id = id,
		.port = port,
		.is_ready = stream->is_ready,
		.is_signalled = stream->is_signalled,
		.is_large = mux->large_count < MUX_LARGE_STREAMS_MAX,
		.out = BUF_INIT,
	};
	stream->window = stream->is_large ? MUX_WINDOW_LARGE : MUX_WINDOW_SMALL;
	mux->large_count += stream->is_large ? 1 : 0;
	mux->stream_count++;
	mux->free_hint = (uint16_t)((stream_slot(mux, stream) + 1) % MUX_STREAMS_MAX);
	stream->hash_next = *hash_head(mux, id);
	*hash_head(mux, id) = stream_slot(mux, stream);
	return stream;
}

/* Off the wire: the id means nothing any more, and no bytes are kept. */
static void stream_detach(struct mux *mux, struct stream *stream)
{
	uint16_t *link;

	if (stream->id == 0)
		return;
	link = hash_head(mux, stream->id);
	while (*link != stream_slot(mux, stream))
		link = &mux->streams[*link].hash_next;
	*link = stream->hash_next;
	stream->id = 0;

	mux->out_total -= stream->out.len;
	mux->starved_count -= stream->is_starved ? 1 : 0;
	stream->is_starved = false;
	buf_done(&stream->out);
	mem_free(TAKE_PTR(stream->in));
	stream->in_start = stream->in_whole = stream->in_end = 0;
	stream->due = 0;
}

void stream_release(struct mux *mux, struct stream *stream)
{
	stream_detach(mux, stream);
	mux->large_count -= stream->is_large ? 1 : 0;
	mux->stream_count--;
	stream->events = 0;
	stream->state = STREAM_FREE;
}

void stream_finish(struct mux *mux, struct stream *stream, uint8_t event_bit)
{
	/* What the owner has never seen, or has closed, ends without a word to it. */
	if (stream->state == STREAM_CLOSING || (stream->events & EVENT_BIT_OPEN)) {
		stream_release(mux, stream);
		return;
	}
	if (stream->state == STREAM_OVER)
		return;
	stream_detach(mux, stream);
	stream->state = STREAM_OVER;
	stream->events = 0;
	stream_signal(mux, stream, event_bit);
}

void stream_signal(struct mux *mux, struct stream *stream, uint8_t event_bit)
{
	stream->events |= event_bit;
	if (stream->is_signalled)
		return;
	stream->is_signalled = true;
	slot_queue_push(&mux->signalled, stream_slot(mux, stream));
}

bool stream_has_output(const struct stream *stream)
{
	const bool is_flowing = stream->state == STREAM_OPEN || stream->state == STREAM_CLOSING;

	if (stream->state == STREAM_FREE || stream->state == STREAM_OVER)
		return false;
	return stream->due != 0 || stream->out.len > 0 ||
	       (is_flowing && stream->is_ended && !stream->is_eof_sent);
}

void stream_schedule(struct mux *mux, struct stream *stream)
{
	if (stream->is_ready || !stream_has_output(stream))
		return;
	stream->is_ready = true;
	slot_queue_push(&mux->ready, stream_slot(mux, stream));
}

void stream_feed_starved(struct mux *mux, struct stream *stream)
{
	if (!stream->is_starved || mux_room(mux, stream_number(mux, stream)) == 0)
		return;
	stream->is_starved = false;
	mux->starved_count--;
	stream_signal(mux, stream, EVENT_BIT_WRITABLE);
}

void mux_reset_streams(struct mux *mux)
{
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		if (mux->streams[i].state != STREAM_FREE)
			stream_finish(mux, &mux->streams[i], EVENT_BIT_RESET);
	}
	if (mux->is_up) {
		/* An "up" that the owner has not seen needs no "down". */
		mux->is_event_down = mux->is_event_down || !mux->is_event_up;
		mux->is_event_up = false;
		/* The peer hunts and needs no rest of a frame; a preamble, sent before "up", it
		 * needs. */
		mux->staged_start = mux->staged_end = 0;
	}
	mux->is_up = false;
	mux->next_id = mux->side == MUX_HOST ? 1 : 2;
	mux->peer_id_last = 0;
	mux->refusal_count = 0;
}

struct mux *mux_new(enum mux_side side, uint64_t session)
{
	struct mux *mux = mem_alloc(1, sizeof(*mux));

	mux->side = side;
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		mux->hash[i] = MUX_SLOT_NONE;
		mux->streams[i].out = BUF_INIT;
	}
	mux_restart(mux, session);
	return mux;
}

void mux_free(struct mux *mux)
{
	if (!mux)
		return;
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		if (mux->streams[i].state != STREAM_FREE)
			stream_release(mux, &mux->streams[i]);
	}
	mem_free(mux);
}

void mux_restart(struct mux *mux, uint64_t session)
{
	assert(session != 0 && session != mux->session);
	mux_reset_streams(mux);
	mux->session = session;
	mux->peer_session = 0;
	mux->broken = ERR_INIT;
	mux->receive = RECEIVE_HUNT;
	mux->head_len = 0;
	mux->staged_start = mux->staged_end = 0;
	mux->is_preamble_due = true;
	mux->is_hello_due = true;
}

bool mux_is_up(const struct mux *mux)
{
	return mux->is_up;
}

size_t mux_stream_count(const struct mux *mux)
{
	return mux->stream_count;
}

static const struct {
	uint8_t bit;
	enum mux_event_kind kind;
} event_bits[] = {
	{ EVENT_BIT_OPEN, MUX_EVENT_OPEN },	    { EVENT_BIT_ACCEPTED, MUX_EVENT_ACCEPTED },
	{ EVENT_BIT_REFUSED, MUX_EVENT_REFUSED },   { EVENT_BIT_READABLE, MUX_EVENT_READABLE },
	{ EVENT_BIT_WRITABLE, MUX_EVENT_WRITABLE }, { EVENT_BIT_RESET, MUX_EVENT_RESET },
};

/* Takes the stream's first event; the rest waits for its next turn. */
static void take_stream_event(struct mux *mux, struct stream *stream, struct mux_event *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(event_bits); i++) {
		if (!(stream->events & event_bits[i].bit))
			continue;
		stream->events &= (uint8_t)~event_bits[i].bit;
		*ret = (struct mux_event){ .kind = event_bits[i].kind,
					   .stream = stream_number(mux, stream),
					   .port = stream->port,
					   .refusal = stream->refusal };
		break;
	}
	if (stream->events)
		stream_signal(mux, stream, 0);
}

bool mux_next_event(struct mux *mux, struct mux_event *ret)
{
	uint16_t slot;

	if (mux->is_event_down || mux->is_event_up) {
		*ret = (struct mux_event){ .kind = mux->is_event_down ? MUX_EVENT_DOWN
								      : MUX_EVENT_UP };
		if (mux->is_event_down)
			mux->is_event_down = false;
		else
			mux->is_event_up = false;
		return true;
	}
	while (slot_queue_pop(&mux->signalled, &slot)) {
		struct stream *stream = &mux->streams[slot];

		stream->is_signalled = false;
		if (stream->events) {
			take_stream_event(mux, stream, ret);
			return true;
		}
	}
	return false;
}

int mux_open(struct mux *mux, uint32_t port, uint32_t *ret_stream)
{
	struct stream *stream;

	if (!mux->is_up || mux->broken.kind != ERR_NONE)
		return -ENOTCONN;
	if (mux->next_id > ID_MAX)
		return -EOVERFLOW;
	stream = stream_take(mux, mux->next_id, port);
	if (!stream)
		return -EMFILE;
	mux->next_id += 2;
	stream->state = STREAM_OPENING;
	stream->due = DUE_OPEN;
	stream->granted = stream->window;
	stream_schedule(mux, stream);
	*ret_stream = stream_number(mux, stream);
	return 0;
}

void mux_accept(struct mux *mux, uint32_t number)
{
	struct stream *stream = stream_of_owner(mux, number);

	/* The peer may have reset it while the owner made up its mind. */
	if (stream->state != STREAM_ASKED)
		return;
	stream->state = STREAM_OPEN;
	stream->due = DUE_ACCEPT;
	stream->granted = stream->window;
	stream_schedule(mux, stream);
	stream_feed_starved(mux, stream);
}

void mux_refuse(struct mux *mux, uint32_t number, enum mux_refusal refusal)
{
	struct stream *stream = stream_of_owner(mux, number);

	if (stream->state != STREAM_ASKED) {
		mux_close(mux, number);
		return;
	}
	stream->state = STREAM_CLOSING;
	stream->refusal = refusal;
	stream->due = DUE_REFUSE;
	stream->events = 0;
	stream_schedule(mux, stream);
}

size_t mux_room(const struct mux *mux, uint32_t number)
{
	const struct stream *stream = stream_of_owner_const(mux, number);
	size_t room;

	if (stream->state != STREAM_OPEN || stream->is_ended)
		return 0;
	room = stream->credit - stream->out.len;
	if (room > MUX_SEND_STREAM_MAX - stream->out.len)
		room = MUX_SEND_STREAM_MAX - stream->out.len;
	if (room > MUX_SEND_TOTAL_MAX - mux->out_total)
		room = MUX_SEND_TOTAL_MAX - mux->out_total;
	return room;
}

size_t mux_write(struct mux *mux, uint32_t number, struct span bytes)
{
	struct stream *stream = stream_of_owner(mux, number);
	const size_t room = mux_room(mux, number);
	const size_t count = bytes.len < room ? bytes.len : room;

	if (count < bytes.len && !stream->is_starved && stream->state != STREAM_OVER &&
	    !stream->is_ended) {
		stream->is_starved = true;
		mux->starved_count++;
	}
	buf_add(&stream->out, span_of(bytes.ptr, count));
	mux->out_total += count;
	stream_schedule(mux, stream);
	return count;
}

void mux_end(struct mux *mux, uint32_t number)
{
	struct stream *stream = stream_of_owner(mux, number);

	if (stream->state == STREAM_OVER)
		return;
	stream->is_ended = true;
	stream_schedule(mux, stream);
}

struct span mux_peek(const struct mux *mux, uint32_t number)
{
	const struct stream *stream = stream_of_owner_const(mux, number);

	return stream->in
		       ? span_of(stream->in + stream->in_start, stream->in_whole - stream->in_start)
		       : span_of("", 0);
}

void mux_consume(struct mux *mux, uint32_t number, size_t count)
{
	struct stream *stream = stream_of_owner(mux, number);

	assert(count <= stream->in_whole - stream->in_start);
	if (count == 0)
		return;
	stream->in_start += count;
	if (stream->in_start == stream->in_end)
		stream->in_start = stream->in_whole = stream->in_end = 0;

	/* Credit in quarters of the window: few frames, and the peer never waits for the last byte.
	 */
	stream->unreported += (uint32_t)count;
	if (stream->unreported >= stream->window / 4 && !stream->is_peer_ended)
		stream->due |= DUE_WINDOW;
	stream_schedule(mux, stream);
}

bool mux_peer_ended(const struct mux *mux, uint32_t number)
{
	const struct stream *stream = stream_of_owner_const(mux, number);

	return stream->is_peer_ended && stream->in_start == stream->in_end;
}

void mux_close(struct mux *mux, uint32_t number)
{
	struct stream *stream = stream_of_owner(mux, number);
	const bool is_unknown_to_peer = stream->state == STREAM_OPENING && (stream->due & DUE_OPEN);

	if (stream->state == STREAM_OVER || is_unknown_to_peer) {
		stream_release(mux, stream);
		return;
	}
	stream->events = 0;
	stream->state = STREAM_CLOSING;
	if (!stream->is_ended || !stream->is_peer_ended) {
		mux->out_total -= stream->out.len;
		buf_done(&stream->out);
		stream->due = DUE_RESET;
	} else {
		stream->due &= DUE_ACCEPT;
	}
	if (stream_has_output(stream))
		stream_schedule(mux, stream);
	else
		stream_release(mux, stream);
}
