/*
 * The pump keeps one entry for each stream that has a socket. It asks the mux, not its own memory,
 * what each stream can do: an entry is polled for input while the mux takes bytes, for output while
 * the mux has some. An entry that can do neither is left out of the poll set, since POLLHUP cannot
 * be masked and would make the loop spin. A local peer that has closed for good therefore shows as
 * the end of its input, after all that it wrote, and as EPIPE when there is something for it: as
 * with TCP.
 *
 * Sockets are read and written with MSG_DONTWAIT, so their own mode does not matter.
 */
#include "mux/pump.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define CHUNK_SIZE 65536
#define CHANNEL_TURNS \
	16 /* chunks read from the channel in one step, so that one side cannot hold it */

struct link {
	uint32_t stream;     /* the mux's number; 0: free */
	int fd;		     /* owned */
	bool is_answered;    /* the stream is open in both directions */
	bool is_read_ended;  /* the local side has half-closed */
	bool is_write_ended; /* the stream's end was passed on to the local side */
	size_t poll_index;   /* in the last poll set; 0: not in it */
};

struct mux_pump {
	struct mux *mux; /* owned */
	int channel_fd;	 /* borrowed */
	bool is_channel_socket;
	const struct mux_pump_ops *ops;
	void *context;
	size_t first; /* the link whose turn it is to be served first */
	struct link links[MUX_STREAMS_MAX];
	uint8_t chunk[CHUNK_SIZE];
};

static uint64_t random_session(void)
{
	uint64_t session = 0;

	/* 8 bytes never come in parts, and never fail once the kernel is seeded. */
	while (session == 0) {
		if (getrandom(&session, sizeof(session), 0) != sizeof(session))
			session = 0;
	}
	return session;
}

static struct link *link_of(struct mux_pump *pump, uint32_t stream)
{
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		if (pump->links[i].stream == stream)
			return &pump->links[i];
	}
	return NULL;
}

static struct link *link_add(struct mux_pump *pump, uint32_t stream, int fd)
{
	struct link *link = link_of(pump, 0);

	assert(link);
	*link = (struct link){ .stream = stream, .fd = fd };
	return link;
}

static void link_close(struct mux_pump *pump, struct link *link)
{
	mux_close(pump->mux, link->stream);
	fd_close(link->fd);
	*link = (struct link){ .fd = -1 };
}

static int use_channel(struct mux_pump *pump, int channel_fd)
{
	struct stat status;

	if (fstat(channel_fd, &status) < 0)
		return -errno;
	pump->channel_fd = channel_fd;
	pump->is_channel_socket = S_ISSOCK(status.st_mode);
	return fd_set_nonblocking(channel_fd, true);
}

int mux_pump_new(enum mux_side side, int channel_fd, const struct mux_pump_ops *ops, void *context,
		 struct mux_pump **ret)
{
	CLEANUP(mux_pump_freep) struct mux_pump *pump = mem_alloc(1, sizeof(*pump));
	int r;

	for (size_t i = 0; i < MUX_STREAMS_MAX; i++)
		pump->links[i].fd = -1;
	r = use_channel(pump, channel_fd);
	if (r < 0)
		return r;
	pump->mux = mux_new(side, random_session());
	pump->ops = ops;
	pump->context = context;
	*ret = TAKE_PTR(pump);
	return 0;
}

void mux_pump_free(struct mux_pump *pump)
{
	if (!pump)
		return;
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++)
		fd_close(pump->links[i].fd);
	mux_free(pump->mux);
	mem_free(pump);
}

size_t mux_pump_stream_count(const struct mux_pump *pump)
{
	return mux_stream_count(pump->mux);
}

int mux_pump_open(struct mux_pump *pump, uint32_t port, int local_fd)
{
	uint32_t stream;
	int r;

	r = mux_open(pump->mux, port, &stream);
	if (r < 0)
		return r;
	(void)link_add(pump, stream, local_fd);
	return 0;
}

