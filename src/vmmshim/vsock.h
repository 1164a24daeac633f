/*
 * Firecracker's vsock on the host's side. A client connects to uds_path and writes "CONNECT
 * PORT\n"; the stream is opened in the guest, the client gets "OK N\n", and bytes flow both ways,
 * half-close included. When nobody takes it, the connection is just closed. A stream that the guest
 * opens to port P is connected to the Unix socket `uds_path`_P.
 *
 * Streams travel over a virtio-serial port (src/mux). Until the agent in the guest has greeted,
 * connections are closed at once: callers try again, as they do with a guest that does not listen
 * yet.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "mux/pump.h"

#define VSOCK_PENDING_MAX  64	/* clients that have not said where to yet */
#define VSOCK_LINE_MAX	   32	/* "CONNECT 4294967295\n" has 19 bytes */
#define VSOCK_LINE_MS	   5000 /* for saying it */
#define VSOCK_FIRST_NUMBER (1U << 30)
#define VSOCK_FDS_MAX	   (1 + VSOCK_PENDING_MAX + MUX_PUMP_FDS_MAX)

struct vsock_pending {
	int fd; /* owned */
	uint64_t deadline_ns;
	char line[VSOCK_LINE_MAX];
	size_t len;
};

struct vsock {
	int listen_fd;	       /* borrowed */
	const char *uds_path;  /* borrowed */
	int channel_fd;	       /* owned; our end of the virtio-serial port */
	struct mux_pump *pump; /* owned */
	struct vsock_pending pending[VSOCK_PENDING_MAX];
	size_t pending_count;
	size_t polled; /* entries before the pump's, as written last */
	uint32_t next_number;
	uint64_t opened;
	uint64_t refused;
};

/* "CONNECT 52\n" without its end. */
bool vsock_parse_connect(struct span line, uint32_t *ret_port) MUST_CHECK;

/* `channel_fd` is given on success. `vsock` must not move afterwards. */
int vsock_init(struct vsock *vsock, int listen_fd, const char *uds_path, int channel_fd,
	       struct err *err) MUST_CHECK;
void vsock_done(struct vsock *vsock);

/* Writes the entries to poll for (at most VSOCK_FDS_MAX); returns how many. */
size_t vsock_poll_fds(struct vsock *vsock, struct pollfd *fds, size_t room);

/* When vsock_step() is due without an event: clock_now_ns() time, UINT64_MAX for never. */
uint64_t vsock_deadline(const struct vsock *vsock);

/*
 * Does what can be done without blocking. On failure the guest broke the protocol or the channel
 * ended; vsock_restart() begins again.
 */
int vsock_step(struct vsock *vsock, const struct pollfd *fds, size_t count, struct err *err)
	MUST_CHECK;
int vsock_restart(struct vsock *vsock) MUST_CHECK;
