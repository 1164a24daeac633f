/*
 * Moves bytes both ways between standard input and output and a stream, for ssh's ProxyCommand: end
 * of input is passed on as a half-close, and the end of the stream is the end. Memory is constant,
 * and neither side is read faster than the other takes it.
 */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

struct relay_ends {
	int in_fd;  /* borrowed, as all; what is there is made non-blocking while this lasts */
	int out_fd; /* when nobody reads it any more, that is the end, too */
	int stream_fd;
	const struct cancel *cancel;
};

/* ERR_CANCELLED, or ERR_SYSTEM when one of them breaks. */
int relay_run(const struct relay_ends *ends, struct err *err) MUST_CHECK;
