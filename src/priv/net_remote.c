#include "priv/net_remote.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/unix_socket.h"
#include "priv/net_local.h"

#define REAP_MS	     3000
#define MEET_STEP_NS (10 * NSEC_PER_MSEC)
#define PATIENCE_S   20 /* for an answer: more than the slowest operation takes */

/* --- messages --- */

static size_t record_size(enum net_op op)
{
	if (op == NET_OP_LOOK)
		return NET_TAP_SIZE;
	if (op == NET_OP_CENSUS)
		return NET_SIGHTING_SIZE;
	return op == NET_OP_TRAFFIC ? NET_TRAFFIC_SIZE : 0;
}

static int receive_records(int fd, size_t count, size_t size, struct buf *ret, struct err *err)
{
	int r;

	if (count == 0)
		return 0;
	if (!ret || size == 0)
		return err_set(err, ERR_PROTOCOL, "the isolated network tells what nobody asked");
	buf_clear(ret);
	buf_reserve(ret, count * size);
	r = fd_read_exact(fd, ret->ptr, count * size);
	if (r < 0)
		return err_sys(err, r, "hear of the isolated network");
	buf_advance(ret, count * size);
	return 0;
}

/* What comes back; `ret_fd` and `ret_records` may be NULL where nothing is to come. */
static int receive(int fd, const struct net_request *request, struct net_reply *reply,
		   struct buf *ret_records, int *ret_fd, struct err *err)
{
	uint8_t bytes[NET_REPLY_SIZE];
	AUTO_CLOSE int passed = -1;
	const ssize_t n = unix_recv_fd(fd, bytes, sizeof(bytes), &passed);
	int r = n <= 0 ? (int)n : 0;

	if (n == 0)
		r = -EPIPE;
	if (n > 0 && (size_t)n < sizeof(bytes))
		r = fd_read_exact(fd, bytes + n, sizeof(bytes) - (size_t)n);
	if (r < 0)
		return err_sys(err, r, "hear of the isolated network");
	r = net_reply_parse(span_of(bytes, sizeof(bytes)), reply, err);
	if (r == 0)
		r = receive_records(fd, reply->count, record_size(request->op), ret_records, err);
	if (r == 0 && ret_fd)
		*ret_fd = TAKE_FD(passed);
	return r;
}

/* What comes of one request. */
struct answer {
	struct net_reply reply;
	struct buf *records; /* borrowed; NULL where none are to come */
	int *fd;	     /* the same for a descriptor, which is the caller's */
	bool is_broken; /* the connection is of no use any more: it is not the holder that refuses
			 */
};

/* One request on one connection. */
static int exchange(int fd, const struct net_request *request, struct answer *answer,
		    struct err *err)
{
	AUTO_BUF message = BUF_INIT;
	int r;

	answer->is_broken = true;
	answer->reply = (struct net_reply){ .err = ERR_INIT };
	net_request_write(request, &message);
	r = unix_send_fd(fd, buf_span(&message), -1);
	if (r < 0)
		return err_sys(err, r, "ask the isolated network");
	r = receive(fd, request, &answer->reply, answer->records, answer->fd, err);
	if (r < 0)
		return r;
	answer->is_broken = false;
	if (answer->reply.err.kind == ERR_NONE)
		return 0;
	*err = answer->reply.err;
	return err_negative(-answer->reply.err.errnum);
}

/* A request whose answer is only whether it was done. */
static int tell(int fd, const struct net_request *request, struct err *err)
{
	struct answer answer = { .records = NULL };

	return exchange(fd, request, &answer, err);
}

/* --- the connection; with the lock held --- */

void net_remote_disconnect(struct net_remote *net)
{
	fd_closep(&net->fd);
	if (net->changes_fd >= 0)
		(void)epoll_ctl(net->watch_fd, EPOLL_CTL_DEL, net->changes_fd, NULL);
	fd_closep(&net->changes_fd);
	mem_free(TAKE_PTR(net->host));
	net->host_count = 0;
}

