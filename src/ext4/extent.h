/* Extent trees: a file's runs as the 60 bytes in its inode and, when they are many, blocks of their
 * own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "ext4/sink.h"
#include "ext4/space.h"
#include "ext4/tree.h"

#define EXTENT_ROOT_SIZE 60U
#define EXTENT_ROOT_MAX	 4U   /* entries in the inode */
#define EXTENT_NODE_MAX	 340U /* entries in a block */

/* Where the blocks of a tree go. */
struct extent_target {
	uint32_t checksum_start; /* with the inode's number and generation in it */
	struct space *space;	 /* borrowed, as the next one */
	struct sink *sink;
};

/*
 * Encodes `count` runs into `root`; takes and writes the blocks that it needs, whose number is
 * *ret_blocks. `target` may be NULL when the runs fit into the root. 0 or -errno.
 */
int extent_encode(const struct tree_run *runs, size_t count, const struct extent_target *target,
		  uint8_t root[static EXTENT_ROOT_SIZE], uint32_t *ret_blocks) MUST_CHECK;
