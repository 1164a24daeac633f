/*
 * One file's content, from pieces of a stream to blocks: whole blocks of zeros become holes when
 * there are enough of them in a row, everything else goes to the next free blocks, once.
 */
#pragma once

#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"
#include "ext4/sink.h"
#include "ext4/space.h"
#include "ext4/tree.h"

/* Shorter runs of zero blocks inside a file are kept, so that it does not fall into pieces. */
#define CONTENT_HOLE_MIN 16U

struct content {
	struct tree *tree; /* borrowed, as the next two */
	struct space *space;
	struct sink *sink;
	uint32_t inode;
	uint64_t block; /* the next one: all before it are decided, or pending */
	uint64_t zeros; /* blocks before it that are zero and not decided */
	uint32_t fill;	/* bytes of it that are in `partial` */
	uint8_t partial[SPACE_BLOCK_SIZE];
};

void content_begin(struct content *content, uint32_t inode);

/* Pieces come in order; what is left out between them is zero. -EINVAL when they do not; else 0 or
 * -errno. */
int content_add(struct content *content, uint64_t offset, struct span bytes) MUST_CHECK;

/* Sets the file's size, which is not less than what was added. */
int content_end(struct content *content, uint64_t size) MUST_CHECK;
