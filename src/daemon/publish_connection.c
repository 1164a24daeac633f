/* One connection of a published port: reaching the guest, then moving bytes. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "daemon/publish_private.h"
#include "guest/connect.h"
#include "wire/protocol.h"

/* --- what epoll is to say --- */

static void watch(struct publish_connection *connection, int side, uint32_t interest)
{
	struct epoll_event event = { .events = interest };
	const union publish_event ref = {
		.kind = (side == SIDE_CLIENT ? PUBLISH_CLIENT : PUBLISH_GUEST) & 0xffU,
		.slot = connection->slot & 0xffffffU,
		.generation = connection->generation,
	};
	const uint32_t before = connection->interest[side];
	int op = EPOLL_CTL_MOD;

	if (interest == before)
		return;
	/* A socket that nothing is wanted of would still report that it was hung up, for ever. */
	if (interest == 0)
		op = EPOLL_CTL_DEL;
	else if (before == 0)
		op = EPOLL_CTL_ADD;
	event.data.u64 = ref.word;
	if (epoll_ctl(connection->publish->epoll_fd, op, connection->fds[side], &event) == 0)
		connection->interest[side] = interest;
}

static uint32_t wants_input(const struct flow *flow)
{
	return flow->start == flow->end && !flow->has_ended ? EPOLLIN : 0;
}

static uint32_t wants_output(const struct flow *flow)
{
	return flow->start < flow->end ? EPOLLOUT : 0;
}

static void watch_both(struct publish_connection *connection)
{
	const struct flow *there = &connection->there;
	const struct flow *back = &connection->back;

	if (!connection->is_connected) {
		watch(connection, SIDE_CLIENT, 0);
		watch(connection, SIDE_GUEST, 0);
	} else if (!connection->is_open) {
		watch(connection, SIDE_CLIENT, 0);
		watch(connection, SIDE_GUEST, EPOLLIN | wants_output(there));
	} else {
		watch(connection, SIDE_CLIENT, wants_input(there) | wants_output(back));
		watch(connection, SIDE_GUEST, wants_input(back) | wants_output(there));
	}
}

/* --- beginning and end --- */

void connection_begin(struct publish *publish, struct publish_group *group, uint16_t guest_port,
		      int fd)
{
	struct publish_connection *connection = mem_alloc(1, sizeof(*connection));
	const int on = 1;
	uint32_t slot = 0;
	int length;

	while (publish->connections[slot])
		slot++;
	connection->publish = publish;
	connection->group = group;
	connection->slot = slot;
	connection->generation = ++publish->generation;
	connection->fds[SIDE_CLIENT] = fd;
	connection->fds[SIDE_GUEST] = -1;
	connection->guest_port = guest_port;
	connection->deadline_ns = clock_now_ns() + publish->answer_ms * NSEC_PER_MSEC;
	publish->connections[slot] = connection;
	publish->connection_count++;
	publish->opening_count++;
	group->connection_count++;
	publish->is_room_changed = true;
	/* It is the client's and the guest's business what goes together. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	length = snprintf((char *)connection->there.bytes, FLOW_BYTES,
			  "CONNECT %d\n{\"op\":\"%s\",\"tcp\":%u}\n", WIRE_PORT,
			  wire_op_name(WIRE_OP_FORWARD), (unsigned)guest_port);
	connection->there.end = length > 0 ? (size_t)length : 0;
	connection_step(connection);
}

void connection_end(struct publish_connection *connection, bool is_broken)
{
	struct publish *publish = connection->publish;
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (is_broken)
		(void)setsockopt(connection->fds[SIDE_CLIENT], SOL_SOCKET, SO_LINGER, &reset,
				 sizeof(reset));
	fd_close(connection->fds[SIDE_CLIENT]);
	fd_close(connection->fds[SIDE_GUEST]);
	if (!connection->is_open)
		publish->opening_count--;
	publish->connections[connection->slot] = NULL;
	publish->connection_count--;
	connection->group->connection_count--;
	publish->is_room_changed = true;
	mem_free(connection);
}

/* --- reaching the guest --- */

/* 0 also when the VMM has no room for one more just now: the next turn tries again. */
static int reach_vmm(struct publish_connection *connection)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = connection->group->socket;
	AUTO_CLOSE int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	connection->fds[SIDE_GUEST] = TAKE_FD(fd);
	connection->is_connected = true;
	return 0;
}

