#include "dns/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/fd.h"
#include "base/mem.h"
#include "dns/listener.h"
#include "dns/tcp.h"
#include "dns/udp.h"

#define EVENTS_MAX	64
#define ACCEPT_PAUSE_MS 1000

enum source { SOURCE_STOP, SOURCE_UDP, SOURCE_ACCEPT, SOURCE_CLIENT };

struct dns_server {
	struct dns_zone *zone; /* borrowed */
	struct dns_listener listeners[DNS_LISTENERS_MAX];
	size_t listener_count;
	struct dns_udp *udp; /* owned, as the next: what a query is received in */
	struct dns_tcp *tcp;
	bool is_accepting;
	int epoll_fd;
	struct cancel stop;
	pthread_t thread;
	_Atomic uint64_t answers;
};

static uint64_t event_of(enum source source, size_t index)
{
	return (uint64_t)source << 32 | index;
}

static int watch(const struct dns_server *server, int fd, uint64_t event)
{
	struct epoll_event wanted = { .events = EPOLLIN, .data.u64 = event };

	return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) < 0 ? -errno : 0;
}

/* While every seat is taken, or no descriptor is left, new clients wait in the kernel. */
static void set_accepting(struct dns_server *server, bool on)
{
	if (server->is_accepting == on)
		return;
	server->is_accepting = on;
	for (size_t i = 0; i < server->listener_count; i++) {
		struct epoll_event wanted = { .events = on ? EPOLLIN : 0,
					      .data.u64 = event_of(SOURCE_ACCEPT, i) };

		(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listeners[i].tcp_fd,
				&wanted);
	}
}

static void accept_one(struct dns_server *server, size_t listener)
{
	size_t seat;
	int fd;

	fd = dns_tcp_accept(server->tcp, server->listeners[listener].tcp_fd, &seat);
	if (fd < 0)
		set_accepting(server, fd == -EAGAIN || fd == -ECONNABORTED);
	else if (watch(server, fd, event_of(SOURCE_CLIENT, seat)) < 0)
		dns_tcp_close(server->tcp, seat);
}

static void serve_client(struct dns_server *server, size_t seat)
{
	unsigned int wants;
	int fd;

	server->answers += dns_tcp_serve(server->tcp, seat, server->zone, &wants);
	fd = dns_tcp_fd(server->tcp, seat);
	if (fd < 0) {
		set_accepting(server, true);
	} else {
		struct epoll_event wanted = { .events = wants,
					      .data.u64 = event_of(SOURCE_CLIENT, seat) };

		(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, fd, &wanted);
	}
}

static void handle(struct dns_server *server, uint64_t event)
{
	const size_t index = event & UINT32_MAX;

	switch ((enum source)(event >> 32)) {
	case SOURCE_STOP:
		break;
	case SOURCE_UDP:
		server->answers +=
			dns_udp_serve(server->udp, server->listeners[index].udp_fd, server->zone);
		break;
	case SOURCE_ACCEPT:
		accept_one(server, index);
		break;
	case SOURCE_CLIENT:
		serve_client(server, index);
		break;
	}
}

static int wait_ms(const struct dns_server *server)
{
	const int ms = dns_tcp_wait_ms(server->tcp);

	if (!server->is_accepting && (ms < 0 || ms > ACCEPT_PAUSE_MS))
		return ACCEPT_PAUSE_MS;
	return ms;
}

static void *server_run(void *context)
{
	struct dns_server *server = context;
	struct epoll_event events[EVENTS_MAX];

	while (!cancel_is_fired(&server->stop)) {
		const int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, wait_ms(server));

		for (int i = 0; i < count; i++)
			handle(server, events[i].data.u64);
		if (dns_tcp_close_idle(server->tcp) || count == 0)
			set_accepting(server, true);
	}
	return NULL;
}

static void server_free(struct dns_server *server)
{
	for (size_t i = 0; i < server->listener_count; i++)
		dns_listener_done(&server->listeners[i]);
	dns_udp_free(server->udp);
	dns_tcp_free(server->tcp);
	fd_close(server->epoll_fd);
	cancel_done(&server->stop);
	mem_free(server);
}

static void server_freep(struct dns_server **server)
{
	if (*server)
		server_free(*server);
	*server = NULL;
}

static int watch_all(struct dns_server *server)
{
	int r = watch(server, server->stop.fd, event_of(SOURCE_STOP, 0));

	for (size_t i = 0; i < server->listener_count && r == 0; i++) {
		r = watch(server, server->listeners[i].udp_fd, event_of(SOURCE_UDP, i));
		if (r == 0)
			r = watch(server, server->listeners[i].tcp_fd, event_of(SOURCE_ACCEPT, i));
	}
	server->is_accepting = true;
	return r;
}

int dns_server_start(struct dns_zone *zone, const char *const *addresses, size_t count,
		     struct dns_server **ret, struct err *err)
{
	CLEANUP(server_freep) struct dns_server *server = mem_alloc(1, sizeof(*server));
	int r;

	assert(count <= DNS_LISTENERS_MAX);
	server->zone = zone;
	server->stop = CANCEL_INIT;
	server->udp = dns_udp_new();
	server->tcp = dns_tcp_new();
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = server->epoll_fd < 0 ? -errno : cancel_init(&server->stop);
	if (r < 0)
		return err_sys(err, r, "start the DNS server");

	for (; server->listener_count < count; server->listener_count++) {
		const size_t i = server->listener_count;

		r = dns_listener_open(addresses[i], &server->listeners[i], err);
		if (r < 0)
			return r;
	}
	r = watch_all(server);
	if (r == 0)
		r = -pthread_create(&server->thread, NULL, server_run, server);
	if (r < 0)
		return err_sys(err, r, "start the DNS server");
	*ret = TAKE_PTR(server);
	return 0;
}

void dns_server_stop(struct dns_server *server)
{
	if (!server)
		return;
	cancel_fire(&server->stop);
	(void)pthread_join(server->thread, NULL);
	server_free(server);
}

uint16_t dns_server_port(const struct dns_server *server, size_t index)
{
	assert(index < server->listener_count);
	return server->listeners[index].port;
}

uint64_t dns_server_answers(const struct dns_server *server)
{
	return server->answers;
}
