#include "agent/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

#define DIRECTION_BUFFER (64 * 1024)

struct direction {
	int from;
	int to;
	size_t start; /* of what was read and not written */
	size_t end;
	bool has_ended; /* no more comes from `from` */
	bool is_done;	/* and `to` knows */
	uint8_t bytes[DIRECTION_BUFFER];
};

/* Does what can be done now; false when a socket is broken. */
static bool direction_step(struct direction *way)
{
	if (way->start == way->end && !way->has_ended) {
		const ssize_t n = fd_read_some(way->from, way->bytes, sizeof(way->bytes));

		if (n < 0 && n != -EAGAIN)
			return false;
		way->has_ended = n == 0;
		way->start = 0;
		way->end = n > 0 ? (size_t)n : 0;
	}
	if (way->start < way->end) {
		const ssize_t n = fd_write_some(
			way->to, span_of(way->bytes + way->start, way->end - way->start));

		if (n < 0 && n != -EAGAIN)
			return false;
		if (n > 0)
			way->start += (size_t)n;
	}
	if (way->start == way->end && way->has_ended && !way->is_done) {
		way->is_done = true;
		(void)shutdown(way->to, SHUT_WR); /* fails only when the peer is gone already */
	}
	return true;
}

static struct pollfd direction_slot(const struct direction *way)
{
	if (way->start < way->end)
		return (struct pollfd){ .fd = way->to, .events = POLLOUT };
	return (struct pollfd){ .fd = way->has_ended ? -1 : way->from, .events = POLLIN };
}

void relay_run(int a, int b, struct span first)
{
	/* Too large for a stack frame; a process relays one pair. */
	static struct direction there, back;

	there.from = back.to = a;
	there.to = back.from = b;
	if (first.len > sizeof(there.bytes) || fd_set_nonblocking(a, true) < 0 ||
	    fd_set_nonblocking(b, true) < 0)
		return;
	memcpy(there.bytes, first.ptr, first.len);
	there.end = first.len;

	while (!there.is_done || !back.is_done) {
		struct pollfd fds[] = { direction_slot(&there), direction_slot(&back) };

		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return;
		if (!direction_step(&there) || !direction_step(&back))
			return;
	}
}

static int connect_to(int family, const struct sockaddr *address, socklen_t size)
{
	AUTO_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, address, size) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A server on "localhost" listens on either of the two; IPv4 first, as most do. */
int forward_connect_tcp(uint16_t port)
{
	const struct sockaddr_in v4 = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	const int fd = connect_to(AF_INET, (const struct sockaddr *)&v4, sizeof(v4));
	int second;

	if (fd != -ECONNREFUSED)
		return fd;
	second = connect_to(AF_INET6, (const struct sockaddr *)&v6, sizeof(v6));
	return second < 0 ? fd : second;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, path, strlen(path)); /* the request was checked to fit */
	return connect_to(AF_UNIX, (const struct sockaddr *)&address, sizeof(address));
}

int forward_serve(struct conn *conn, const struct request *request, struct err *err)
{
	AUTO_CLOSE int fd = request->unix_path ? connect_unix(request->unix_path)
					       : forward_connect_tcp((uint16_t)request->tcp);
	int r;

	if (fd < 0) {
		r = request->unix_path
			    ? err_sys(err, fd, "connect to '%s'", request->unix_path)
			    : err_sys(err, fd, "connect to port %u", (unsigned)request->tcp);
		if (fd == -ECONNREFUSED || fd == -ENOENT)
			err->kind = ERR_NOT_FOUND;
		return r;
	}
	r = conn_reply(conn, NULL, err);
	if (r < 0)
		return r;
	relay_run(conn->fd, fd, buf_span(&conn->input));
	return 0;
}