/* The VMM's line, then the agent's: 1 the guest has agreed, 0 not yet, < 0 it has not. */
static int judge_answer(struct publish_connection *connection)
{
	struct flow *back = &connection->back;
	struct span rest = span_of(back->bytes, back->end);
	struct span first, second;
	struct err err = ERR_INIT;

	if (!parse_until(&rest, '\n', &first))
		return back->end < GUEST_CONNECT_REPLY_MAX ? 0 : -EPROTO;
	if (first.len >= GUEST_CONNECT_REPLY_MAX ||
	    guest_connect_reply(span_of(back->bytes, first.len + 1)) != 1)
		return -EPROTO;
	if (!parse_until(&rest, '\n', &second))
		return back->end < FLOW_BYTES ? 0 : -EPROTO;
	if (guest_read_reply(second, NULL, &err) < 0) {
		log_write(LOG_LEVEL_DEBUG,
			  &(struct log_fields){ .vm = connection->group->id, .err = &err },
			  "the guest refuses a connection to port %u",
			  (unsigned)connection->guest_port);
		return -ECONNREFUSED;
	}
	/* What follows is the service's own. */
	back->start = back->end - rest.len;
	return 1;
}

static int read_answer(struct publish_connection *connection)
{
	struct flow *back = &connection->back;
	const ssize_t n = fd_read_some(connection->fds[SIDE_GUEST], back->bytes + back->end,
				       FLOW_BYTES - back->end);
	int r;

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNREFUSED;
	back->end += (size_t)n;
	r = judge_answer(connection);
	if (r == 1) {
		connection->is_open = true;
		connection->publish->opening_count--;
	}
	return r < 0 ? r : 0;
}

/* --- moving bytes --- */

static int write_flow(struct flow *flow, int to)
{
	ssize_t n;

	if (flow->start == flow->end)
		return 0;
	n = send(to, flow->bytes + flow->start, flow->end - flow->start,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	flow->start += (size_t)n;
	return 0;
}

static int move(struct flow *flow, int from, int to)
{
	int r;

	if (flow->start == flow->end && !flow->has_ended) {
		const ssize_t n = fd_read_some(from, flow->bytes, FLOW_BYTES);

		if (n < 0 && n != -EAGAIN)
			return (int)n;
		flow->has_ended = n == 0;
		flow->start = 0;
		flow->end = n > 0 ? (size_t)n : 0;
	}
	r = write_flow(flow, to);
	if (r < 0)
		return r;
	if (flow->start == flow->end && flow->has_ended && !flow->is_done) {
		flow->is_done = true;
		(void)shutdown(to, SHUT_WR); /* fails only when the peer is gone already */
	}
	return 0;
}

/* 1 when both directions are done. */
static int step(struct publish_connection *connection)
{
	const int *fds = connection->fds;
	int r = 0;

	if (!connection->is_connected)
		r = reach_vmm(connection);
	if (r == 0 && connection->is_connected && !connection->is_open) {
		r = write_flow(&connection->there, fds[SIDE_GUEST]);
		if (r == 0)
			r = read_answer(connection);
	}
	if (r < 0 || !connection->is_open)
		return r;
	r = move(&connection->there, fds[SIDE_CLIENT], fds[SIDE_GUEST]);
	if (r == 0)
		r = move(&connection->back, fds[SIDE_GUEST], fds[SIDE_CLIENT]);
	return r < 0 ? r : connection->there.is_done && connection->back.is_done;
}

void connection_step(struct publish_connection *connection)
{
	const int r = step(connection);

	if (r != 0)
		connection_end(connection, r < 0);
	else
		watch_both(connection);
}
