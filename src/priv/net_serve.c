#include "priv/net_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "priv/net_private.h"
#include "priv/net_way_out.h"

#define CLIENTS_MAX	 16
#define REQUEST_MS	 3000 /* for a request to come, and for its reply to be taken */
#define WAY_OUT_MS	 2000
#define WAY_OUT_STEP_MS	 10
#define ROUTES_BYTES_MAX 65536

struct client {
	int fd; /* owned; -1: nobody */
	bool is_watcher;
};

struct server {
	const struct net_settings *settings;
	struct priv_net *net;
	int outer_fd;
	struct client clients[CLIENTS_MAX];
	bool has_way_out;   /* wanted */
	struct err failure; /* why there is none; ERR_NONE: not heard of */
	bool has_ended;
};

/* --- the way out --- */

/* The device has been made and the default route leads to it. */
static bool is_way_open(void)
{
	AUTO_BUF text = BUF_INIT;

	return file_read(AT_FDCWD, "/proc/net/route", ROUTES_BYTES_MAX, &text) == 0 &&
	       strstr(text.ptr, "\n" NET_WAY_OUT_DEVICE "\t00000000\t");
}

static void add_client(struct server *server, int fd)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (server->clients[i].fd >= 0)
			continue;
		server->clients[i] = (struct client){ .fd = fd };
		return;
	}
	fd_close(fd);
}

/* One packet of the outer process. False when that is gone. */
static bool hear_outer(struct server *server)
{
	char packet[NET_WAY_OUT_TEXT + ERR_MESSAGE_SIZE];
	int fd = -1;
	const ssize_t n = unix_recv_fd(server->outer_fd, packet, sizeof(packet) - 1, &fd);

	if (n <= 0)
		return n == -EAGAIN;
	packet[n] = '\0';
	if (packet[0] == NET_HOLDER_CLIENT && fd >= 0)
		add_client(server, fd);
	else
		fd_close(fd);
	if (packet[0] == NET_HOLDER_FAILED)
		IGNORE_RESULT(err_set(&server->failure, ERR_SYSTEM, "%s", packet + 1));
	return true;
}

/* Until it is open or has failed; guests would miss what they send meanwhile. */
static void await_way_out(struct server *server)
{
	const uint64_t deadline_ns = clock_now_ns() + WAY_OUT_MS * NSEC_PER_MSEC;

	while (server->failure.kind == ERR_NONE && clock_now_ns() < deadline_ns && !is_way_open()) {
		struct pollfd wait = { .fd = server->outer_fd, .events = POLLIN };

		if (poll(&wait, 1, WAY_OUT_STEP_MS) > 0 && !hear_outer(server))
			return;
	}
}

static int set_way_out(struct server *server, bool is_wanted, struct err *err)
{
	const char word = is_wanted ? NET_HOLDER_OPEN : NET_HOLDER_CLOSE;

	if (server->has_way_out == is_wanted)
		return 0;
	server->failure = ERR_INIT;
	if (send(server->outer_fd, &word, 1, MSG_NOSIGNAL) != 1)
		return err_sys(err, -errno, "ask for a way out");
	server->has_way_out = is_wanted;
	if (is_wanted)
		await_way_out(server);
	return 0;
}

/* --- requests --- */

static int check_index(const struct server *server, uint32_t index, struct err *err)
{
	if (net_index_is_valid(&server->settings->subnet, index))
		return 0;
	return err_set(err, ERR_INVALID, "%u is no VM's place in the isolated network", index);
}

static int check_guests(const struct server *server, const struct net_request *request,
			struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < request->guest_count && r == 0; i++)
		r = check_index(server, request->guests[i].index, err);
	return r;
}

static int hello(const struct server *server, const struct net_request *request, struct err *err)
{
	const struct net_settings *theirs = &request->settings;
	const struct net_settings *ours = server->settings;

	if (request->value == NET_MESSAGE_VERSION && str_eq(ours->tag, theirs->tag) &&
	    str_eq(ours->bridge_name, theirs->bridge_name) &&
	    ours->subnet.bridge == theirs->subnet.bridge &&
	    ours->subnet.prefix == theirs->subnet.prefix && ours->dns_port == theirs->dns_port)
		return 0;
	return err_set(err, ERR_BAD_STATE, "the isolated network was made with other settings");
}

static int raise_all(struct server *server, const struct net_request *request, struct err *err)
{
	bool has_nat = false;
	int r = check_guests(server, request, err);

	if (r == 0)
		r = priv_net_raise(server->net, request->guests, request->guest_count, err);
	for (size_t i = 0; i < request->guest_count; i++)
		has_nat |= request->guests[i].has_nat;
	return r < 0 ? r : set_way_out(server, has_nat, err);
}

