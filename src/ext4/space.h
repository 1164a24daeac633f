/*
 * Blocks, groups and sizes: arithmetic that must agree with the kernel's and libext2fs's. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

#define SPACE_BLOCK_SIZE       4096U
#define SPACE_GROUP_BLOCKS     32768U
#define SPACE_GROUP_BYTES      ((uint64_t)SPACE_BLOCK_SIZE * SPACE_GROUP_BLOCKS)
#define SPACE_INODE_SIZE       256U
#define SPACE_INODES_PER_BLOCK (SPACE_BLOCK_SIZE / SPACE_INODE_SIZE)
#define SPACE_BYTES_PER_INODE  16384U /* mke2fs's inode_ratio */
#define SPACE_DESC_PER_BLOCK   (SPACE_BLOCK_SIZE / 64U)
#define SPACE_INODES_RESERVED  11U	     /* 1 to 10, and lost+found */
#define SPACE_RUN_MAX	       32768U	     /* blocks in one extent */
#define SPACE_FILE_BLOCKS_MAX  0xffffffffULL /* logical block numbers have 32 bits */
#define SPACE_FILE_SIZE_MAX    (SPACE_FILE_BLOCKS_MAX * SPACE_BLOCK_SIZE)

/* The next free block while the content streams in. */
struct space {
	uint64_t next;
	uint32_t descriptor_blocks; /* after each superblock, reserved ones included */
};

/* Whether group `group` begins with a superblock (sparse_super). */
bool space_has_super(uint64_t group);

/* Blocks for descriptors, used and reserved, of a file system of `size_bytes` (0: not known yet).
 */
uint32_t space_descriptor_blocks(uint64_t size_bytes);

void space_init(struct space *space, uint64_t size_bytes);

/* At most `want` blocks in a row; *ret_count says how many, at least 1. */
uint64_t space_take(struct space *space, uint64_t want, uint64_t *ret_count);

/* Exactly `count` blocks in one piece; fewer than a group less its superblock's place. */
uint64_t space_take_whole(struct space *space, uint64_t count);

/* A whole file system. */
struct layout {
	uint64_t blocks;
	uint32_t groups;
	uint32_t inodes_per_group;
	uint32_t table_blocks; /* inode table blocks in a group */
	uint32_t descriptor_blocks;
	uint32_t journal_blocks;
};

/*
 * Decides the layout when `space` has been filled as far as it is and `inodes` (reserved ones
 * included) are in use. `size_bytes` 0 lets the size follow from the content. ERR_LIMIT says what
 * is needed.
 */
int layout_decide(const struct space *space, uint64_t size_bytes, uint64_t inodes,
		  struct layout *ret, struct err *err) MUST_CHECK;
