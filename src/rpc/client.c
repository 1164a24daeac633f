#include "rpc/client.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "rpc/frame.h"

#define READ_BYTES	   65536
#define CONNECT_TIMEOUT_MS 5000
#define CONNECT_PAUSE_NS   (5 * NSEC_PER_MSEC)

/* One call in progress. */
struct call {
	struct rpc_client *client;
	const char *method; /* NULL: there is none */
	json_int_t id;
	const struct progress *progress;
	const struct cancel *cancel;
	uint64_t deadline_ns;
	int *ret_fd;
};

struct rpc_client {
	int fd; /* owned; -1 once the connection is of no more use */
	json_int_t last_id;
	struct buf in;
	size_t in_scanned; /* bytes of `in` known to hold no newline */
	int received_fd;   /* owned: came with the frame that is being read */
	struct call begun; /* by rpc_begin() */
};

/* --- connecting ------------------------------------------------------------------------------- */

/*
 * A stopped daemon with a full backlog would hold a blocking connect() for ever, and a Unix
 * socket's non-blocking one has nothing to poll for: hence the pauses, only while the backlog is
 * full.
 */
static int connect_until(const char *path, uint64_t deadline_ns, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const size_t len = strlen(path);
	int r;

	if (len >= sizeof(address.sun_path))
		return err_set(err, ERR_LIMIT, "socket path '%s' is longer than %zu bytes", path,
			       sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, len + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, -errno, "make a socket");

	while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		if (r == -ENOENT || r == -ENOTDIR || r == -ECONNREFUSED || r == -ENOTSOCK) {
			(void)err_set(err, ERR_NOT_FOUND, "no daemon listens on '%s'", path);
			return r;
		}
		if (r != -EAGAIN && r != -EINTR)
			return err_sys(err, r, "connect to '%s'", path);
		if (clock_now_ns() >= deadline_ns)
			return err_set(err, ERR_TIMEOUT,
				       "the daemon on '%s' does not take connections", path);
		const struct timespec pause = { .tv_nsec = CONNECT_PAUSE_NS };

		(void)nanosleep(&pause, NULL);
	}

	r = fd_set_nonblocking(fd, false);
	if (r < 0)
		return err_sys(err, r, "connect to '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

struct rpc_client *rpc_client_of(int fd)
{
	struct rpc_client *client = mem_alloc(1, sizeof(*client));

	client->fd = fd;
	client->in = BUF_INIT;
	client->received_fd = -1;
	return client;
}

int rpc_connect(const char *path, struct rpc_client **ret, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + CONNECT_TIMEOUT_MS * NSEC_PER_MSEC;
	int fd = -1, r;

	r = connect_until(path, deadline_ns, &fd, err);
	if (r < 0)
		return r;
	*ret = rpc_client_of(fd);
	return 0;
}

void rpc_client_close(struct rpc_client *client)
{
	fd_closep(&client->fd);
	fd_closep(&client->received_fd);
	client->begun.method = NULL;
}

void rpc_client_free(struct rpc_client *client)
{
	if (!client)
		return;

	rpc_client_close(client);
	buf_done(&client->in);
	mem_free(client);
}

int rpc_client_fd(const struct rpc_client *client)
{
	return client->fd;
}

/* --- one call --------------------------------------------------------------------------------- */

static int fail_wait(const struct call *call, int r, struct err *err)
{
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "'%s' was cancelled", call->method);
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "the daemon did not answer '%s' in time",
			       call->method);
	if (r == -EPROTO)
		return err_set(err, ERR_PROTOCOL,
			       "the daemon sent descriptors that nobody expects");
	return err_sys(err, r, "wait for the daemon to answer '%s'", call->method);
}

