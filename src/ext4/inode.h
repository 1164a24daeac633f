/* Inodes as they are on disk. */
#pragma once

#include <ext2fs/ext2_fs.h>
#include <stdint.h>

#include "ext4/writer.h"

/* One inode's 256 bytes: the fields, then what xattr.h puts behind them. */
union inode_disk {
	struct ext2_inode_large inode;
	uint8_t bytes[SPACE_INODE_SIZE];
};

/*
 * Fills it but for the checksum. `root` is the encoded extent tree's root (extent.h), used when the
 * inode has blocks; `xattr_block` is 0 or the block with its attributes.
 */
void inode_fill(const struct ext4_writer *writer, uint32_t inode, const uint8_t *root,
		uint64_t xattr_block, union inode_disk *ret);

/* The entry type (EXT2_FT_*) for a mode. */
uint8_t inode_entry_type(uint16_t mode);
