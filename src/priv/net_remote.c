#include "priv/net_remote.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/unix_socket.h"
#include "priv/net_holder.h"
#include "priv/net_local.h"

#define REAP_MS	     3000
#define MEET_STEP_NS (10 * NSEC_PER_MSEC)
#define CHANGE_MS    20000 /* for an answer: more than the slowest operation takes */
#define LOOK_MS	     5000  /* the same of those that change nothing, and for the first word */
#define PROBE_MS     250   /* for the first word of one that hung when it was asked last */
#define SILENCE_NS   NSEC_PER_SEC /* between two attempts to have that */

/* --- messages --- */

static size_t record_size(enum net_op op)
{
	if (op == NET_OP_LOOK)
		return NET_TAP_SIZE;
	if (op == NET_OP_CENSUS)
		return NET_SIGHTING_SIZE;
	return op == NET_OP_TRAFFIC ? NET_TRAFFIC_SIZE : 0;
}

static bool is_look(enum net_op op)
{
	return op == NET_OP_LOOK || op == NET_OP_TRAFFIC || op == NET_OP_CENSUS ||
	       op == NET_OP_IS_WHOLE || op == NET_OP_STATUS || op == NET_OP_SPACE ||
	       op == NET_OP_WATCH;
}

static uint64_t deadline_of(enum net_op op)
{
	return clock_now_ns() + (is_look(op) ? LOOK_MS : CHANGE_MS) * NSEC_PER_MSEC;
}

static int receive_records(int fd, size_t count, size_t size, uint64_t deadline_ns, struct buf *ret,
			   struct err *err)
{
	int r;

	if (count == 0)
		return 0;
	if (!ret || size == 0)
		return err_set(err, ERR_PROTOCOL, "the isolated network tells what nobody asked");
	buf_clear(ret);
	buf_reserve(ret, count * size);
	r = fd_read_exact_until(fd, ret->ptr, count * size, deadline_ns);
	if (r < 0)
		return err_sys(err, r, "hear of the isolated network");
	buf_advance(ret, count * size);
	return 0;
}

/* What comes of one request. */
struct answer {
	uint64_t deadline_ns; /* 0: as long as such a request may take */
	struct net_reply reply;
	struct buf *records; /* borrowed; NULL where none are to come */
	int *fd;	     /* the same for a descriptor, which is the caller's */
	bool is_broken; /* the connection is of no use any more: it is not the holder that refuses
			 */
};

static int receive(int fd, const struct net_request *request, struct answer *answer,
		   struct err *err)
{
	uint8_t bytes[NET_REPLY_SIZE];
	AUTO_CLOSE int passed = -1;
	ssize_t n = cancel_poll(NULL, fd, POLLIN, answer->deadline_ns);
	int r;

	if (n > 0)
		n = unix_recv_fd(fd, bytes, sizeof(bytes), &passed);
	r = n < 0 ? (int)n : n == 0 ? -EPIPE : 0;
	if (r == 0)
		r = fd_read_exact_until(fd, bytes + n, sizeof(bytes) - (size_t)n,
					answer->deadline_ns);
	if (r < 0)
		return err_sys(err, r, "hear of the isolated network");
	r = net_reply_parse(span_of(bytes, sizeof(bytes)), &answer->reply, err);
	if (r == 0)
		r = receive_records(fd, answer->reply.count, record_size(request->op),
				    answer->deadline_ns, answer->records, err);
	if (r == 0 && answer->fd)
		*answer->fd = TAKE_FD(passed);
	return r;
}
/* One request on one connection. */
static int exchange(int fd, const struct net_request *request, struct answer *answer,
		    struct err *err)
{
	AUTO_BUF message = BUF_INIT;
	int r;

