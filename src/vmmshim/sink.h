/*
 * Where text goes that a guest or QEMU can produce without end: a file that keeps the newest, or a
 * FIFO, terminal or pipe that may be full. Never blocks.
 *
 * A regular file that has reached SINK_FILE_MAX is renamed to FILE.1 (replacing the one before) and
 * begun anew: FILE and FILE.1 together never exceed 2 * SINK_FILE_MAX. Anything else that would
 * block loses what does not fit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

#define SINK_FILE_MAX (1024UL * 1024)

struct sink {
	int fd;	       /* owned unless is_borrowed; -1: everything is dropped */
	char *path;    /* owned; NULL when there is nothing to rotate */
	uint64_t size; /* of the file now */
	uint64_t lost; /* bytes that could not be written */
	bool is_borrowed;
};

#define SINK_INIT ((struct sink){ .fd = -1 })

/* Appends to a file (made with mode 0600) or opens a FIFO without waiting for its reader. -errno.
 */
int sink_open(const char *path, struct sink *ret) MUST_CHECK;

/* Writes to a descriptor that stays the caller's. */
void sink_borrow(struct sink *sink, int fd);

void sink_write(struct sink *sink, struct span bytes);
void sink_done(struct sink *sink);
