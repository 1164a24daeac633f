/* What a file system's checksums and hashes depend on: fixed by its input, so that bytes repeat. */
#pragma once

#include <stdint.h>

#include "ext4/tree.h"

struct fs_identity {
	uint8_t uuid[16];
	uint32_t hash_seed[4];
	uint32_t checksum_seed;
};

/*
 * Takes `uuid` unless it is all zero; then one that names, attributes and sizes in the tree decide.
 * It tells file systems apart and is no proof of content.
 */
void identity_make(const struct tree *tree, const uint8_t uuid[static 16], struct fs_identity *ret);

/* The start of the checksum of a block that belongs to an inode (whose generation is 0). */
uint32_t identity_inode_seed(const struct fs_identity *identity, uint32_t inode);