static int one_guest(struct server *server, const struct net_request *request, struct err *err)
{
	const struct net_guest *guest = &request->guests[0];
	const int r = check_guests(server, request, err);

	if (r < 0)
		return r;
	if (request->op == NET_OP_JOIN)
		return priv_guest_join(server->net, guest, err);
	return request->op == NET_OP_LEAVE ? priv_guest_leave(server->net, guest, err)
					   : priv_guest_set_nat(server->net, guest, err);
}

static int one_tap(struct server *server, const struct net_request *request, struct err *err)
{
	const int r = check_index(server, request->value, err);

	if (r < 0)
		return r;
	return request->op == NET_OP_TAP_MAKE
		       ? priv_tap_make(server->net, request->value, geteuid(), err)
		       : priv_tap_delete(server->net, request->value, err);
}

static int set_forwarding(struct server *server, bool is_on, struct err *err)
{
	const int r = priv_net_set_forwarding(server->net, is_on, err);

	return r < 0 ? r : set_way_out(server, is_on, err);
}

static int status(const struct server *server, struct err *err)
{
	if (!server->has_way_out || is_way_open())
		return 0;
	if (server->failure.kind == ERR_NONE)
		return err_set(err, ERR_BUSY, "the way out is being opened");
	*err = server->failure;
	return -EIO;
}

static int space(uint32_t which, int *ret_fd, struct err *err)
{
	const char *path = which == 0 ? "/proc/self/ns/user" : "/proc/self/ns/net";

	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, -errno, "open '%s'", path) : 0;
}

static int look(struct server *server, struct net_reply *reply, struct buf *records)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	const int r = priv_net_look(server->net, &state, &reply->err);

	reply->value = state.has_bridge;
	reply->count = (uint32_t)state.tap_count;
	for (size_t i = 0; i < state.tap_count; i++)
		net_tap_write(&state.taps[i], records);
	return r;
}

static int traffic(struct server *server, struct net_reply *reply, struct buf *records)
{
	AUTO_FREE struct priv_traffic *items = NULL;
	size_t count = 0;
	const int r = priv_net_traffic(server->net, &items, &count, &reply->err);

	reply->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		net_traffic_write(&items[i], records);
	return r;
}

struct sightings {
	struct buf *records;
	uint32_t count;
};

static void note_sighting(void *context, const char *kind, const char *name, bool is_ours,
			  const char *vm_id)
{
	struct sightings *sightings = context;
	struct net_sighting sighting = { .is_ours = is_ours };

	(void)snprintf(sighting.kind, sizeof(sighting.kind), "%s", kind);
	(void)snprintf(sighting.name, sizeof(sighting.name), "%s", name);
	(void)snprintf(sighting.vm_id, sizeof(sighting.vm_id), "%s", vm_id ? vm_id : "");
	net_sighting_write(&sighting, sightings->records);
	sightings->count++;
}

static int census(struct server *server, struct net_reply *reply, struct buf *records)
{
	struct sightings sightings = { .records = records };
	const int r = priv_net_census(server->net, note_sighting, &sightings, &reply->err);

	reply->count = sightings.count;
	return r;
}

/* What one request asks for. `records` and `ret_fd` are sent along. */
static int perform(struct server *server, struct client *client, const struct net_request *request,
		   struct net_reply *reply, struct buf *records, int *ret_fd)
{
	struct err *err = &reply->err;

	switch (request->op) {
	case NET_OP_HELLO:
		return hello(server, request, err);
	case NET_OP_SPACE:
		return space(request->value, ret_fd, err);
	case NET_OP_WATCH:
		client->is_watcher = true;
		return 0;
	case NET_OP_END:
		server->has_ended = true;
		return 0;
	case NET_OP_STATUS:
		return status(server, err);
	case NET_OP_HOST:
		return net_direct_set_host(server->net, request->ranges, request->range_count, err);
	case NET_OP_LOOK:
		return look(server, reply, records);
	case NET_OP_TRAFFIC:
		return traffic(server, reply, records);
	case NET_OP_CENSUS:
		return census(server, reply, records);
	case NET_OP_RAISE:
		return raise_all(server, request, err);
	case NET_OP_IS_WHOLE:
		reply->value =
			priv_net_is_whole(server->net, request->guests, request->guest_count);
		return 0;
	case NET_OP_TAP_MAKE:
	case NET_OP_TAP_DELETE:
		return one_tap(server, request, err);
	case NET_OP_JOIN:
	case NET_OP_LEAVE:
	case NET_OP_SET_NAT:
		return one_guest(server, request, err);
	case NET_OP_SET_FORWARDING:
		return set_forwarding(server, request->value == 1, err);
	case NET_OP_COUNT:
		break;
	}
	return err_set(err, ERR_PROTOCOL, "no such operation");
}

