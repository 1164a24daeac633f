/*
 * Whether a file has a file system that a VM can mount as its root: from its first two kilobytes.
 * They may be a guest's work, so this is all of it that the host ever looks at.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define SUPERBLOCK_HEAD_SIZE ((size_t)2048) /* what is read of a file */

struct superblock {
	uint64_t size_bytes; /* of the file system; never more than the file's */
	uint64_t inodes;
};

/*
 * ext2, ext3 and ext4 are taken, as Linux's ext4 mounts all of them. ERR_INVALID says what the file
 * is instead, or why it cannot be used: cut short, not unmounted, damaged, features that Linux does
 * not know. `head` is shorter only when the file is. Pure.
 */
int superblock_read(struct span head, uint64_t file_size, struct superblock *ret, struct err *err)
	MUST_CHECK;

/* The same from an open file, whose offset does not move. */
int superblock_read_fd(int fd, struct superblock *ret, struct err *err) MUST_CHECK;
