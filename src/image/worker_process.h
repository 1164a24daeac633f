/*
 * Inside src/image: a worker process as its parent sees it. It is given descriptors and a line of
 * orders; it sends lines of progress and at last its answer, which are read as untrusted input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/spawn.h"

struct worker_process {
	const char *kind; /* borrowed: "image", "unpack", "inspect" */
	struct process process;
	int control_fd;	    /* owned */
	struct buf pending; /* of a line that is not whole yet */
	struct buf answer;  /* empty while there is none */
	uint64_t done;	    /* what it last reported */
};

#define WORKER_PROCESS_INIT                                        \
	((struct worker_process){ .process = PROCESS_INIT,         \
				  .control_fd = -1,                \
				  .pending = { .ptr = buf_empty }, \
				  .answer = { .ptr = buf_empty } })

/* All borrowed. */
struct worker_start {
	const char *program; /* NULL: the running one */
	const char *kind;
	const struct spawn_fd *fds;
	size_t fd_count;
	struct span orders;	  /* a line */
	uint64_t memory_bytes;	  /* of address space; 0: IMAGE_WORKER_MEMORY_BYTES */
	unsigned int cpu_seconds; /* 0: IMAGE_WORKER_CPU_SECONDS */
};

/*
 * Starts the program as "--worker KIND" with these descriptors and the control socket, and with
 * limits on memory, processor time and file size.
 */
int worker_process_start(const struct worker_start *start, struct worker_process *ret,
			 struct err *err) MUST_CHECK;

/*
 * Reads once what it has sent; may wait. 1 when something came, 0 at the end, -errno. -EPROTO when
 * it says too much.
 */
int worker_process_read(struct worker_process *worker) MUST_CHECK;

/*
 * Reads to the end and reaps. Then `answer` is whole. ERR_PROTOCOL when it died instead of
 * answering, ERR_TIMEOUT when it does neither until the deadline.
 */
int worker_process_finish(struct worker_process *worker, const struct cancel *cancel,
			  uint64_t deadline_ns, struct err *err) MUST_CHECK;

/* Kills and reaps if it still runs. For CLEANUP(). */
void worker_process_done(struct worker_process *worker);
