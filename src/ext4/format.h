/* The part of sealing that libext2fs does: groups, bitmaps, journal, resize inode, superblocks. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "ext4/identity.h"
#include "ext4/space.h"
#include "ext4/writer.h"

/* Extent tree roots of inodes with more runs than fit into the inode, in the order of inodes. */
struct format_root {
	uint32_t inode;
	uint8_t bytes[60];
};

struct format_input {
	struct ext4_writer
		*writer; /* sealed but for this: runs and blocks are final, numbers given */
	struct fs_identity identity;
	struct layout layout;
	struct format_root *roots; /* borrowed */
	size_t root_count;
	const uint64_t *xattr_blocks; /* borrowed; see struct xattr_set */
	uint32_t last_inode;
};

/* Writes the rest and syncs. Sets the sizes of `ret`. */
int format_write(const struct format_input *input, struct ext4_summary *ret, struct err *err)
	MUST_CHECK;
