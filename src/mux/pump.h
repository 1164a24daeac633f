/*
 * Joins the streams of a mux with stream sockets, for single-threaded poll loops (the agent's and
 * banger-vmm's):
 *
 *	count = mux_pump_poll_fds(pump, fds, room);
 *	poll(fds, count + the caller's own, ...);
 *	r = mux_pump_step(pump, fds, count, &err);
 *
 * Half-close travels both ways: shutdown(SHUT_WR) of one end is the end of input at the other. A
 *local peer that closes its socket for good is at first only the end of its input, after all that
 *it wrote; the stream is reset when there is something for it that nobody takes. A reset closes the
 * socket at the other end.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "mux/mux.h"

/* Entries that mux_pump_poll_fds() may write: the channel and every stream. */
#define MUX_PUMP_FDS_MAX (1 + MUX_STREAMS_MAX)

struct mux_pump_ops {
	/*
	 * The peer opens a stream to `port`: returns a connected stream socket, which is given, or
	 * -errno. -ECONNREFUSED and -ENOENT tell the peer "nobody", -EMFILE "limit", anything else
	 * "failed". NULL refuses all.
	 */
	int (*open)(void *context, uint32_t port);

	/*
	 * The peer answered mux_pump_open(): `result` is 0, or -ECONNREFUSED (nobody), -EMFILE
	 * (limit), -EIO (failed), -ECONNRESET. Called before any byte of the peer is written to
	 * `fd`, so a greeting may be sent here; on failure `fd` is closed right afterwards. `fd`
	 * stays the pump's. May be NULL.
	 */
	void (*opened)(void *context, int fd, uint32_t port, int result);
};

struct mux_pump;

/* `channel_fd` is borrowed and becomes non-blocking. `ops` must live as long as the pump. */
int mux_pump_new(enum mux_side side, int channel_fd, const struct mux_pump_ops *ops, void *context,
		 struct mux_pump **ret) MUST_CHECK;

/* Closes the streams' sockets, not the channel. */
void mux_pump_free(struct mux_pump *pump);
DEFINE_FREEP(mux_pump, mux_pump_free);

/* After a failed step, or on a new channel: resets all streams and greets again. 0 or -errno. */
int mux_pump_restart(struct mux_pump *pump, int channel_fd) MUST_CHECK;

/* Streams at this moment. */
size_t mux_pump_stream_count(const struct mux_pump *pump);

/*
 * Opens a stream to the peer's `port` and joins it with `local_fd`, a connected stream socket,
 * which is given on success. -ENOTCONN while the pump is not up, -EMFILE over the limit.
 */
int mux_pump_open(struct mux_pump *pump, uint32_t port, int local_fd) MUST_CHECK;

/*
 * Writes the entries to poll for; returns how many. `room` must be at least 1 +
 * mux_pump_stream_count(); the channel is the first entry.
 */
size_t mux_pump_poll_fds(struct mux_pump *pump, struct pollfd *fds, size_t room);

/*
 * Does what can be done without blocking. `fds` and `count` are as written by the last
 * mux_pump_poll_fds(), with revents; streams may have been opened in between. 0, or < 0 when the
 * channel is broken: ERR_PROTOCOL when the peer violated the protocol, ERR_SYSTEM (EPIPE) when the
 * channel ended, ERR_SYSTEM when reading or writing it failed. Then only mux_pump_restart() and
 * mux_pump_free() help.
 */
int mux_pump_step(struct mux_pump *pump, const struct pollfd *fds, size_t count, struct err *err)
	MUST_CHECK;
