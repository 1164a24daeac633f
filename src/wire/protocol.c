#include "wire/protocol.h"

#include <stddef.h>

#include "base/text.h"

static const char *const op_names[WIRE_OP_COUNT] = {
	[WIRE_OP_EXEC] = "exec",	 [WIRE_OP_PUT] = "put",
	[WIRE_OP_GET] = "get",		 [WIRE_OP_IDENTITY] = "identity",
	[WIRE_OP_SHUTDOWN] = "shutdown", [WIRE_OP_STATS] = "stats",
	[WIRE_OP_FORWARD] = "forward",	 [WIRE_OP_PING] = "ping",
	[WIRE_OP_SSH] = "ssh",		 [WIRE_OP_LOOK] = "look",
	[WIRE_OP_QUIET] = "quiet",	 [WIRE_OP_FREEZE] = "freeze",
	[WIRE_OP_THAW] = "thaw",	 [WIRE_OP_GROW] = "grow",
};

const char *wire_op_name(enum wire_op op)
{
	return op_names[op];
}

bool wire_op_from_name(const char *name, enum wire_op *ret)
{
	for (size_t i = 0; i < WIRE_OP_COUNT; i++) {
		if (str_eq(op_names[i], name)) {
			*ret = (enum wire_op)i;
			return true;
		}
	}
	return false;
}
