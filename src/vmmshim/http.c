#include "vmmshim/http.h"

#include <inttypes.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/parse.h"

#define FLUSH_TURNS_MAX 8

enum exchange_state { EXCHANGE_READING, EXCHANGE_WAITING, EXCHANGE_ANSWERED };

struct http_exchange {
	struct http *http;		   /* borrowed */
	struct MHD_Connection *connection; /* borrowed from the daemon */
	enum exchange_state state;
	char *method;		       /* owned */
	char *path;		       /* owned */
	struct buf body;	       /* of the request */
	struct MHD_Response *response; /* owned until it is queued */
	unsigned status;
	struct http_exchange *next;
	struct http_exchange *previous;
};

struct http {
	struct MHD_Daemon *daemon; /* owned */
	int epoll_fd;		   /* borrowed from the daemon */
	size_t body_max;
	http_request_fn on_request;
	void *context;
	struct http_exchange *exchanges; /* all of them */
	bool is_due; /* connections were resumed: MHD does not say so by itself */
};

static struct MHD_Response *make_response(const struct api_reply *reply)
{
	/* MHD copies, and frees its copy itself. */
	struct MHD_Response *response = MHD_create_response_from_buffer(
		reply->body.len, reply->body.ptr, MHD_RESPMEM_MUST_COPY);

	if (!response)
		return NULL;
	(void)MHD_add_response_header(response, "Server", "banger-vmm");
	if (reply->body.len > 0)
		(void)MHD_add_response_header(response, "Content-Type", "application/json");
	if (reply->is_deprecated)
		(void)MHD_add_response_header(response, "Deprecation", "true");
	return response;
}

