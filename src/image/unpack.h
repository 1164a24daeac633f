/*
 * A layer's blob into a tar stream: `bangerd --worker unpack`, confined as worker.h says. Its
 * answer has the number of bytes that came out, and their digest.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "image/layers.h"
#include "image/worker_message.h"
#include "image/worker_process.h"

enum unpack_worker_fd {
	UNPACK_WORKER_BLOB = 3, /* a regular file; its offset is not moved */
	UNPACK_WORKER_TAR = 4,	/* a pipe */
};

/* What a pipe holds, as far as the system lets it: so far a worker runs ahead of its reader. */
#define UNPACK_PIPE_BYTES (1 << 20)

struct unpack_setup {
	const char *program; /* borrowed; NULL: the running one */
	int blob_fd;	     /* borrowed */
	struct worker_limits limits;
};

/* The worker's side; returns the exit status. */
int unpack_worker_main(void);

/*
 * Starts a worker (worker_process_finish() ends it) that writes into a new pipe; its other end,
 * *ret_tar_fd, is the caller's.
 */
int unpack_worker_start(const struct unpack_setup *setup, const struct unpack_orders *orders,
			struct worker_process *ret, int *ret_tar_fd, struct err *err) MUST_CHECK;
