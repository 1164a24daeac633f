#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "rpc/private.h"

#define READ_BYTES	  65536
#define FRAME_TIMEOUT_MS  10000
#define SEND_TIMEOUT_MS	  30000
#define STOP_TIMEOUT_MS	  2000
#define PENDING_BYTES_MAX 65536 /* progress that waits for a peer to read */
/* With the kernel's own, of the 200 KiB that a socket has. What is left takes the answer of
 * whatever reports progress, so a client that was suspended for an hour finds it when it goes on.
 */
#define UNREAD_BYTES_MAX 65536

struct rpc_connection *rpc_connection_new(struct rpc_server *server, int fd,
					  const struct unix_peer *peer)
{
	struct rpc_connection *connection = mem_alloc(1, sizeof(*connection));

	connection->server = server;
	connection->fd = fd;
	connection->peer = *peer;
	connection->in = BUF_INIT;
	connection->out = BUF_INIT;
	pthread_mutex_init(&connection->out_lock, NULL);
	return connection;
}

void rpc_connection_free(struct rpc_connection *connection)
{
	if (!connection)
		return;

	fd_close(connection->fd);
	buf_done(&connection->in);
	buf_done(&connection->out);
	pthread_mutex_destroy(&connection->out_lock);
	mem_free(connection);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Waits until the peer takes more. A stopping server gives it a little time still, to hear its
 * answer. */
static int wait_writable(struct rpc_connection *connection, uint64_t *deadline_ns)
{
	const struct cancel *stop = &connection->server->stop;
	uint64_t last_ns;
	int r;

	r = cancel_poll(stop, connection->fd, POLLOUT, *deadline_ns);
	if (r == -ECANCELED) {
		last_ns = clock_now_ns() + STOP_TIMEOUT_MS * NSEC_PER_MSEC;
		if (*deadline_ns > last_ns)
			*deadline_ns = last_ns;
		r = cancel_poll(NULL, connection->fd, POLLOUT, *deadline_ns);
	}
	return r < 0 ? r : 0;
}

/* Bytes that the socket takes at once, 0 for none, or -errno. */
static ssize_t send_some(int fd, struct span bytes)
{
	ssize_t n;

	do {
		n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

static int send_all(struct rpc_connection *connection, struct span bytes, uint64_t *deadline_ns)
{
	while (bytes.len > 0) {
		ssize_t n = send_some(connection->fd, bytes);
		int r;

		if (n < 0)
			return (int)n;
		bytes = span_skip(bytes, (size_t)n);
		if (n > 0)
			continue;
		r = wait_writable(connection, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

static int send_frame(struct rpc_connection *connection, struct span frame, int passed_fd)
{
	const uint64_t timeout_ms = connection->server->config.send_timeout_ms;
	uint64_t deadline_ns =
		clock_now_ns() + (timeout_ms > 0 ? timeout_ms : SEND_TIMEOUT_MS) * NSEC_PER_MSEC;
	int r;

	/* A notification that was begun has to be ended first. */
	r = send_all(connection, buf_span(&connection->out), &deadline_ns);
	if (r < 0)
		return r;
	buf_clear(&connection->out);

	if (passed_fd >= 0) {
		/* One byte always fits into a socket that is writable, so this cannot block. */
		r = wait_writable(connection, &deadline_ns);
		if (r == 0)
			r = unix_send_fd(connection->fd, span_of(frame.ptr, 1), passed_fd);
		if (r < 0)
			return r;
		frame = span_skip(frame, 1);
	}
	return send_all(connection, frame, &deadline_ns);
}

int rpc_connection_send(struct rpc_connection *connection, struct span frame, int passed_fd)
{
	int r;

	pthread_mutex_lock(&connection->out_lock);
	r = send_frame(connection, frame, passed_fd);
	pthread_mutex_unlock(&connection->out_lock);
	return r;
}

void rpc_connection_send_lossy(struct rpc_connection *connection, struct span frame)
{
	ssize_t n;

	if (connection->out.len + frame.len > PENDING_BYTES_MAX)
		return;

	buf_add(&connection->out, frame);
	n = send_some(connection->fd, buf_span(&connection->out));
	/* A peer that is gone is found by whoever reads or answers. */
	if (n > 0)
		buf_consume(&connection->out, (size_t)n);
}

bool rpc_connection_is_behind(const struct rpc_connection *connection)
{
	int unread_bytes;

	return ioctl(connection->fd, SIOCOUTQ, &unread_bytes) == 0 &&
	       unread_bytes > UNREAD_BYTES_MAX;
}

bool rpc_connection_peer_is_gone(struct rpc_connection *connection)
{
	/* POLLHUP, which needs no asking, is both directions closed. */
	return cancel_poll(NULL, connection->fd, 0, 0) > 0;
}

/* --- receiving -------------------------------------------------------------------------------- */

/* Tells the peer what it did wrong; the connection ends with it. */
static int drop(struct rpc_connection *connection, const struct err *err)
{
	AUTO_BUF line = BUF_INIT;

	rpc_server_tell(connection->server, RPC_EVENT_DROPPED, "client %d of user %u: %s",
			(int)connection->peer.pid, connection->peer.uid, err->message);
	rpc_error_write(NULL, RPC_CODE_INVALID_REQUEST, err, &line);
	pthread_mutex_lock(&connection->out_lock);
	rpc_connection_send_lossy(connection, buf_span(&line));
	pthread_mutex_unlock(&connection->out_lock);
	return -EPROTO;
}

/* Waits for bytes and adds them. 1; 0 at the end (or when the server stops); -errno when dropped.
 */
static int receive(struct rpc_connection *connection)
{
	struct buf *in = &connection->in;
	const uint64_t deadline_ns = in->len > 0 ? connection->frame_deadline_ns : UINT64_MAX;
	AUTO_CLOSE int passed_fd = -1;
	struct err err = ERR_INIT;
	size_t room = LIMIT_RPC_FRAME_BYTES + 1 - in->len;
	ssize_t n;
	int r;

	r = cancel_poll(&connection->server->stop, connection->fd, POLLIN, deadline_ns);
	if (r == -ETIMEDOUT) {
		(void)err_set(&err, ERR_TIMEOUT, "the request was not finished in time");
		return drop(connection, &err);
	}
	if (r < 0)
		return 0;

	if (room > READ_BYTES)
		room = READ_BYTES;
	buf_reserve(in, room);
	n = unix_recv_fd(connection->fd, in->ptr + in->len, room, &passed_fd);
	if (n == -EPROTO || passed_fd >= 0) {
		(void)err_set(&err, ERR_PROTOCOL, "descriptors are not accepted from clients");
		return drop(connection, &err);
	}
	if (n <= 0)
		return 0;
	buf_advance(in, (size_t)n);
	return 1;
}

/* The time that a frame may take starts with its first byte, also one that came with the frame
 * before. */
static void start_frame_clock(struct rpc_connection *connection)
{
	const uint64_t timeout_ms = connection->server->config.frame_timeout_ms;

	connection->frame_deadline_ns =
		clock_now_ns() + (timeout_ms > 0 ? timeout_ms : FRAME_TIMEOUT_MS) * NSEC_PER_MSEC;
}

/*
 * Waits for one whole frame. 1 with it in `in` and its length without the newline in *ret_len; 0
 * when there is none to come; -errno when the peer was dropped.
 */
static int next_frame(struct rpc_connection *connection, size_t *ret_len)
{
	struct buf *in = &connection->in;
	struct err err = ERR_INIT;
	const char *newline;
	int r;

	start_frame_clock(connection);
	for (;;) {
		newline = memchr(in->ptr + connection->in_scanned, '\n',
				 in->len - connection->in_scanned);
		if (newline) {
			*ret_len = (size_t)(newline - in->ptr);
			return 1;
		}
		connection->in_scanned = in->len;
		if (in->len > LIMIT_RPC_FRAME_BYTES) {
			(void)err_set(&err, ERR_LIMIT, "the request is over %d bytes",
				      LIMIT_RPC_FRAME_BYTES);
			return drop(connection, &err);
		}

		const bool was_empty = in->len == 0;

		r = receive(connection);
		if (r <= 0)
			return r;
		if (was_empty)
			start_frame_clock(connection);
	}
}

/* Forgets a frame, and the memory of a large one. */
static void consume_frame(struct rpc_connection *connection, size_t len)
{
	buf_consume(&connection->in, len + 1);
	connection->in_scanned = 0;
	if (connection->in.len == 0 && connection->in.cap > READ_BYTES) {
		buf_done(&connection->in);
		connection->in = BUF_INIT;
	}
}

static int serve(struct rpc_connection *connection)
{
	const struct cancel *stop = &connection->server->stop;
	size_t len;
	int r;

	while (!cancel_is_fired(stop)) {
		r = next_frame(connection, &len);
		if (r <= 0)
			return r;
		r = rpc_dispatch(connection, span_of(connection->in.ptr, len));
		if (r < 0)
			return r;
		consume_frame(connection, len);
	}
	return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void run_hooks(struct rpc_connection *connection)
{
	const bool is_stopping = cancel_is_fired(&connection->server->stop) &&
				 !rpc_connection_peer_is_gone(connection);

	while (connection->hook_count > 0) {
		const struct rpc_hook *hook = &connection->hooks[--connection->hook_count];

		hook->function(hook->context, connection->id, is_stopping);
	}
}

/* A peer that only closed its sending side still holds what depends on its being there. */
static void wait_for_hang_up(struct rpc_connection *connection)
{
	int r = 0;

	if (connection->hook_count > 0)
		r = cancel_poll(&connection->server->stop, connection->fd, 0, UINT64_MAX);
	(void)r; /* gone, stopping or broken: what depends on it ends in each case */
}

void *rpc_connection_main(void *argument)
{
	struct rpc_connection *connection = argument;

	if (serve(connection) == 0)
		wait_for_hang_up(connection);
	run_hooks(connection);
	rpc_server_connection_ended(connection);
	return NULL;
}