static int dial(const struct net_remote *net, int *ret, struct err *err)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	const uint64_t deadline_ns = clock_now_ns() + PATIENCE_S * NSEC_PER_SEC;
	int r;

	r = unix_connect_until(net->socket_path, NULL, deadline_ns, ret, err);
	if (r < 0)
		return r;
	(void)setsockopt(*ret, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(*ret, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return 0;
}

static int greet(const struct net_remote *net, bool *ret_is_broken, struct err *err)
{
	struct answer answer = { .records = NULL };
	const int r = exchange(net->fd,
			       &(struct net_request){ .op = NET_OP_HELLO,
						      .value = NET_MESSAGE_VERSION,
						      .settings = net->start.settings },
			       &answer, err);

	*ret_is_broken = answer.is_broken;
	return r;
}

static int get_spaces(struct net_remote *net, struct err *err)
{
	int r = 0;

	priv_net_spaces_done(&net->spaces);
	for (uint32_t i = 0; i < 2 && r == 0; i++) {
		struct answer answer = { .fd = &net->spaces.fds[i] };

		net->spaces.fds[i] = -1;
		r = exchange(net->fd, &(struct net_request){ .op = NET_OP_SPACE, .value = i },
			     &answer, err);
		if (r == 0 && net->spaces.fds[i] < 0)
			r = err_set(err, ERR_PROTOCOL, "the isolated network has no namespaces");
		if (r == 0)
			net->spaces.count++;
	}
	return r;
}

/* Who cannot be told of changes still sees them every minute. */
static void open_changes(struct net_remote *net)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct err ignored = ERR_INIT;

	if (dial(net, &net->changes_fd, &ignored) < 0)
		return;
	if (tell(net->changes_fd, &(struct net_request){ .op = NET_OP_WATCH }, &ignored) < 0 ||
	    fd_set_nonblocking(net->changes_fd, true) < 0 ||
	    epoll_ctl(net->watch_fd, EPOLL_CTL_ADD, net->changes_fd, &event) < 0)
		fd_closep(&net->changes_fd);
}

static bool is_told(const struct net_remote *net, const struct net_range *ranges, size_t count)
{
	return net->host && net->host_count == count &&
	       memcmp(net->host, ranges, count * sizeof(*ranges)) == 0;
}

int net_remote_tell_host(struct net_remote *net, struct err *err)
{
	AUTO_FREE struct net_range *ranges = NULL;
	size_t count;
	int r;

	r = net_local_list(&ranges, &count, err);
	if (r < 0 || is_told(net, ranges, count))
		return r;
	r = tell(net->fd,
		 &(struct net_request){ .op = NET_OP_HOST, .ranges = ranges, .range_count = count },
		 err);
	if (r < 0)
		return r;
	mem_free(net->host);
	net->host = TAKE_PTR(ranges);
	net->host_count = count;
	return 0;
}

/* One that we have started is our child. */
static void reap(struct net_remote *net)
{
	const uint64_t deadline_ns = clock_now_ns() + REAP_MS * NSEC_PER_MSEC;
	int status;

	if (net->holder.pid != 0)
		IGNORE_RESULT(process_wait(&net->holder, NULL, deadline_ns, &status));
	process_kill(&net->holder);
}

/* Tells it to end, with all that is in it, and waits. */
static int dismiss(struct net_remote *net, struct err *err)
{
	struct err ignored = ERR_INIT;

	/* One that does not listen is killed, if it is ours, or said to be there still. */
	if (net->fd >= 0)
		IGNORE_RESULT(tell(net->fd, &(struct net_request){ .op = NET_OP_END }, &ignored));
	net_remote_disconnect(net);
	reap(net);
	priv_net_spaces_done(&net->spaces);
	return net_holder_gone(net->socket_path, err);
}

/* Starts one: in the namespaces that are still there, or, where that fails, in new ones. */
static int start(struct net_remote *net, struct err *err)
{
	int r;

	reap(net);
	r = net_holder_gone(net->socket_path, err);
	if (r == 0)
		r = net_holder_start(&net->start, &net->holder, err);
	if (r < 0 && net->spaces.count > 0) {
		priv_net_spaces_done(&net->spaces);
		*err = ERR_INIT;
		r = net_holder_start(&net->start, &net->holder, err);
	}
	return r < 0 ? r : dial(net, &net->fd, err);
}

