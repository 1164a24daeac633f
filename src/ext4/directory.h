/*
 * A folder's blocks: one linear block when all fits, else a hash tree (dir_index) built in one go,
 * leaves filled to four fifths so that the guest can add names without splitting at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "ext4/identity.h"
#include "ext4/space.h"

struct directory_entry {
	struct span name; /* borrowed */
	uint32_t inode;	  /* on disk */
	uint8_t type;	  /* EXT2_FT_* */
};

struct directory {
	uint32_t inode; /* its own number, and its parent's */
	uint32_t parent;
	uint32_t blocks_min; /* lost+found keeps empty blocks; then it is linear */
	const struct directory_entry *entries; /* without "." and ".." */
	size_t count;
};

/*
 * Appends the blocks to `out`. ERR_LIMIT when there are more names than two levels of index blocks
 * can address (millions).
 */
struct buf;
int directory_encode(const struct directory *directory, const struct fs_identity *identity,
		     struct buf *out, bool *ret_is_indexed, struct err *err) MUST_CHECK;
