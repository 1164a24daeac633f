/*
 * JSON-RPC 2.0 frames as values: requests from bytes, and requests, replies, errors and progress to
 * bytes. Pure: no I/O. Each frame that is written ends in a newline and contains no other.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"

#define RPC_ID_BYTES_MAX     256 /* of a string id: it is echoed with every progress line */
#define RPC_METHOD_BYTES_MAX 128 /* of a method's name */
/*
 * Values in one frame, counted before the parser runs: a value of two bytes ("1,") costs the parser
 * a hundred times that, and 256 clients may send 1 MiB each.
 */
#define RPC_VALUES_MAX 16384
/*
 * 16 MiB. A reply may be longer than a request: its size is bounded by our own tables (10 000 VMs
 * of about a kilobyte), not by a peer's whim.
 */
#define RPC_REPLY_BYTES_MAX 16777216

enum rpc_code {
	RPC_CODE_NONE = 0,
	RPC_CODE_PARSE = -32700,
	RPC_CODE_INVALID_REQUEST = -32600,
	RPC_CODE_UNKNOWN_METHOD = -32601,
	RPC_CODE_BAD_PARAMS = -32602,
	RPC_CODE_KIND_BASE = -32000, /* less the err_kind, for the other kinds */
};

struct rpc_request {
	json_t *id;	/* owned: a string or an integer */
	char *method;	/* owned */
	json_t *params; /* owned: an object; an empty one when the request had none */
};

#define RPC_REQUEST_INIT ((struct rpc_request){ .id = NULL })

void rpc_request_done(struct rpc_request *request);

/*
 * Reads one frame without its newline. On failure `err` says what is wrong, *ret_code is the
 * JSON-RPC code, and ret->id is the id when it could be made out (else NULL), for the answer;
 * nothing else of `ret` is set. The caller releases `ret` in both cases.
 */
int rpc_request_parse(struct span frame, struct rpc_request *ret, int *ret_code, struct err *err)
	MUST_CHECK;

/* The writers borrow what they are given. `params` may be NULL. */
void rpc_request_write(json_t *id, const char *method, json_t *params, struct buf *out);

/* `id` may be NULL (written as null). */
void rpc_reply_write(json_t *id, json_t *result, struct buf *out);

/* The same with a result that is JSON text already. */
void rpc_reply_write_text(json_t *id, struct span result, struct buf *out);
void rpc_error_write(json_t *id, int code, const struct err *err, struct buf *out);
void rpc_progress_write(json_t *id, const struct progress_event *event, uint64_t elapsed_ms,
			struct buf *out);

/* The JSON-RPC code that a handler's error travels under. */
int rpc_code_of(const struct err *err);

/* Fills `err` from the "error" member of a reply, and returns its negative number. */
int rpc_error_read(const json_t *error, struct err *err) MUST_CHECK;
