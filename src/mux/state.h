/* The inside of a mux, shared by mux.c (streams and their owner), receive.c and transmit.c only. */
#pragma once

#include "base/buf.h"
#include "mux/mux.h"

#define MUX_VERSION	 1
#define MUX_END_MARK	 0xC5
#define MUX_MAGIC_SIZE	 8
#define MUX_HELLO_SIZE	 (MUX_MAGIC_SIZE + 16) /* payload */
#define MUX_CONTROL_MAX	 MUX_HELLO_SIZE	       /* the largest payload but DATA's */
#define MUX_STAGING_SIZE (2 * MUX_PREAMBLE_SIZE)
#define MUX_SLOT_NONE	 UINT16_MAX

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_OPEN,
	FRAME_ACCEPT,
	FRAME_REFUSE,
	FRAME_DATA,
	FRAME_WINDOW,
	FRAME_EOF,
	FRAME_RESET,
	FRAME_COUNT,
};

enum stream_state {
	STREAM_FREE = 0,
	STREAM_OPENING, /* ours; the peer has not answered */
	STREAM_ASKED,	/* the peer's; our owner has not answered */
	STREAM_OPEN,
	STREAM_OVER,	/* refused or reset: the owner has to close it; off the wire */
	STREAM_CLOSING, /* the owner has closed it; what is due still goes out */
};

/* Events that wait for the owner, in the order in which it gets them. */
enum {
	EVENT_BIT_OPEN = 1 << 0,
	EVENT_BIT_ACCEPTED = 1 << 1,
	EVENT_BIT_REFUSED = 1 << 2,
	EVENT_BIT_READABLE = 1 << 3,
	EVENT_BIT_WRITABLE = 1 << 4,
	EVENT_BIT_RESET = 1 << 5,
};

/* Frames that wait for their turn. */
enum {
	DUE_OPEN = 1 << 0,
	DUE_ACCEPT = 1 << 1,
	DUE_REFUSE = 1 << 2,
	DUE_RESET = 1 << 3,
	DUE_WINDOW = 1 << 4,
};

struct stream {
	enum stream_state state;
	uint32_t generation; /* makes the owner's number; kept when the slot is free */
	uint32_t id;	     /* on the wire; 0 when it is off the wire */
	uint32_t port;
	uint16_t hash_next;
	uint8_t due;
	uint8_t events;
	bool is_ready;	   /* has an entry in `ready`; survives the slot's reuse */
	bool is_signalled; /* has an entry in `signalled`; survives too */
	bool is_large;
	bool is_ended; /* the owner has half-closed */
	bool is_eof_sent;
	bool is_starved; /* mux_write() took less than it was given */
	bool is_peer_ended;
	enum mux_refusal refusal;

	struct buf out;	 /* owned: at most `credit` bytes, so all of it may go */
	uint32_t credit; /* what the peer takes, `out` included */

	uint8_t *in; /* owned, `window` bytes once something has come */
	uint32_t window;
	size_t in_start;     /* first byte that was not consumed */
	size_t in_whole;     /* end of the frames that came whole */
	size_t in_end;	     /* end of what came */
	uint32_t granted;    /* what the peer may still send */
	uint32_t unreported; /* consumed, and the peer has not been told */
};

/* Slots in the order of their turn; each is in it at most once, so it cannot overflow. */
struct slot_queue {
	uint16_t slots[MUX_STREAMS_MAX];
	size_t head;
	size_t count;
};

enum receive_state {
	RECEIVE_HUNT, /* for a HELLO that answers ours */
	RECEIVE_HEADER,
	RECEIVE_CONTROL, /* payload of anything but DATA */
	RECEIVE_DATA,
	RECEIVE_MARK,
};

struct mux {
	enum mux_side side;
	uint64_t session;
	uint64_t peer_session; /* 0: unknown */
	bool is_up;
	bool is_event_up;
	bool is_event_down;
	struct err broken; /* kind ERR_NONE: it is not */

