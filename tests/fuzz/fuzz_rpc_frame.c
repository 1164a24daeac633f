/*
 * RPC request frames. Property: what is accepted is written again as a line that is read back as an
 * equal request; what is refused has a code, a kind and a message, and no half of a request.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "fuzz.h"
#include "rpc/frame.h"

static void check_refusal(const struct rpc_request *request, int r, int code, const struct err *err)
{
	if (r >= 0 || code == RPC_CODE_NONE || err->kind == ERR_NONE || err->message[0] == '\0' ||
	    request->method || request->params)
		abort();
}

static void check_round_trip(const struct rpc_request *request)
{
	CLEANUP(rpc_request_done) struct rpc_request again = RPC_REQUEST_INIT;
	AUTO_BUF line = BUF_INIT;
	struct err err = ERR_INIT;
	int code;

	rpc_request_write(request->id, request->method, request->params, &line);
	if (memchr(line.ptr, '\n', line.len) != line.ptr + line.len - 1)
		abort();
	/* Numbers may become longer when they are written: then it may be over the limit. */
	if (line.len - 1 > LIMIT_RPC_FRAME_BYTES)
		return;
	if (rpc_request_parse(span_of(line.ptr, line.len - 1), &again, &code, &err) < 0 ||
	    !json_equal(request->id, again.id) || !json_equal(request->params, again.params) ||
	    !str_eq(request->method, again.method))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
	struct err err = ERR_INIT;
	int code = RPC_CODE_NONE;
	const int r = rpc_request_parse(span_of(data, size), &request, &code, &err);

	if (r == 0)
		check_round_trip(&request);
	else
		check_refusal(&request, r, code, &err);
	return 0;
}