/* An answer before the body was read: MHD closes the connection after it. */
static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *text)
{
	struct api_reply reply = { .body = BUF_INIT };
	struct MHD_Response *response;
	enum MHD_Result result;

	api_fault(&reply, status, text);
	response = make_response(&reply);
	buf_done(&reply.body);
	if (!response)
		return MHD_NO;
	(void)MHD_add_response_header(response, "Connection", "close");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

struct header_check {
	unsigned lengths;
	unsigned encodings;
	bool is_length_good;
	uint64_t length;
};

static enum MHD_Result check_header(void *context, enum MHD_ValueKind kind, const char *name,
				    const char *value)
{
	struct header_check *check = context;

	(void)kind;
	if (strcasecmp(name, "Content-Length") == 0) {
		check->lengths++;
		check->is_length_good = value && parse_u64_text(value, INT64_MAX, &check->length);
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		check->encodings++;
	}
	return MHD_YES;
}

/* The first call for a request: the headers are complete. */
static enum MHD_Result begin_request(struct http_exchange *exchange,
				     struct MHD_Connection *connection)
{
	struct header_check check = { .is_length_good = true };

	exchange->connection = connection;
	(void)MHD_get_connection_values(connection, MHD_HEADER_KIND, check_header, &check);
	if (check.encodings > 0)
		return refuse(connection, 400, "Transfer-Encoding is not supported.");
	if (check.lengths > 1 || !check.is_length_good)
		return refuse(connection, 400, "Invalid Content-Length header.");
	if (check.length > exchange->http->body_max) {
		char text[128];

		(void)snprintf(text, sizeof(text),
			       "Request payload with size %" PRIu64
			       " is larger than the limit of %zu allowed by server.",
			       check.length, exchange->http->body_max);
		return refuse(connection, 413, text);
	}
	return MHD_YES;
}

static struct http_exchange *exchange_new(struct http *http, const char *method, const char *path)
{
	struct http_exchange *exchange = mem_alloc(1, sizeof(*exchange));

	exchange->http = http;
	exchange->body = BUF_INIT;
	exchange->method = mem_strdup(method);
	exchange->path = mem_strdup(path);
	exchange->next = http->exchanges;
	if (exchange->next)
		exchange->next->previous = exchange;
	http->exchanges = exchange;
	return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
	if (exchange->previous)
		exchange->previous->next = exchange->next;
	else
		exchange->http->exchanges = exchange->next;
	if (exchange->next)
		exchange->next->previous = exchange->previous;
	if (exchange->response)
		MHD_destroy_response(exchange->response);
	buf_done(&exchange->body);
	mem_free(exchange->method);
	mem_free(exchange->path);
	mem_free(exchange);
}

static void hand_over(struct http_exchange *exchange)
{
	const struct api_request request = {
		.method = exchange->method,
		.path = exchange->path,
		.body = buf_span(&exchange->body),
	};
	struct http *http = exchange->http;

	exchange->state = EXCHANGE_WAITING;
	MHD_suspend_connection(exchange->connection);
	http->on_request(http->context, exchange, &request);
}

static enum MHD_Result queue_answer(struct http_exchange *exchange)
{
	struct MHD_Response *response = TAKE_PTR(exchange->response);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	result = MHD_queue_response(exchange->connection, exchange->status, response);
	MHD_destroy_response(response);
	return result;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are libmicrohttpd's */
static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *upload,
				 size_t *upload_size, void **request)
{
	struct http_exchange *exchange = *request;

	(void)version;
	if (!exchange) {
		exchange = exchange_new(context, method, url);
		*request = exchange;
		return begin_request(exchange, connection);
	}
	if (*upload_size > 0) {
		if (exchange->body.len + *upload_size > exchange->http->body_max)
			return MHD_NO;
		buf_add(&exchange->body, span_of(upload, *upload_size));
		*upload_size = 0;
		return MHD_YES;
	}
	switch (exchange->state) {
	case EXCHANGE_READING:
		hand_over(exchange);
		return MHD_YES;
	case EXCHANGE_WAITING:
		return MHD_YES;
	case EXCHANGE_ANSWERED:
		return queue_answer(exchange);
	}
	return MHD_NO;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode code)
{
	(void)context;
	(void)connection;
	(void)code;
	if (*request)
		exchange_free(*request);
	*request = NULL;
}

/* Paths are compared as they were sent: no %XX is turned into what it stands for. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
	(void)context;
	(void)connection;
	return strlen(text);
}

int http_new(int listen_fd, size_t body_max, http_request_fn on_request, void *context,
	     struct http **ret, struct err *err)
{
	CLEANUP(http_freep) struct http *http = mem_alloc(1, sizeof(*http));
	const union MHD_DaemonInfo *info;

	http->body_max = body_max;
	http->on_request = on_request;
	http->context = context;
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, http,
		MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
		http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEADER_MAX,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_END);
	if (!http->daemon)
		return err_set(err, ERR_SYSTEM, "start the HTTP server");
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(err, ERR_SYSTEM, "the HTTP server has no epoll descriptor");
	http->epoll_fd = info->epoll_fd;
	*ret = TAKE_PTR(http);
	return 0;
}

void http_free(struct http *http)
{
	struct api_reply reply = { .body = BUF_INIT };

	if (!http)
		return;
	api_fault(&reply, 400, "banger-vmm is ending.");
	for (struct http_exchange *exchange = http->exchanges; exchange;
	     exchange = exchange->next) {
		if (exchange->state == EXCHANGE_WAITING)
			http_answer(exchange, &reply);
	}
	buf_done(&reply.body);
	/* Answers that were given just now still go out. */
	for (int i = 0; http->daemon && http->exchanges && i < FLUSH_TURNS_MAX; i++)
		(void)MHD_run(http->daemon);
	if (http->daemon) {
		/* The listening socket is the caller's: MHD must not close it. */
		(void)MHD_quiesce_daemon(http->daemon);
		MHD_stop_daemon(http->daemon);
	}
	mem_free(http);
}

int http_poll_fd(const struct http *http)
{
	return http->epoll_fd;
}

int http_timeout_ms(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout = 0;

	if (http->is_due)
		return 0;
	if (MHD_get_timeout(http->daemon, &timeout) != MHD_YES)
		return -1;
	return timeout > INT_MAX ? INT_MAX : (int)timeout;
}

void http_run(struct http *http)
{
	http->is_due = false;
	(void)MHD_run(http->daemon);
}

bool http_is_deserted(const struct http_exchange *exchange)
{
	/* MHD does not look at one that waits. One that only sends no more is to be answered. */
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd poll_fd = { .fd = info ? info->connect_fd : -1 };

	return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

void http_answer(struct http_exchange *exchange, const struct api_reply *reply)
{
	exchange->response = make_response(reply);
	exchange->status = reply->status;
	exchange->state = EXCHANGE_ANSWERED;
	exchange->http->is_due = true;
	MHD_resume_connection(exchange->connection);
}
