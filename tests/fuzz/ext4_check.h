/*
 * What must hold of a file system that the writer made, for fuzz targets: libext2fs opens it, every
 * inode in use is reachable from the root as often as its link count says, no block belongs to two,
 * and what is used and free agrees with the bitmaps.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "ext4/ext4.h"

#define EXT4_CHECK_BYTES (32ULL << 20) /* the size of such a file system */

#define EXT4_MUST(condition)                                                          \
	do {                                                                          \
		if (!(condition)) {                                                   \
			(void)fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			abort();                                                      \
		}                                                                     \
	} while (0)

/* Aborts when it does not. */
void ext4_check(int fd, const struct ext4_summary *summary);