	uint32_t next_id;      /* of ours */
	uint32_t peer_id_last; /* the highest that the peer has opened */
	struct stream streams[MUX_STREAMS_MAX];
	uint16_t hash[MUX_STREAMS_MAX];
	uint16_t free_hint;
	size_t stream_count;
	size_t large_count;
	size_t starved_count;
	size_t out_total;
	struct slot_queue ready;
	struct slot_queue signalled;

	enum receive_state receive;
	uint8_t head[MUX_HEADER_SIZE +
		     MUX_CONTROL_MAX]; /* header and control payload, or hunted bytes */
	size_t head_len;
	uint32_t body_left;
	uint32_t body_stream; /* owner's number; 0: the bytes are dropped */

	bool is_preamble_due;
	bool is_hello_due;
	uint32_t refusals[MUX_REFUSALS_MAX]; /* ids that found no slot */
	size_t refusal_count;
	uint8_t staging[MUX_STAGING_SIZE];
	size_t staged_start;
	size_t staged_end;
};

static inline uint16_t stream_slot(const struct mux *mux, const struct stream *stream)
{
	return (uint16_t)(stream - mux->streams);
}

/* The owner's number for a stream: never 0, since generations begin at 1. */
static inline uint32_t stream_number(const struct mux *mux, const struct stream *stream)
{
	return stream->generation * MUX_STREAMS_MAX + stream_slot(mux, stream);
}

/* transmit.c */
extern const uint8_t mux_magic[MUX_MAGIC_SIZE];

/* mux.c: streams */

/* The stream on the wire with that id, or NULL. */
struct stream *stream_by_id(struct mux *mux, uint32_t id);

/* The owner's stream, or NULL when that number is no longer valid. */
struct stream *stream_by_number(struct mux *mux, uint32_t number);

/* A fresh stream on the wire with its receive window, or NULL over the limit. */
struct stream *stream_take(struct mux *mux, uint32_t id, uint32_t port);

/* Frees the slot; anything that was due or waiting is gone. */
void stream_release(struct mux *mux, struct stream *stream);

/* Takes it off the wire, drops its bytes, and has the owner close it, with `event_bit` as the last
 * event. */
void stream_finish(struct mux *mux, struct stream *stream, uint8_t event_bit);

void stream_signal(struct mux *mux, struct stream *stream, uint8_t event_bit);

/* Puts the stream in the queue for output if it has something to send now. */
void stream_schedule(struct mux *mux, struct stream *stream);
bool stream_has_output(const struct stream *stream);

/* Tells a starved owner, when there is room again. */
void stream_feed_starved(struct mux *mux, struct stream *stream);

/* All streams end; both sides count ids from the beginning. */
void mux_reset_streams(struct mux *mux);

bool slot_queue_pop(struct slot_queue *queue, uint16_t *ret);
void slot_queue_push(struct slot_queue *queue, uint16_t slot);

static inline uint32_t get_be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static inline uint64_t get_be64(const uint8_t *bytes)
{
	return (uint64_t)get_be32(bytes) << 32 | get_be32(bytes + 4);
}

static inline void put_be32(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 24);
	bytes[1] = (uint8_t)(value >> 16 & 0xFF);
	bytes[2] = (uint8_t)(value >> 8 & 0xFF);
	bytes[3] = (uint8_t)(value & 0xFF);
}

static inline void put_be64(uint8_t *bytes, uint64_t value)
{
	put_be32(bytes, (uint32_t)(value >> 32));
	put_be32(bytes + 4, (uint32_t)(value & UINT32_MAX));
}

/* Writes a header and returns what follows it; shared by transmit.c and the hunt for HELLO. */
static inline uint8_t *put_header(uint8_t *bytes, enum frame_type type, uint32_t id, uint32_t len)
{
	bytes[0] = MUX_VERSION;
	bytes[1] = (uint8_t)type;
	bytes[2] = 0;
	bytes[3] = 0;
	put_be32(bytes + 4, id);
	put_be32(bytes + 8, len);
	return bytes + MUX_HEADER_SIZE;
}
