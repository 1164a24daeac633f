/*
 * Inside src/image: a worker process as its parent sees it. It is given descriptors and a line of
 * orders; it sends lines of progress and at last its answer, which are read as untrusted input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/spawn.h"
#include "image/worker_message.h"

/* When a worker is ended. In messages each has the key of [limits] that sets it. */
struct worker_limits {
	uint64_t memory_bytes; /* of address space; 0: WORKER_MEMORY_BYTES_DEFAULT */
	uint64_t cpu_seconds;  /* of processor time; 0: WORKER_CPU_SECONDS_DEFAULT */
	bool is_fixed;	       /* not the configuration's */
};

#define WORKER_MEMORY_BYTES_DEFAULT (4ULL << 30) /* EXT4_ENTRIES_DEFAULT needs a fourth */
#define WORKER_CPU_SECONDS_DEFAULT  3600U

struct worker_process {
	const char *kind; /* borrowed: "image", "unpack", "inspect" */
	struct process process;
	int control_fd;	    /* owned */
	struct buf pending; /* of a line that is not whole yet */
	struct buf answer;  /* empty while there is none */
	struct worker_limits limits;
	struct worker_progress progress; /* what it last reported */
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
	struct span orders; /* a line */
	struct worker_limits limits;
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
 * Reads to the end and reaps. Then `answer` is whole. ERR_LIMIT when it ran out of memory or
 * processor time, ERR_PROTOCOL when it died of something else instead of answering, ERR_TIMEOUT
 * when it does neither until the deadline.
 */
int worker_process_finish(struct worker_process *worker, const struct cancel *cancel,
			  uint64_t deadline_ns, struct err *err) MUST_CHECK;

/* The error in its answer (`r` < 0): that memory is gone means that a limit was reached. */
int worker_process_failed(const struct worker_process *worker, int r, struct err *err) MUST_CHECK;

/* The error for one that has done nothing for so long. */
int worker_process_stalled(const struct worker_process *worker, uint64_t stall_ms, struct err *err);

/* Kills and reaps if it still runs. For CLEANUP(). */
void worker_process_done(struct worker_process *worker);
