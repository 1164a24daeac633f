/*
 * Collects the PART, ARG and ENV frames of an exec request up to START, within WIRE_ARGS_BYTES_MAX
 * and WIRE_ARGS_COUNT_MAX.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "wire/frame.h"

struct wire_args {
	struct strv argv; /* owned */
	struct strv env;  /* owned; "NAME=VALUE" each */
	struct buf part;  /* owned: the beginning of a string whose end has not come */
	size_t bytes;	  /* so far, each string with its NUL */
	bool is_complete; /* START has come */
};

void wire_args_init(struct wire_args *args);
void wire_args_done(struct wire_args *args);

/*
 * Takes the next frame. ERR_LIMIT over a limit; ERR_INVALID for a NUL byte, an ENV without name or
 * '=', START without any ARG or after a PART; ERR_PROTOCOL for any other type, or after START.
 */
int wire_args_take(struct wire_args *args, const struct wire_frame *frame, struct err *err)
	MUST_CHECK;
