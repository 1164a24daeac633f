/* The request, arguments and environment of a command, and the agent's answer to them. */
#include "guest/exec.h"

#include <errno.h>

#include "base/json.h"
#include "base/text.h"
#include "guest/io.h"
#include "wire/protocol.h"

static int put_text(json_t *request, const char *key, const char *text, struct err *err)
{
	if (!text)
		return 0;
	if (!text_is_utf8(span_str(text)))
		return err_set(err, ERR_INVALID, "%s '%s' is no UTF-8", key, text);
	json_put_str(request, key, text);
	return 0;
}

static int add_request(const struct guest_exec *exec, struct buf *out, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	int r;

	json_put_str(request, "op", wire_op_name(WIRE_OP_EXEC));
	r = put_text(request, "cwd", exec->cwd, err);
	if (r == 0)
		r = put_text(request, "user", exec->user, err);
	if (r < 0)
		return r;
	if (exec->mise)
		json_put_bool(request, "mise", true);
	if (exec->tty) {
		json_put_bool(request, "tty", true);
		if (exec->rows > 0 && exec->cols > 0) {
			json_put_u64(request, "rows", exec->rows);
			json_put_u64(request, "cols", exec->cols);
		}
	}
	json_write(request, out);
	buf_add_byte(out, '\n');
	if (out->len > WIRE_REQUEST_MAX)
		return err_set(err, ERR_LIMIT, "folder and user are over %d bytes",
			       WIRE_REQUEST_MAX);
	return 0;
}

/* Counts as the agent will, so that nothing too long is sent at all. */
static int add_strings(char *const *strings, enum wire_type type, size_t *bytes, size_t *count,
		       struct buf *out)
{
	for (; strings && *strings; strings++) {
		const struct span text = span_str(*strings);

		if (++*count > WIRE_ARGS_COUNT_MAX || text.len + 1 > WIRE_ARGS_BYTES_MAX - *bytes)
			return -E2BIG;
		*bytes += text.len + 1;
		wire_add_string(out, type, text);
	}
	return 0;
}

static int add_args(const struct guest_exec *exec, struct buf *out, struct err *err)
{
	size_t bytes = 0;
	size_t count = 0;
	int r;

	if (exec->argv && (!exec->argv[0] || exec->argv[0][0] == '\0'))
		return err_set(err, ERR_INVALID, "no program is given");
	r = add_strings(exec->argv, WIRE_ARG, &bytes, &count, out);
	if (r == 0)
		r = add_strings(exec->env, WIRE_ENV, &bytes, &count, out);
	if (r < 0)
		return err_set(err, ERR_LIMIT,
			       "arguments and environment are over %d bytes or %d strings",
			       WIRE_ARGS_BYTES_MAX, WIRE_ARGS_COUNT_MAX);
	wire_add_frame(out, WIRE_START, span_of("", 0));
	return 0;
}

int guest_exec_start(int fd, const struct guest_exec *exec, const struct cancel *cancel,
		     uint64_t deadline_ns, uint32_t *ret_pid, struct err *err)
{
	const struct guest_io io = { .fd = fd, .cancel = cancel, .deadline_ns = deadline_ns };
	AUTO_BUF out = BUF_INIT;
	AUTO_JSON *reply = NULL;
	uint64_t pid;
	int r;

	r = add_request(exec, &out, err);
	if (r == 0)
		r = add_args(exec, &out, err);
	if (r < 0)
		return r;
	r = guest_io_send(&io, buf_span(&out), err);
	/* An agent that closed early may have said why. */
	if (r < 0 && r != -EPIPE)
		return r;
	r = guest_recv_reply(&io, &reply, err);
	if (r < 0)
		return r;
	pid = json_get_u64(reply, "pid");
	if (json_object_size(reply) != 2 || pid == 0 || pid > INT32_MAX)
		return err_set(err, ERR_PROTOCOL, "wrong answer from the agent: no process number");
	if (ret_pid)
		*ret_pid = (uint32_t)pid;
	return 0;
}
