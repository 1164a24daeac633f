#include "dns/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"

#define BACKLOG		64
#define FREE_PORT_TRIES 16 /* a port that is free for TCP may be taken for UDP */
#define UDP_QUEUE_BYTES (1 << 20)

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t address_bytes(const union address *address)
{
	return address->any.sa_family == AF_INET6 ? sizeof(address->in6) : sizeof(address->in);
}

static in_port_t *port_of(union address *address)
{
	return address->any.sa_family == AF_INET6 ? &address->in6.sin6_port : &address->in.sin_port;
}

static bool parse_address(const char *text, union address *ret)
{
	const char *colon = strrchr(text, ':');
	AUTO_FREE char *host = NULL;
	union address address = { 0 };
	uint64_t port;
	bool is_good;

	if (!colon || !parse_u64_text(colon + 1, UINT16_MAX, &port))
		return false;
	if (text[0] == '[' && colon > text + 1 && colon[-1] == ']') {
		host = mem_strndup(text + 1, (size_t)(colon - text) - 2);
		address.in6.sin6_family = AF_INET6;
		is_good = inet_pton(AF_INET6, host, &address.in6.sin6_addr) == 1;
	} else {
		host = mem_strndup(text, (size_t)(colon - text));
		address.in.sin_family = AF_INET;
		is_good = inet_pton(AF_INET, host, &address.in.sin_addr) == 1;
	}
	*port_of(&address) = htons((uint16_t)port);
	if (is_good)
		*ret = address;
	return is_good;
}

static bool is_loopback(const union address *address)
{
	return address->any.sa_family == AF_INET6 ||
	       ntohl(address->in.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

static int open_socket(const union address *address, int type)
{
	AUTO_CLOSE int fd = socket(address->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int one = 1, queue = UDP_QUEUE_BYTES;

	if (fd < 0)
		return -errno;
	/* Only of TCP: with UDP this would let somebody else take the port beside us. */
	if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	/* A bridge comes with the first VM, and may be removed and made again. */
	if (!is_loopback(address) && setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		return -errno;
	/* A larger queue rides out a burst; one that the kernel does not grant changes nothing. */
	if (type == SOCK_DGRAM)
		IGNORE_RESULT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &queue, sizeof(queue)));
	if (bind(fd, &address->any, address_bytes(address)) < 0)
		return -errno;
	if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* TCP first: its port, free or given, is then tried for UDP. */
static int open_both(union address address, struct dns_listener *ret)
{
	struct dns_listener listener = { .udp_fd = -1, .tcp_fd = -1 };
	socklen_t bytes = address_bytes(&address);
	int r = 0;

	listener.tcp_fd = open_socket(&address, SOCK_STREAM);
	if (listener.tcp_fd < 0)
		return listener.tcp_fd;
	if (getsockname(listener.tcp_fd, &address.any, &bytes) < 0)
		r = -errno;
	if (r == 0) {
		listener.udp_fd = open_socket(&address, SOCK_DGRAM);
		r = listener.udp_fd < 0 ? listener.udp_fd : 0;
	}
	if (r < 0) {
		dns_listener_done(&listener);
		return r;
	}
	listener.port = ntohs(*port_of(&address));
	*ret = listener;
	return 0;
}

int dns_listener_open(const char *text, struct dns_listener *ret, struct err *err)
{
	union address address;
	int r = -EADDRINUSE;

	if (!parse_address(text, &address))
		return err_set(err, ERR_INVALID, "'%s' is not an ADDRESS:PORT", text);
	for (int i = 0; i < (*port_of(&address) ? 1 : FREE_PORT_TRIES) && r == -EADDRINUSE; i++)
		r = open_both(address, ret);
	if (r < 0)
		return err_sys(err, r, "answer DNS on %s", text);
	return 0;
}

void dns_listener_done(struct dns_listener *listener)
{
	fd_close(listener->udp_fd);
	fd_close(listener->tcp_fd);
	*listener = (struct dns_listener){ .udp_fd = -1, .tcp_fd = -1 };
}
