/*
 * libext2fs's door to the image file: a descriptor that is there already, no cache, no path, and
 * the first error kept, because libext2fs replaces some by its own.
 */
#pragma once

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

/* "Opens" a name made of the descriptor's decimal number; the descriptor stays the caller's. */
io_manager io_fd_manager(void);

/* The first errno that reading or writing gave, or 0. */
int io_fd_errno(io_channel channel);
