#include "agent/serve.h"

#include <string.h>
#include <unistd.h>

#include "agent/answers.h"
#include "agent/conn.h"
#include "agent/exec.h"
#include "agent/files.h"
#include "agent/forward.h"
#include "agent/freeze.h"
#include "agent/grow.h"
#include "agent/power.h"
#include "agent/proc_net.h"
#include "agent/quiet.h"
#include "agent/renew.h"
#include "agent/request.h"
#include "agent/ssh.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "wire/protocol.h"

typedef int (*serve_function)(struct conn *conn, const struct request *request, struct err *err);

static const serve_function operations[WIRE_OP_COUNT] = {
	[WIRE_OP_EXEC] = exec_serve,	     [WIRE_OP_PUT] = put_serve,
	[WIRE_OP_GET] = get_serve,	     [WIRE_OP_IDENTITY] = identity_serve,
	[WIRE_OP_SHUTDOWN] = shutdown_serve, [WIRE_OP_STATS] = stats_serve,
	[WIRE_OP_FORWARD] = forward_serve,   [WIRE_OP_PING] = ping_serve,
	[WIRE_OP_SSH] = ssh_serve,	     [WIRE_OP_LOOK] = look_serve,
	[WIRE_OP_QUIET] = quiet_serve,	     [WIRE_OP_FREEZE] = freeze_serve,
	[WIRE_OP_THAW] = thaw_serve,	     [WIRE_OP_GROW] = grow_serve,
};

struct http_answer {
	const char *status;
	const char *problem; /* NULL: the target's own answer */
};

static const struct http_answer http_answers[] = {
	[HTTP_HEALTH] = { "200 OK", NULL },
	[HTTP_PORTS] = { "200 OK", NULL },
	[HTTP_NOT_FOUND] = { "404 Not Found", "there is /healthz and /ports" },
	[HTTP_BAD_METHOD] = { "405 Method Not Allowed", "only GET is answered" },
};

/* The rest of the head says nothing that we need, but must be taken before an answer makes sense.
 */
static int read_http_head(struct conn *conn, uint64_t deadline_ns, struct err *err)
{
	while (!memmem(conn->input.ptr, conn->input.len, "\r\n\r\n", 4) &&
	       !memmem(conn->input.ptr, conn->input.len, "\n\n", 2)) {
		if (conn->input.len >= WIRE_HTTP_HEAD_MAX)
			return err_set(err, ERR_LIMIT, "the request's head is over %d bytes",
				       WIRE_HTTP_HEAD_MAX);

		const int r = conn_read_more(conn, deadline_ns, err);

		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, ERR_PROTOCOL, "the stream ended in the request's head");
	}
	return 0;
}

static int serve_http(struct conn *conn, enum http_target target, uint64_t deadline_ns,
		      struct err *err)
{
	AUTO_JSON *body = NULL;
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	int r = read_http_head(conn, deadline_ns, err);

	if (r < 0)
		return r;
	if (target == HTTP_HEALTH) {
		body = answer_health(conn->state);
	} else if (target == HTTP_PORTS) {
		body = proc_net_ports();
	} else {
		body = json_new_object();
		json_put_str(body, "error", http_answers[target].problem);
	}
	json_write(body, &text);
	buf_add_byte(&text, '\n');
	buf_addf(&answer,
		 "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
		 "Connection: close\r\n\r\n",
		 http_answers[target].status, text.len);
	buf_add(&answer, buf_span(&text));
	r = fd_write_all(conn->fd, buf_span(&answer));
	return r < 0 ? err_sys(err, r, "send the answer") : 0;
}

static int serve_line(struct conn *conn, size_t size, uint64_t deadline_ns, struct err *err)
{
	const struct span line = span_of(conn->input.ptr, size - 1);
	struct request request;
	enum http_target target;
	int r;

	if (request_parse_http(line, &target))
		return serve_http(conn, target, deadline_ns, err);
	if (line.len == 0 || line.ptr[0] != '{')
		return err_set(err, ERR_PROTOCOL,
			       "the first line is neither an HTTP request nor a JSON object");
	r = request_parse(line, &request, err);
	if (r < 0)
		return r;
	buf_consume(&conn->input, size);
	r = operations[request.op](conn, &request, err);
	request_done(&request);
	return r;
}

void serve_connection(int fd, struct agent_state *state)
{
	const uint64_t deadline_ns = clock_now_ns() + SERVE_FIRST_LINE_MS * NSEC_PER_MSEC;
	struct conn conn = { .fd = fd, .state = state, .input = BUF_INIT };
	struct err err = ERR_INIT;
	size_t size = 0;
	int r = conn_read_line(&conn, WIRE_REQUEST_MAX, deadline_ns, &size, &err);

	if (r == 0)
		r = serve_line(&conn, size, deadline_ns, &err);
	if (r < 0)
		conn_fail(&conn, &err);
	conn_finish(&conn);
	buf_done(&conn.input);
}