	answer->is_broken = true;
	answer->reply = (struct net_reply){ .err = ERR_INIT };
	if (answer->deadline_ns == 0)
		answer->deadline_ns = deadline_of(request->op);
	net_request_write(request, &message);
	r = unix_send_fd_until(fd, buf_span(&message), -1, answer->deadline_ns);
	if (r < 0)
		return err_sys(err, r, "ask the isolated network");
	r = receive(fd, request, answer, err);
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

static bool is_silent(const struct net_remote *net)
{
	return atomic_load(&net->silences) % 2 != 0;
}

/* What it means that it has answered, or has not when it should. */
static void note_silence(struct net_remote *net, bool is_silence)
{
	if (is_silence != is_silent(net))
		atomic_fetch_add(&net->silences, 1);
	net->ask_ns = clock_now_ns() + SILENCE_NS;
}

static int hangs(struct err *err)
{
	*err = ERR_INIT;
	IGNORE_RESULT(err_set(err, ERR_TIMEOUT,
			      "the isolated network's process, " NET_HOLDER_NAME
			      ", does not answer"));
	err_hint(err, "'pkill -CONT -x " NET_HOLDER_NAME "' if somebody has stopped it");
	return -ETIMEDOUT;
}

int net_remote_failed(struct net_remote *net, int r, struct err *err)
{
	net_remote_disconnect(net);
	note_silence(net, r == -ETIMEDOUT);
	return r == -ETIMEDOUT ? hangs(err) : r;
}

static uint64_t first_word_deadline(const struct net_remote *net)
{
	return clock_now_ns() + (is_silent(net) ? PROBE_MS : LOOK_MS) * NSEC_PER_MSEC;
}

static int dial(const struct net_remote *net, int *ret, struct err *err)
{
	return unix_connect_until(net->socket_path, NULL, first_word_deadline(net), ret, err);
}

static int greet(const struct net_remote *net, bool *ret_is_broken, struct err *err)
{
	struct answer answer = { .deadline_ns = first_word_deadline(net) };
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
	AUTO_PRIV_NET_SPACES spaces = { .count = 0 };
	int r = 0;

	for (uint32_t i = 0; i < 2 && r == 0; i++) {
		struct answer answer = { .fd = &spaces.fds[i] };

		spaces.fds[i] = -1;
		r = exchange(net->fd, &(struct net_request){ .op = NET_OP_SPACE, .value = i },
			     &answer, err);
		if (r == 0 && spaces.fds[i] < 0)
			r = err_set(err, ERR_PROTOCOL, "the isolated network has no namespaces");
		if (r == 0)
			spaces.count++;
	}
	if (r < 0)
		return r;
	priv_net_spaces_done(&net->spaces);
	net->spaces = spaces;
	spaces.count = 0;
	return 0;
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

/*
 * Starts one: in the namespaces that we hold, if there are such. Whatever keeps it from entering
 * these may be over the next time, and VMs' devices are in there; so they are given up for new ones
 * only when they are known to be empty.
 */
static int start(struct net_remote *net, enum net_start_kind kind, struct err *err)
{
	int r;

	reap(net);
	r = net_holder_gone(net->socket_path, err);
	if (r == 0)
		r = net_holder_start(&net->start, &net->holder, err);
	if (r < 0 && net->spaces.count > 0 && kind == NET_START_EMPTY) {
		priv_net_spaces_done(&net->spaces);
		*err = ERR_INIT;
		r = net_holder_start(&net->start, &net->holder, err);
	}
	return r < 0 ? r : dial(net, &net->fd, err);
}

/* 1 when there is one to talk to, which may have other settings; 0 when there is none. */
static int find(struct net_remote *net, enum net_start_kind kind, struct err *err)
{
	int r;

	r = dial(net, &net->fd, err);
	if (r == 0)
		return 1;
	if (err->kind != ERR_NOT_FOUND)
		return r;
	*err = ERR_INIT;
	if (kind == NET_START_AGAIN && net->spaces.count == 0)
		return 0;
	r = start(net, kind, err);
	return r < 0 ? r : 1;
}

/* 1 when it has greeted us, 0 when there is none; ERR_BAD_STATE when it is of other settings. */
static int meet(struct net_remote *net, enum net_start_kind kind, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + REAP_MS * NSEC_PER_MSEC;
	bool is_broken;
	int r;

	for (;;) {
		r = find(net, kind, err);
		if (r <= 0)
			return r;
		r = greet(net, &is_broken, err);
		if (r == 0)
			return 1;
		if (!is_broken || r == -ETIMEDOUT || clock_now_ns() >= deadline_ns)
			return r;
		/* One that is about to end listens a little longer than it answers. */
		net_remote_disconnect(net);
		*err = ERR_INIT;
		IGNORE_RESULT(cancel_poll(NULL, -1, 0, clock_now_ns() + MEET_STEP_NS));
	}
}

/* As net_remote_connect(), of one that need not be silent. */
static int connect_anew(struct net_remote *net, enum net_start_kind kind, struct err *err)
{
	int r;

	r = meet(net, kind, err);
	if (r < 0 && err->kind == ERR_BAD_STATE && !net->only_looks) {
		/* Of an earlier configuration, or an earlier version. */
		*err = ERR_INIT;
		r = dismiss(net, err);
		if (r == 0)
			r = meet(net, kind, err);
	}
	if (r < 0 && net->only_looks && err->kind == ERR_BAD_STATE) {
		net_remote_disconnect(net);
		*err = ERR_INIT;
		return 0;
	}
	if (r > 0) {
		r = get_spaces(net, err);
		if (r == 0 && !net->only_looks)
			r = net_remote_tell_host(net, err);
		r = r < 0 ? r : 1;
	}
	return r;
}

int net_remote_connect(struct net_remote *net, enum net_start_kind kind, struct err *err)
{
	int r;

	if (net->fd >= 0)
		return 1;
	if (is_silent(net) && clock_now_ns() < net->ask_ns)
		return hangs(err);
	r = connect_anew(net, kind, err);
	if (r < 0)
		return net_remote_failed(net, r, err);
	note_silence(net, false);
	if (r > 0)
		open_changes(net);
	return r;
}

int net_remote_end(struct net_remote *net, struct err *err)
{
	int r;

	/* No reason to start one. */
	priv_net_spaces_done(&net->spaces);
	r = net_remote_connect(net, NET_START_AGAIN, err);
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

static enum net_start_kind start_kind_of(const struct net_request *request)
{
	if (request->op != NET_OP_RAISE)
		return NET_START_AGAIN;
	return request->guest_count == 0 ? NET_START_EMPTY : NET_START_NEW;
}

/* Asks, and once more when the one who was asked has died. *ret: whether anybody is there. */
static int ask_locked(struct net_remote *net, const struct net_request *request,
		      struct net_reply *reply, struct buf *ret_records, enum presence *ret,
		      struct err *err)
{
	for (int attempt = 0;; attempt++) {
		struct answer answer = { .records = ret_records };
		int r;

		r = net_remote_connect(net, start_kind_of(request), err);
		*ret = r > 0 ? THERE : NOT_THERE;
		if (r <= 0)
			return r;
		r = exchange(net->fd, request, &answer, err);
		*reply = answer.reply;
		if (r < 0 && was_done(request, attempt, err))
			r = 0;
		if (r == 0 || !answer.is_broken)
			return r;
		r = net_remote_failed(net, r, err);
		if (attempt > 0 || is_silent(net))
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