static uint64_t request_deadline(void)
{
	return clock_now_ns() + REQUEST_MS * NSEC_PER_MSEC;
}

/* Who has begun has a deadline for all of it, since the others wait meanwhile. False: whoever it
 * was missed that, broke the protocol, or is gone. */
static bool read_request(int fd, struct net_request *ret)
{
	const uint64_t deadline_ns = request_deadline();
	uint8_t header[NET_HEADER_SIZE];
	struct err ignored = ERR_INIT;
	AUTO_BUF message = BUF_INIT;
	size_t size;

	if (fd_read_exact_until(fd, header, sizeof(header), deadline_ns) < 0 ||
	    net_request_body_size(span_of(header, sizeof(header)), &size, &ignored) < 0)
		return false;
	buf_add(&message, span_of(header, sizeof(header)));
	buf_reserve(&message, size);
	if (fd_read_exact_until(fd, message.ptr + message.len, size, deadline_ns) < 0)
		return false;
	buf_advance(&message, size);
	return net_request_parse(buf_span(&message), ret, &ignored) == 0;
}

static bool serve_client(struct server *server, struct client *client)
{
	AUTO_NET_REQUEST request = NET_REQUEST_INIT;
	struct net_reply reply = { .err = ERR_INIT };
	AUTO_CLOSE int fd = -1;
	AUTO_BUF records = BUF_INIT;
	AUTO_BUF out = BUF_INIT;

	if (client->is_watcher || !read_request(client->fd, &request))
		return false; /* a watcher has nothing to say */
	if (perform(server, client, &request, &reply, &records, &fd) >= 0)
		reply.err = ERR_INIT;
	else
		reply.count = 0;
	net_reply_write(&reply, &out);
	if (reply.count > 0)
		buf_add(&out, buf_span(&records));
	return unix_send_fd_until(client->fd, buf_span(&out), fd, request_deadline()) == 0;
}

static void tell_watchers(struct server *server)
{
	static const char word = '!';

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server->clients[i];

		/* One that does not listen has enough to read already. */
		if (client->fd >= 0 && client->is_watcher)
			(void)send(client->fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

/* --- the loop --- */

/* Nobody is there, and no VM that the next bangerd would look for. */
static bool is_needless(struct server *server)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	struct err ignored = ERR_INIT;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (server->clients[i].fd >= 0)
			return false;
	}
	if (priv_net_look(server->net, &state, &ignored) < 0)
		return false;
	for (size_t i = 0; i < state.tap_count; i++) {
		if (state.taps[i].vm_id[0] != '\0')
			return false;
	}
	return true;
}

static void serve_clients(struct server *server, const struct pollfd *waits)
{
	bool has_lost = false;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server->clients[i];

		/* The descriptor may be a newcomer's by now. */
		if (client->fd < 0 || waits[i].fd != client->fd || waits[i].revents == 0)
			continue;
		if (serve_client(server, client))
			continue;
		fd_closep(&client->fd);
		has_lost = true;
	}
	if (has_lost && is_needless(server))
		server->has_ended = true;
}

static int loop(struct server *server, struct err *err)
{
	while (!server->has_ended) {
		struct pollfd waits[CLIENTS_MAX + 2];

		for (size_t i = 0; i < CLIENTS_MAX; i++)
			waits[i] = (struct pollfd){ .fd = server->clients[i].fd, .events = POLLIN };
		waits[CLIENTS_MAX] = (struct pollfd){ .fd = server->outer_fd, .events = POLLIN };
		waits[CLIENTS_MAX + 1] =
			(struct pollfd){ .fd = priv_net_watch_fd(server->net), .events = POLLIN };
		if (poll(waits, ARRAY_LEN(waits), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, -errno, "wait for requests");
		}
		serve_clients(server, waits);
		if (waits[CLIENTS_MAX].revents && !hear_outer(server))
			return err_set(err, ERR_SYSTEM, "the outer process is gone");
		if (waits[CLIENTS_MAX + 1].revents && priv_net_watch_read(server->net))
			tell_watchers(server);
	}
	return 0;
}

int net_serve(const struct net_settings *settings, int outer_fd, struct err *err)
{
	const struct priv_net_config config = { .bridge_name = settings->bridge_name,
						.subnet = settings->subnet,
						.dns_port = settings->dns_port };
	CLEANUP(priv_net_closep) struct priv_net *net = NULL;
	struct server server = { .settings = settings, .outer_fd = outer_fd };
	int r;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		server.clients[i].fd = -1;
	r = net_direct_open(settings->tag, &config, true, &net, err);
	if (r < 0)
		return r;
	server.net = net;
	r = loop(&server, err);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		fd_closep(&server.clients[i].fd);
	return r;
}
