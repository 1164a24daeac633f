/* The asking half of the little HTTP. */
#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/agent.h"
#include "guest/connect.h"
#include "guest/http.h"
#include "guest/io.h"
#include "wire/protocol.h"

#define ANSWER_CHUNK 4096

/* Receives an answer until it is complete by its own length or by the end of the stream. */
static int recv_answer(const struct guest_io *io, struct buf *answer, struct err *err)
{
	struct span body;
	ssize_t n;
	int r;

	do {
		buf_reserve(answer, ANSWER_CHUNK);
		n = guest_io_recv(io, answer->ptr + answer->len, ANSWER_CHUNK, err);
		if (n < 0)
			return (int)n;
		buf_advance(answer, (size_t)n);
		r = guest_http_read(buf_span(answer), n == 0, &body, err);
	} while (r == 0);
	return r < 0 ? r : 0;
}

int guest_http_get(const struct guest_target *target, const char *path, const char *doing,
		   struct buf *answer, uint64_t *ret_us, struct err *err)
{
	struct guest_io io = { .cancel = target->cancel, .deadline_ns = target->deadline_ns };
	AUTO_FREE char *request = mem_printf("GET %s HTTP/1.0\r\n\r\n", path);
	AUTO_CLOSE int fd = -1;
	uint64_t asked_ns;
	int r;

	r = guest_connect(target->socket_path, WIRE_PORT, target->cancel, target->deadline_ns, &fd,
			  err);
	if (r < 0)
		return r;
	io.fd = fd;
	asked_ns = clock_now_ns();
	r = guest_io_send(&io, span_str(request), err);
	if (r == 0 || r == -EPIPE)
		r = recv_answer(&io, answer, err);
	if (r < 0)
		return err_context(err, r, "%s", doing);
	if (ret_us)
		*ret_us = (clock_now_ns() - asked_ns) / 1000;
	return 0;
}