/* 1 when there is one to talk to, which may have other settings; 0 when there is none. */
static int find(struct net_remote *net, bool may_start, struct err *err)
{
	int r;

	r = dial(net, &net->fd, err);
	if (r == 0)
		return 1;
	if (err->kind != ERR_NOT_FOUND)
		return r;
	*err = ERR_INIT;
	if (!may_start && net->spaces.count == 0)
		return 0;
	r = start(net, err);
	return r < 0 ? r : 1;
}

/* 1 when it has greeted us, 0 when there is none; ERR_BAD_STATE when it is of other settings. */
static int meet(struct net_remote *net, bool may_start, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + REAP_MS * NSEC_PER_MSEC;
	bool is_broken;
	int r;

	for (;;) {
		r = find(net, may_start, err);
		if (r <= 0)
			return r;
		r = greet(net, &is_broken, err);
		if (r == 0)
			return 1;
		if (!is_broken || clock_now_ns() >= deadline_ns)
			return r;
		/* One that is about to end listens a little longer than it answers. */
		net_remote_disconnect(net);
		*err = ERR_INIT;
		IGNORE_RESULT(cancel_poll(NULL, -1, 0, clock_now_ns() + MEET_STEP_NS));
	}
}

int net_remote_connect(struct net_remote *net, bool may_start, struct err *err)
{
	int r;

	if (net->fd >= 0)
		return 1;
	r = meet(net, may_start, err);
	if (r < 0 && err->kind == ERR_BAD_STATE && !net->only_looks) {
		/* Of an earlier configuration, or an earlier version. */
		*err = ERR_INIT;
		r = dismiss(net, err);
		if (r == 0)
			r = meet(net, may_start, err);
	}
	if (r < 0)
		net_remote_disconnect(net);
	if (r < 0 && net->only_looks && err->kind == ERR_BAD_STATE) {
		*err = ERR_INIT;
		return 0;
	}
	if (r <= 0)
		return r;
	r = get_spaces(net, err);
	if (r == 0 && !net->only_looks)
		r = net_remote_tell_host(net, err);
	if (r < 0) {
		net_remote_disconnect(net);
		return r;
	}
	open_changes(net);
	return 1;
}

int net_remote_end(struct net_remote *net, struct err *err)
{
	int r;

	/* No reason to start one. */
	priv_net_spaces_done(&net->spaces);
	r = net_remote_connect(net, false, err);
	if (r > 0)
		return dismiss(net, err);
	reap(net);
	return r;
}

/* --- asking --- */

/* What was done before it died is there; nobody else makes TAPs in there. */
static bool was_done(const struct net_request *request, int attempt, const struct err *err)
{
	return attempt > 0 && request->op == NET_OP_TAP_MAKE && err->kind == ERR_EXISTS;
}

/* Asks, and once more when the one who was asked has died. *ret: whether anybody is there. */
static int ask_locked(struct net_remote *net, const struct net_request *request,
		      struct net_reply *reply, struct buf *ret_records, enum presence *ret,
		      struct err *err)
{
	for (int attempt = 0;; attempt++) {
		struct answer answer = { .records = ret_records };
		int r;

		r = net_remote_connect(net, request->op == NET_OP_RAISE, err);
		*ret = r > 0 ? THERE : NOT_THERE;
		if (r <= 0)
			return r;
		r = exchange(net->fd, request, &answer, err);
		*reply = answer.reply;
		if (r < 0 && was_done(request, attempt, err))
			r = 0;
		if (r == 0 || !answer.is_broken)
			return r;
		net_remote_disconnect(net);
		if (attempt > 0)
			return r;
		*err = ERR_INIT;
	}
}

int net_remote_ask(struct net_remote *net, const struct net_request *request,
		   struct net_reply *reply, struct buf *ret_records, enum presence *ret,
		   struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = ask_locked(net, request, reply, ret_records, ret, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}