static void tell_opened(struct mux_pump *pump, struct link *link, uint32_t port, int result)
{
	if (pump->ops->opened)
		pump->ops->opened(pump->context, link->fd, port, result);
}

static void serve_open(struct mux_pump *pump, const struct mux_event *event)
{
	const int fd =
		pump->ops->open ? pump->ops->open(pump->context, event->port) : -ECONNREFUSED;

	if (fd >= 0) {
		mux_accept(pump->mux, event->stream);
		link_add(pump, event->stream, fd)->is_answered = true;
		return;
	}
	mux_refuse(pump->mux, event->stream,
		   fd == -ECONNREFUSED || fd == -ENOENT ? MUX_REFUSED_NOBODY
		   : fd == -EMFILE			? MUX_REFUSED_LIMIT
							: MUX_REFUSED_FAILED);
}

static int refusal_errno(enum mux_refusal refusal)
{
	switch (refusal) {
	case MUX_REFUSED_NOBODY:
		return -ECONNREFUSED;
	case MUX_REFUSED_LIMIT:
		return -EMFILE;
	case MUX_REFUSED_FAILED:
		break;
	}
	return -EIO;
}

/* The stream is over: the local side gets what the kernel has, then the end. */
static void serve_over(struct mux_pump *pump, const struct mux_event *event, int result)
{
	struct link *link = link_of(pump, event->stream);

	if (!link)
		return;
	if (!link->is_answered)
		tell_opened(pump, link, event->port, result);
	link_close(pump, link);
}

static void serve_events(struct mux_pump *pump)
{
	struct mux_event event;
	struct link *link;

	while (mux_next_event(pump->mux, &event)) {
		switch (event.kind) {
		case MUX_EVENT_OPEN:
			serve_open(pump, &event);
			break;
		case MUX_EVENT_ACCEPTED:
			link = link_of(pump, event.stream);
			if (link) {
				link->is_answered = true;
				tell_opened(pump, link, event.port, 0);
			}
			break;
		case MUX_EVENT_REFUSED:
			serve_over(pump, &event, refusal_errno(event.refusal));
			break;
		case MUX_EVENT_RESET:
			serve_over(pump, &event, -ECONNRESET);
			break;
		case MUX_EVENT_UP:
		case MUX_EVENT_DOWN:
		case MUX_EVENT_READABLE:
		case MUX_EVENT_WRITABLE:
			/* Links are served by what the mux says at their turn. */
			break;
		}
	}
}

/* Passes on what the stream has; false when the link was closed. */
static bool write_local(struct mux_pump *pump, struct link *link)
{
	struct span bytes = mux_peek(pump->mux, link->stream);

	while (bytes.len > 0) {
		const ssize_t n = send(link->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			link_close(pump, link);
			return false;
		}
		mux_consume(pump->mux, link->stream, (size_t)n);
		bytes = mux_peek(pump->mux, link->stream);
	}
	if (!link->is_write_ended && mux_peer_ended(pump->mux, link->stream)) {
		/* ENOTCONN: the local side is gone, and its input ends by itself. */
		(void)shutdown(link->fd, SHUT_WR);
		link->is_write_ended = true;
	}
	return true;
}

/* Takes one chunk; false when the link was closed. */
static bool read_local(struct mux_pump *pump, struct link *link)
{
	size_t room = mux_room(pump->mux, link->stream);
	size_t taken;
	ssize_t n;

	if (room == 0 || link->is_read_ended)
		return true;
	if (room > sizeof(pump->chunk))
		room = sizeof(pump->chunk);
	do {
		n = recv(link->fd, pump->chunk, room, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n < 0) {
		link_close(pump, link);
		return false;
	}
	if (n == 0) {
		mux_end(pump->mux, link->stream);
		link->is_read_ended = true;
		return true;
	}
	taken = mux_write(pump->mux, link->stream, span_of(pump->chunk, (size_t)n));
	assert(taken == (size_t)n);
	return true;
}

static void serve_link(struct mux_pump *pump, struct link *link, short revents)
{
	bool has_ended, has_left; /* in both directions; before the peer has answered */

	if (!write_local(pump, link))
		return;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && !read_local(pump, link))
		return;
	has_ended = link->is_read_ended && link->is_write_ended;
	has_left = !link->is_answered && (revents & (POLLHUP | POLLERR)) != 0;
	if (has_ended || has_left)
		link_close(pump, link);
}

