/*
 * Many byte streams over one byte channel that has neither messages nor connections of its own: a
 * virtio-serial port. A pure state machine: received bytes go in with mux_feed(), bytes to send
 * come out of mux_output(), what happened comes out of mux_next_event(). No input or output, clock
 * or randomness here; pump.h has the helper that joins a mux with descriptors.
 *
 * The channel. Each side first sends HELLO with a random session number. Until it has received a
 * HELLO that answers its own number, a side looks for nothing else, so garbage and leftovers of an
 * earlier life are skipped. A HELLO with a new number resets all streams: that is how a restart of
 * either side shows. A restarted side first sends MUX_PREAMBLE_SIZE zero bytes, which end a frame
 * that was cut off in the middle; a zero byte between frames means nothing.
 *
 * A frame, big endian: u8 version (1), u8 type, u16 zero, u32 stream id, u32 payload length,
 * payload.
 *
 *   HELLO  1  id 0; 8 bytes magic "BNGRMUX\n", u64 own session, u64 the peer's session or 0
 *   OPEN   2  u32 port, u32 credit       the opener takes the next id of its side: odd host, even
 * guest ACCEPT 3  u32 credit REFUSE 4  u32 enum mux_refusal DATA   5  1 to MUX_PAYLOAD_MAX bytes,
 * then the end mark 0xC5, which `length` does not count WINDOW 6  u32 credit, not 0 EOF    7
 * nothing more comes from the sender RESET  8  the stream is over in both directions, what is on
 * the way is dropped
 *
 * Flow control: each side may send as many DATA bytes as the other has given credit for; credit
 * comes back as the reader consumes. Data that the peer has no credit for is never taken over from
 * the owner, so a slow reader holds up its own stream only. Streams take turns, a frame each.
 *
 * Limits: MUX_STREAMS_MAX streams; buffers as named below, so a mux never takes more than about 52
 * MiB whatever its peer does. The first MUX_LARGE_STREAMS_MAX streams get a large window, more a
 * small one.
 *
 * Violations (credit overrun, unknown stream, bad type or length, data after EOF, missing end mark)
 * make mux_feed() fail with ERR_PROTOCOL and a message that names it; the mux is then broken until
 * mux_restart(). Frames for streams that were open once are dropped silently: they were on the way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define MUX_HEADER_SIZE	      12
#define MUX_PAYLOAD_MAX	      32768 /* DATA bytes in a frame: one turn of a stream */
#define MUX_PREAMBLE_SIZE     (MUX_HEADER_SIZE + MUX_PAYLOAD_MAX + 1) /* the longest frame */
#define MUX_STREAMS_MAX	      1024				      /* of both sides together */
#define MUX_LARGE_STREAMS_MAX 64     /* streams that get MUX_WINDOW_LARGE at a time */
#define MUX_WINDOW_LARGE      262144 /* bytes that wait for a reader; 1 ms at 256 MiB/s */
#define MUX_WINDOW_SMALL      32768
#define MUX_SEND_STREAM_MAX   65536	 /* bytes of one stream that wait for the channel */
#define MUX_SEND_TOTAL_MAX    1048576	 /* of all streams together */
#define MUX_REFUSALS_MAX      256	 /* refusals that wait for the channel */
#define MUX_CREDIT_MAX	      1073741824 /* credit that a peer may have given at a time */

enum mux_side { MUX_HOST, MUX_GUEST };

enum mux_refusal {
	MUX_REFUSED_NOBODY = 1, /* nobody listens on that port */
	MUX_REFUSED_LIMIT = 2,	/* too many streams */
	MUX_REFUSED_FAILED = 3, /* the listener could not be reached */
};

enum mux_event_kind {
	MUX_EVENT_UP,	/* both sides know each other: streams can be opened */
	MUX_EVENT_DOWN, /* the peer is gone or restarts; each stream gets MUX_EVENT_RESET too */
	MUX_EVENT_OPEN, /* the peer opens `stream` to `port`: answer with mux_accept or mux_refuse
			 */
	MUX_EVENT_ACCEPTED, /* the peer accepted a stream of ours */
	MUX_EVENT_REFUSED,  /* it did not; `refusal` says why; mux_close() is due */
	MUX_EVENT_READABLE, /* more to mux_peek(), or mux_peer_ended() became true */
	MUX_EVENT_WRITABLE, /* mux_write() took less than it was given before, and now takes more */
	MUX_EVENT_RESET,    /* the stream is over; mux_close() is due */
};

struct mux_event {
	enum mux_event_kind kind;
	uint32_t stream;
	uint32_t port;
	enum mux_refusal refusal;
};

struct mux;

/* `session` is random and not 0; no other life of this side of the channel may have had it. */
struct mux *mux_new(enum mux_side side, uint64_t session) MUST_CHECK;
void mux_free(struct mux *mux);
DEFINE_FREEP(mux, mux_free);

/*
 * Begins again with a new session after a violation or on a new channel: unsent bytes are dropped,
 * every stream gets MUX_EVENT_RESET, HELLO goes out.
 */
void mux_restart(struct mux *mux, uint64_t session);

bool mux_is_up(const struct mux *mux);
size_t mux_stream_count(const struct mux *mux);

/* Takes received bytes, all of them. On failure (ERR_PROTOCOL) only mux_restart() and mux_free()
 * help. */
int mux_feed(struct mux *mux, struct span bytes, struct err *err) MUST_CHECK;

/* The bytes to send next, empty when there are none; valid until the next call with this mux. */
struct span mux_output(struct mux *mux) MUST_CHECK;

/* The first `count` bytes of mux_output() were sent. */
void mux_sent(struct mux *mux, size_t count);

/* Takes the next event; false when there is none. */
bool mux_next_event(struct mux *mux, struct mux_event *ret) MUST_CHECK;

/*
 * Streams. A stream number is never 0 and is valid from mux_open() or MUX_EVENT_OPEN until
 * mux_close() or mux_refuse(); numbers are not reused soon. Calling with another number is a
 * programming error.
 */

/* -ENOTCONN while the mux is not up, -EMFILE over the limit, -EOVERFLOW after 2^31 opens: restart.
 */
int mux_open(struct mux *mux, uint32_t port, uint32_t *ret_stream) MUST_CHECK;

void mux_accept(struct mux *mux, uint32_t number);
void mux_refuse(struct mux *mux, uint32_t number, enum mux_refusal refusal);

/* How many bytes mux_write() would take now. 0 before ACCEPT, after mux_end() and after a reset. */
size_t mux_room(const struct mux *mux, uint32_t number) MUST_CHECK;

/* Takes over at most bytes.len bytes; returns how many. */
size_t mux_write(struct mux *mux, uint32_t number, struct span bytes) MUST_CHECK;

/* Half-close: EOF follows what was written. */
void mux_end(struct mux *mux, uint32_t number);

/* Received bytes, contiguous, borrowed until the next call with this mux. */
struct span mux_peek(const struct mux *mux, uint32_t number) MUST_CHECK;

/* The first `count` bytes of mux_peek() are done with; the peer gets credit back. */
void mux_consume(struct mux *mux, uint32_t number, size_t count);

/* The peer has half-closed and everything it sent was consumed. */
bool mux_peer_ended(const struct mux *mux, uint32_t number);

/*
 * Gives the number up. When both directions have ended, what is unsent still goes out; otherwise
 * the stream is reset.
 */
void mux_close(struct mux *mux, uint32_t number);
