/*
 * The processes that work on hostile bytes: `bangerd --worker KIND`.
 *
 *     image     tar streams into file systems
 *     unpack    a compressed layer into a tar stream (unpack.h)
 *     inspect   what is in a file system of the user's (inspect.h)
 *
 * Layers are hostile, and libarchive, libext2fs, zlib and libzstd are large, so they run where
 * nothing can be reached:
 *
 *   1. the parent gives it exactly the descriptors below, an empty environment, and limits on
 * memory, processor time and file size; it may not gain privileges, dumps no core and dies with the
 * parent;
 *   2. it reads its orders, one line of JSON, from the control socket; loads what libraries load
 * late;
 *   3. it becomes nobody, if it was root, and cannot be traced;
 *   4. it allows itself, by seccomp, only to read, write, seek and sync descriptors it has, to take
 * further ones from the control socket, to map memory, and to end. Opening a path fails; anything
 * else kills it;
 *   5. only then it reads the first byte of what it is for; the image worker either has one tar, or
 * is passed one descriptor for each layer, with a byte on the control socket, when it is time;
 *   6. on the way it may say how far it is, a line of JSON each time; it answers with one line of
 * JSON and ends.
 *
 * A worker that dies is one failed job. What it says is read as untrusted input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "ext4/ext4.h"
#include "image/image.h"
#include "image/worker_process.h"

/* Its descriptors, by number. Standard input, output and error are /dev/null. */
enum image_worker_fd {
	IMAGE_WORKER_TAR = 3, /* unless there are layers */
	IMAGE_WORKER_IMAGE = 4,
	IMAGE_WORKER_SEED = 5,
	IMAGE_WORKER_CONTROL = 6,
};

#define IMAGE_WORKER_LINE_MAX 4096 /* orders and answer */

/* The workers' main(); called by bangerd for "--worker KIND". Returns the exit status. */
int image_worker_main(int argc, char **argv);

/* --- the parent's side --- */

struct image_worker {
	struct worker_process process;
	uint64_t stall_ms;
	int tar_fd; /* owned: a socket that takes the tar; -1 when it has been closed */
};

#define IMAGE_WORKER_INIT ((struct image_worker){ .process = WORKER_PROCESS_INIT, .tar_fd = -1 })

/* What it writes, borrowed; and when it is ended. */
struct image_worker_setup {
	const char *program; /* NULL: the running one */
	int image_fd;
	int seed_fd; /* -1: no seed */
	struct image_limits limits;
};

/* The part of the limits that a worker process is started with. */
struct worker_limits image_worker_limits(const struct image_limits *limits);

/* What they give the writer. */
struct ext4_limits image_ext4_limits(const struct image_limits *limits);

/* For how long a worker may do nothing. */
uint64_t image_stall_ms(const struct image_limits *limits);

/*
 * Starts it for one tar. Of `options`, `label`, `limits` and `seed_fd` are not passed on: the setup
 * has them.
 */
int image_worker_start(const struct image_worker_setup *setup, const struct ext4_options *options,
		       struct image_worker *ret, struct err *err) MUST_CHECK;

/* The same for layers, which are then passed to it. */
int image_worker_start_layers(const struct image_worker_setup *setup,
			      const struct ext4_options *options, size_t layer_count,
			      struct image_worker *ret, struct err *err) MUST_CHECK;

/* Passes the tar of the next layer; `tar_fd` is borrowed. -EPIPE when it has stopped listening. */
int image_worker_pass(struct image_worker *worker, int tar_fd) MUST_CHECK;

/*
 * Sends a piece of the tar. When the worker has stopped listening this is -EPIPE, and
 * image_worker_finish() tells why; -ETIMEDOUT when it hangs.
 */
int image_worker_send(struct image_worker *worker, const void *bytes, size_t size,
		      const struct cancel *cancel) MUST_CHECK;

/* The error for one that hangs. */
int image_worker_stalled(const struct image_worker *worker, struct err *err);

/* Ends the tar, waits for the answer and reaps. Errors as those of worker_process_finish(). */
int image_worker_finish(struct image_worker *worker, const struct cancel *cancel,
			struct ext4_summary *ret, struct err *err) MUST_CHECK;

/* Kills and reaps if it still runs. For CLEANUP(). */
void image_worker_done(struct image_worker *worker);
