#include "vmmshim/vsock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"

bool vsock_parse_connect(struct span line, uint32_t *ret_port)
{
	uint64_t port = 0;

	if (!parse_literal(&line, "CONNECT ") || !parse_u64(&line, UINT32_MAX, &port) ||
	    !parse_end(&line))
		return false;
	*ret_port = (uint32_t)port;
	return true;
}

/* Connects without waiting: a listener whose backlog is full counts as one that failed. */
static int open_for_guest(void *context, uint32_t port)
{
	const struct vsock *vsock = context;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;
	int n;

	n = snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u", vsock->uds_path, port);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* The pump closes what was refused; here only the greeting is missing. */
static void answer_client(void *context, int fd, uint32_t port, int result)
{
	struct vsock *vsock = context;
	char text[VSOCK_LINE_MAX];
	int n;

	(void)port;
	if (result < 0) {
		vsock->refused++;
		return;
	}
	vsock->opened++;
	n = snprintf(text, sizeof(text), "OK %u\n", vsock->next_number);
	vsock->next_number =
		vsock->next_number == UINT32_MAX ? VSOCK_FIRST_NUMBER : vsock->next_number + 1;
	/* A fresh socket's buffer takes it; a client that is gone shows in the pump. */
	if (n > 0)
		(void)send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static const struct mux_pump_ops pump_ops = { .open = open_for_guest, .opened = answer_client };

int vsock_init(struct vsock *vsock, int listen_fd, const char *uds_path, int channel_fd,
	       struct err *err)
{
	int r;

	*vsock = (struct vsock){
		.listen_fd = listen_fd,
		.uds_path = uds_path,
		.channel_fd = -1,
		.next_number = VSOCK_FIRST_NUMBER,
	};
	r = fd_set_nonblocking(listen_fd, true);
	if (r == 0)
		r = mux_pump_new(MUX_HOST, channel_fd, &pump_ops, vsock, &vsock->pump);
	if (r < 0)
		return err_sys(err, r, "prepare the vsock device");
	vsock->channel_fd = channel_fd;
	return 0;
}

void vsock_done(struct vsock *vsock)
{
	mux_pump_free(vsock->pump);
	vsock->pump = NULL;
	for (size_t i = 0; i < vsock->pending_count; i++)
		fd_close(vsock->pending[i].fd);
	vsock->pending_count = 0;
	fd_closep(&vsock->channel_fd);
}

/* --- clients that have not said where to --- */

static void accept_clients(struct vsock *vsock)
{
	while (vsock->pending_count < VSOCK_PENDING_MAX) {
		/* cppcheck-suppress nullPointer; accept4() may be told not to say who it is */
		const int fd = accept4(vsock->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		vsock->pending[vsock->pending_count++] = (struct vsock_pending){
			.fd = fd,
			.deadline_ns = clock_now_ns() + VSOCK_LINE_MS * NSEC_PER_MSEC,
		};
	}
}

static void forward_client(struct vsock *vsock, struct vsock_pending *client)
{
	uint32_t port = 0;

	if (vsock_parse_connect(span_of(client->line, client->len), &port) &&
	    mux_pump_open(vsock->pump, port, client->fd) == 0)
		client->fd = -1; /* given */
	else
		vsock->refused++;
}

/*
 * Takes what belongs to the line and nothing behind it: that is the guest's. True when the client
 * is dealt with, one way or the other.
 */
static bool read_line(struct vsock *vsock, struct vsock_pending *client)
{
	char *into = client->line + client->len;
	const size_t room = sizeof(client->line) - client->len;
	const ssize_t n = recv(client->fd, into, room, MSG_PEEK | MSG_DONTWAIT);
	const char *end;
	size_t count;

	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	if (n == 0)
		return true;
	end = memchr(into, '\n', (size_t)n);
	count = end ? (size_t)(end - into) + 1 : (size_t)n;
	if (recv(client->fd, into, count, MSG_DONTWAIT) != (ssize_t)count)
		return true;
	client->len += count;
	if (!end)
		return client->len == sizeof(client->line);
	client->len--;
	forward_client(vsock, client);
	return true;
}

static void step_clients(struct vsock *vsock, const struct pollfd *fds, size_t count)
{
	const uint64_t now = clock_now_ns();
	size_t kept = 0;

	for (size_t i = 0; i < vsock->pending_count; i++) {
		struct vsock_pending *client = &vsock->pending[i];
		/* Entry 0 is the listener; clients accepted since the poll have none. */
		const bool is_ready = i + 1 < count && fds[i + 1].revents != 0;

		if ((is_ready && read_line(vsock, client)) || now >= client->deadline_ns)
			fd_closep(&client->fd);
		else
			vsock->pending[kept++] = *client;
	}
	vsock->pending_count = kept;
}

/* --- the loop's side --- */

size_t vsock_poll_fds(struct vsock *vsock, struct pollfd *fds, size_t room)
{
	size_t count = 0;

	if (!vsock->pump || room < VSOCK_FDS_MAX)
		return 0;
	fds[count++] = (struct pollfd){
		.fd = vsock->pending_count < VSOCK_PENDING_MAX ? vsock->listen_fd : -1,
		.events = POLLIN,
	};
	for (size_t i = 0; i < vsock->pending_count; i++)
		fds[count++] = (struct pollfd){ .fd = vsock->pending[i].fd, .events = POLLIN };
	vsock->polled = count;
	return count + mux_pump_poll_fds(vsock->pump, fds + count, room - count);
}

uint64_t vsock_deadline(const struct vsock *vsock)
{
	uint64_t deadline = UINT64_MAX;

	for (size_t i = 0; i < vsock->pending_count; i++) {
		if (vsock->pending[i].deadline_ns < deadline)
			deadline = vsock->pending[i].deadline_ns;
	}
	return deadline;
}

int vsock_step(struct vsock *vsock, const struct pollfd *fds, size_t count, struct err *err)
{
	if (!vsock->pump || count < vsock->polled)
		return 0;
	step_clients(vsock, fds, vsock->polled);
	if (fds[0].revents != 0)
		accept_clients(vsock);
	return mux_pump_step(vsock->pump, fds + vsock->polled, count - vsock->polled, err);
}

int vsock_restart(struct vsock *vsock)
{
	return mux_pump_restart(vsock->pump, vsock->channel_fd);
}