static int send_line(const struct call *call, struct span line, struct err *err)
{
	const int fd = call->client->fd;

	while (line.len > 0) {
		const ssize_t n = send(fd, line.ptr, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n > 0) {
			line = span_skip(line, (size_t)n);
			continue;
		}
		/* The daemon may have said why before it closed: reading will tell. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(err, -errno, "send '%s' to the daemon", call->method);
		r = cancel_poll(call->cancel, fd, POLLOUT, call->deadline_ns);
		if (r < 0)
			return fail_wait(call, r, err);
	}
	return 0;
}

/* Reads what has come; blocks when nothing has. */
static int receive(const struct call *call, struct err *err)
{
	struct rpc_client *client = call->client;
	AUTO_CLOSE int passed_fd = -1;
	ssize_t n;

	if (client->in.len > RPC_REPLY_BYTES_MAX)
		return err_set(err, ERR_PROTOCOL, "the daemon's answer is over %d bytes",
			       RPC_REPLY_BYTES_MAX);

	buf_reserve(&client->in, READ_BYTES);
	n = unix_recv_fd(client->fd, client->in.ptr + client->in.len, READ_BYTES, &passed_fd);
	if (n < 0 && n != -ECONNRESET)
		return fail_wait(call, (int)n, err);
	/* Reset: it had not read all that we sent. */
	if (n <= 0) {
		const int r = err_set(err, ERR_SYSTEM,
				      "the daemon went away before it answered '%s'", call->method);

		err->errnum = ECONNRESET;
		err_hint(err, "its log says why: banger daemon logs");
		return r;
	}
	buf_advance(&client->in, (size_t)n);
	if (passed_fd >= 0)
		fd_assign(&client->received_fd, TAKE_FD(passed_fd));
	return 0;
}

/* The next line as JSON, when it is complete: 1, or 0 when more must be received. */
static int next_frame(const struct call *call, json_t **ret, struct err *err)
{
	struct rpc_client *client = call->client;
	struct buf *in = &client->in;
	const char *newline;
	size_t len;
	int r;

	newline = memchr(in->ptr + client->in_scanned, '\n', in->len - client->in_scanned);
	if (!newline) {
		client->in_scanned = in->len;
		return 0;
	}

	len = (size_t)(newline - in->ptr);
	r = json_read(span_of(in->ptr, len), ret, err);
	buf_consume(in, len + 1);
	client->in_scanned = 0;
	return r < 0 ? err_context(err, r, "the daemon's answer to '%s'", call->method) : 1;
}

static bool is_for(const struct call *call, const json_t *id)
{
	return json_is_integer(id) && json_integer_value(id) == call->id;
}

static void pass_progress(const struct call *call, const json_t *frame)
{
	const json_t *params = json_object_get(frame, "params");
	const char *stage = json_get_str(params, "stage");

	if (stage && is_for(call, json_object_get(params, "id")))
		progress_report(call->progress, stage, json_get_str(params, "detail"),
				json_get_u64(params, "done"), json_get_u64(params, "total"));
}

/*
 * Takes frames up to the reply: 0 when more must be received, 1 when the reply is there. With
 * *ret_failure 0, *ret_result is the result; else `err` is the handler's error, and the connection
 * is as good as before. Negative: the connection is lost.
 */
static int take_reply(const struct call *call, json_t **ret_result, int *ret_failure,
		      struct err *err)
{
	for (;;) {
		AUTO_JSON *frame = NULL;
		const json_t *error, *id;
		json_t *result;
		int r;

		r = next_frame(call, &frame, err);
		if (r <= 0)
			return r;
		if (str_eq(json_get_str(frame, "method"), "progress")) {
			pass_progress(call, frame);
			continue;
		}

		id = json_object_get(frame, "id");
		error = json_object_get(frame, "error");
		result = json_object_get(frame, "result");
		if (json_is_object(error) && json_is_null(id))
			return rpc_error_read(error, err); /* about the connection itself */
		if (!is_for(call, id) || json_is_object(error) == json_is_object(result))
			return err_set(err, ERR_PROTOCOL,
				       "the daemon's answer to '%s' is no JSON-RPC reply to it",
				       call->method);
		if (error)
			*ret_failure = rpc_error_read(error, err);
		else
			*ret_result = json_incref(result);
		return 1;
	}
}

/* Hands the descriptor over when the reply announced one; what nobody takes is closed. */
static int take_descriptor(const struct call *call, json_t *result, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = TAKE_FD(call->client->received_fd);

	if (json_get_bool(result, "descriptor") != (fd >= 0))
		return err_set(err, ERR_PROTOCOL,
			       "the daemon's answer to '%s' %s a descriptor that it %s",
			       call->method, fd >= 0 ? "carries" : "lacks",
			       fd >= 0 ? "does not announce" : "announces");
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The outcome of a call whose reply may have come: 1 with *ret, 0 when it has not, or negative. */
static int finish(struct call *call, json_t **ret, struct err *err)
{
	AUTO_JSON *result = NULL;
	int failure = 0;
	int r;

	r = take_reply(call, &result, &failure, err);
	if (r == 0)
		return 0;
	if (r > 0 && failure < 0) {
		call->method = NULL;
		return failure;
	}
	if (r > 0)
		r = take_descriptor(call, result, call->ret_fd, err);
	call->method = NULL;
	if (r < 0) {
		rpc_client_close(call->client);
		return r;
	}
	*ret = TAKE_PTR(result);
	return 1;
}

int rpc_begin(struct rpc_client *client, const char *method, json_t *params,
	      const struct rpc_options *options, struct err *err)
{
	static const struct rpc_options no_options = { .timeout_ms = 0 };
	AUTO_JSON *given = params;
	AUTO_JSON *id = NULL;
	AUTO_BUF line = BUF_INIT;
	struct call *call = &client->begun;
	int r;

	if (!options)
		options = &no_options;
	if (client->fd < 0)
		return err_set(err, ERR_BAD_STATE, "the connection to the daemon is closed");
	if (call->method)
		return err_set(err, ERR_BUSY, "the connection waits for the answer to '%s'",
			       call->method);

	*call = (struct call){
		.client = client,
		.method = method,
		.id = ++client->last_id,
		.progress = options->progress,
		.cancel = options->cancel,
		.deadline_ns = options->timeout_ms > 0
				       ? clock_now_ns() + options->timeout_ms * NSEC_PER_MSEC
				       : UINT64_MAX,
		.ret_fd = options->ret_fd,
	};
	id = json_integer(call->id);
	rpc_request_write(id, method, given, &line);
	if (line.len - 1 > LIMIT_RPC_FRAME_BYTES) {
		call->method = NULL;
		return err_set(err, ERR_LIMIT, "the request '%s' is over %d bytes", method,
			       LIMIT_RPC_FRAME_BYTES);
	}
	r = send_line(call, buf_span(&line), err);
	if (r < 0)
		rpc_client_close(client);
	return r;
}

int rpc_step(struct rpc_client *client, json_t **ret, struct err *err)
{
	struct call *call = &client->begun;
	struct pollfd ready = { .fd = client->fd, .events = POLLIN };
	int r;

	if (!call->method)
		return err_set(err, ERR_BAD_STATE, "no call was begun");
	while (poll(&ready, 1, 0) == 1) {
		r = receive(call, err);
		if (r < 0) {
			rpc_client_close(client);
			return r;
		}
		r = finish(call, ret, err);
		if (r != 0)
			return r;
	}
	return 0;
}

int rpc_call(struct rpc_client *client, const char *method, json_t *params,
	     const struct rpc_options *options, json_t **ret, struct err *err)
{
	struct call *call = &client->begun;
	int r;

	r = rpc_begin(client, method, params, options, err);
	if (r < 0)
		return r;
	do {
		r = cancel_poll(call->cancel, client->fd, POLLIN, call->deadline_ns);
		if (r < 0) {
			r = fail_wait(call, r, err);
			rpc_client_close(client);
			return r;
		}
		r = rpc_step(client, ret, err);
	} while (r == 0);
	return r < 0 ? r : 0;
}

/* --- probing ---------------------------------------------------------------------------------- */

static int probe_ping(int fd, uint64_t deadline_ns, enum rpc_presence *ret, json_t **ret_ping,
		      struct err *err)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = rpc_client_of(fd);
	struct rpc_options options = { .timeout_ms = 1 };
	const uint64_t now_ns = clock_now_ns();
	int r;

	if (deadline_ns > now_ns + NSEC_PER_MSEC)
		options.timeout_ms = (deadline_ns - now_ns) / NSEC_PER_MSEC;
	r = rpc_call(client, "ping", NULL, &options, ret_ping, err);
	if (r == 0) {
		*ret = RPC_ALIVE;
		return 0;
	}
	/* Somebody accepted, and did not answer or went away. */
	if (err->kind != ERR_TIMEOUT && err->errnum != ECONNRESET)
		return r;
	*ret = RPC_SILENT;
	*err = ERR_INIT;
	return 0;
}

static int probe_once(const char *path, uint64_t deadline_ns, enum rpc_presence *ret,
		      json_t **ret_ping, struct err *err)
{
	int fd = -1, r;

	r = connect_until(path, deadline_ns, &fd, err);
	if (r == 0)
		return probe_ping(fd, deadline_ns, ret, ret_ping, err);
	if (err->kind != ERR_NOT_FOUND && err->kind != ERR_TIMEOUT)
		return r;
	*ret = err->kind == ERR_TIMEOUT	       ? RPC_SILENT
	       : r == -ENOENT || r == -ENOTDIR ? RPC_ABSENT
					       : RPC_STALE;
	*err = ERR_INIT;
	return 0;
}

int rpc_probe(const char *path, uint64_t timeout_ms, enum rpc_presence *ret, json_t **ret_ping,
	      struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	const struct timespec pause = { .tv_nsec = CONNECT_PAUSE_NS };
	AUTO_JSON *ping = NULL;
	int r;

	/* One that closes without an answer is ending, or dying: soon it is known to be gone. */
	while ((r = probe_once(path, deadline_ns, ret, &ping, err)) == 0 && *ret == RPC_SILENT &&
	       clock_now_ns() + CONNECT_PAUSE_NS < deadline_ns)
		(void)nanosleep(&pause, NULL);
	if (r == 0 && ret_ping)
		*ret_ping = TAKE_PTR(ping);
	return r;
}