static int read_channel(struct mux_pump *pump, struct err *err)
{
	for (int turn = 0; turn < CHANNEL_TURNS; turn++) {
		const ssize_t n = fd_read_some(pump->channel_fd, pump->chunk, sizeof(pump->chunk));
		int r;

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(err, (int)n, "read the multiplexer's channel");
		if (n == 0)
			return err_sys(err, -EPIPE, "read the multiplexer's channel");
		r = mux_feed(pump->mux, span_of(pump->chunk, (size_t)n), err);
		if (r < 0)
			return r;
		serve_events(pump);
	}
	return 0;
}

static ssize_t write_channel_some(const struct mux_pump *pump, struct span bytes)
{
	ssize_t n;

	if (!pump->is_channel_socket)
		return fd_write_some(pump->channel_fd, bytes);
	do {
		n = send(pump->channel_fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int write_channel(struct mux_pump *pump, struct err *err)
{
	struct span bytes = mux_output(pump->mux);

	while (bytes.len > 0) {
		const ssize_t n = write_channel_some(pump, bytes);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(err, (int)n, "write to the multiplexer's channel");
		mux_sent(pump->mux, (size_t)n);
		bytes = mux_output(pump->mux);
	}
	return 0;
}

int mux_pump_restart(struct mux_pump *pump, int channel_fd)
{
	const int r = use_channel(pump, channel_fd);

	if (r < 0)
		return r;
	mux_restart(pump->mux, random_session());
	serve_events(pump);
	return 0;
}

/* What to poll a link for; false to leave it out. */
static bool link_events(const struct mux_pump *pump, const struct link *link, short *ret)
{
	const bool wants_read = !link->is_read_ended && mux_room(pump->mux, link->stream) > 0;
	const bool wants_write = mux_peek(pump->mux, link->stream).len > 0;

	/* While the peer has not answered, POLLHUP alone says that nobody waits for it any more. */
	if (!wants_read && !wants_write && link->is_answered)
		return false;
	*ret = 0;
	if (wants_read)
		*ret |= POLLIN;
	if (wants_write)
		*ret |= POLLOUT;
	return true;
}

size_t mux_pump_poll_fds(struct mux_pump *pump, struct pollfd *fds, size_t room)
{
	size_t count = 1;

	assert(room >= 1 + mux_stream_count(pump->mux));
	fds[0] = (struct pollfd){ .fd = pump->channel_fd, .events = POLLIN };
	/* Also the first greeting, and what was opened since the last step, waits for room here. */
	if (mux_output(pump->mux).len > 0)
		fds[0].events |= POLLOUT;

	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		struct link *link = &pump->links[i];
		short events;

		link->poll_index = 0;
		if (!link->stream || !link_events(pump, link, &events))
			continue;
		link->poll_index = count;
		fds[count++] = (struct pollfd){ .fd = link->fd, .events = events };
	}
	return count;
}

int mux_pump_step(struct mux_pump *pump, const struct pollfd *fds, size_t count, struct err *err)
{
	int r;

	if (count > 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL))) {
		r = read_channel(pump, err);
		if (r < 0) {
			serve_events(pump);
			return r;
		}
	}
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++) {
		struct link *link = &pump->links[(pump->first + i) % MUX_STREAMS_MAX];
		short revents = 0;

		/* One that was opened since, perhaps in the slot of another, has no index. */
		if (link->poll_index > 0 && link->poll_index < count)
			revents = fds[link->poll_index].revents;
		if (link->stream)
			serve_link(pump, link, revents);
	}
	pump->first = (pump->first + 1) % MUX_STREAMS_MAX;
	return write_channel(pump, err);
}
