/* Names and limits of the agent protocol that both ends share; docs/agent-protocol.md is the
 * description. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define WIRE_PORT	    1024    /* the agent's vsock port, and its port in the mux */
#define WIRE_PROTOCOL	    1	    /* version of this protocol, in /healthz */
#define WIRE_REQUEST_MAX    65536   /* the request line, with its newline */
#define WIRE_REPLY_MAX	    262144  /* the reply line, with its newline */
#define WIRE_HTTP_HEAD_MAX  8192    /* a GET request's or reply's head, with its empty line */
#define WIRE_HTTP_BODY_MAX  1048576 /* a reply's body */
#define WIRE_ARGS_BYTES_MAX 2097152 /* argv and env together, each string with its NUL */
#define WIRE_ARGS_COUNT_MAX 16384   /* strings of argv and env together */
#define WIRE_MESSAGE_MAX    4096    /* text of an ERROR frame or of error.message */
#define WIRE_STDIN_WINDOW   131072  /* STDIN bytes that the host may be ahead of the command */

#define WIRE_HTTP_HEALTH "/healthz"
#define WIRE_HTTP_PORTS	 "/ports"

enum wire_op {
	WIRE_OP_EXEC,
	WIRE_OP_PUT,
	WIRE_OP_GET,
	WIRE_OP_IDENTITY,
	WIRE_OP_SHUTDOWN,
	WIRE_OP_STATS,
	WIRE_OP_FORWARD,
	WIRE_OP_PING,
	WIRE_OP_SSH,
	WIRE_OP_LOOK,
	WIRE_OP_QUIET,
	WIRE_OP_FREEZE,
	WIRE_OP_THAW,
	WIRE_OP_GROW,
	WIRE_OP_COUNT,
};

/* "exec", "put" and so on. */
const char *wire_op_name(enum wire_op op);
bool wire_op_from_name(const char *name, enum wire_op *ret) MUST_CHECK;
