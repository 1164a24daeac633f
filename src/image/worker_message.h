/* Inside src/image: the lines between the daemon and its workers. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "ext4/ext4.h"
#include "image/layers.h"

#define UNPACK_DIGEST_SIZE 72

struct worker_orders {
	struct ext4_options options;
	bool has_seed;
	uint64_t layers; /* 0: one tar, which is no layer */
};

/* The worker's orders, without the end of the line; -errno. */
int worker_read_line(int fd, struct buf *line) MUST_CHECK;

void worker_write_orders(const struct worker_orders *orders, struct buf *out);
int worker_read_orders(struct span line, struct worker_orders *ret, struct err *err) MUST_CHECK;

struct worker_progress {
	uint64_t done;	/* bytes of content that have been written */
	uint64_t layer; /* at which it is, from 1 on; 0: none */
};

/* False when the line is something else. */
void worker_write_progress(const struct worker_progress *progress, struct buf *out);
bool worker_read_progress(struct span line, struct worker_progress *ret) MUST_CHECK;

/* `r` < 0: the answer is `failure`, else `summary`. */
void worker_write_answer(int r, const struct ext4_summary *summary, const struct err *failure,
			 struct buf *out);
/* The worker's error becomes ours. ERR_PROTOCOL for anything that is no answer. */
int worker_read_answer(struct span line, struct ext4_summary *ret, struct err *err) MUST_CHECK;

/* --- unpack workers --- */

struct unpack_orders {
	enum image_compression compression;
	uint64_t bytes_max; /* of what comes out */
};

struct unpack_result {
	uint64_t bytes;
	char digest[UNPACK_DIGEST_SIZE]; /* "sha256:" and 64 digits */
};

void unpack_write_orders(const struct unpack_orders *orders, struct buf *out);
int unpack_read_orders(struct span line, struct unpack_orders *ret, struct err *err) MUST_CHECK;

/* As worker_write_answer() and worker_read_answer(). */
void unpack_write_answer(int r, const struct unpack_result *result, const struct err *failure,
			 struct buf *out);
int unpack_read_answer(struct span line, struct unpack_result *ret, struct err *err) MUST_CHECK;
