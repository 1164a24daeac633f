/*
 * Sequential writing into the image file: small pieces are gathered, large ones go straight
 * through. What is skipped stays a hole.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

struct sink {
	int fd;	      /* borrowed */
	uint8_t *buf; /* owned */
	uint64_t at;  /* file offset of buf[0] */
	size_t used;
	uint64_t
		end; /* nothing is written from this offset on: the size is known to be too small */
	uint64_t written;
	int error; /* the first failure; every later call fails with it, too */
};

void sink_init(struct sink *sink, int fd, uint64_t end);
void sink_done(struct sink *sink);

/* 0 or -errno. */
int sink_write(struct sink *sink, uint64_t offset, struct span bytes) MUST_CHECK;
int sink_flush(struct sink *sink) MUST_CHECK;
