/*
 * Files and folders by descriptor. Whole-file writes go through file_replace(), so that readers see
 * the old file or the new one, also after a power cut.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/* Writes `name` in `dir_fd` through a temporary, with fsync of file and folder. -errno. */
int file_replace(int dir_fd, const char *name, struct span content, mode_t mode) MUST_CHECK;

/*
 * Reads a whole regular file into `ret` (appended). A FIFO, device or folder is refused without
 * blocking (-EINVAL), more than `size_max` bytes is -EFBIG. AT_FDCWD is allowed.
 */
int file_read(int dir_fd, const char *path, uint64_t size_max, struct buf *ret) MUST_CHECK;

/*
 * Renames, but replaces nothing (-EEXIST); 0 or -errno. Where the file system cannot do that in one
 * step (NFS, most of FUSE), two that do it at the same time may both succeed with a folder.
 */
int file_rename_new(int from_dir_fd, const char *from, int to_dir_fd, const char *to) MUST_CHECK;

/* Opens a folder (O_DIRECTORY | O_CLOEXEC); an fd or -errno. Follows links: for our own paths only.
 */
int dir_open(const char *path) MUST_CHECK;
int dir_open_at(int dir_fd, const char *name) MUST_CHECK; /* O_NOFOLLOW */

/* fdopendir(3): `*fd` is the stream's from then on, and -1 here. 0, or -errno with both untouched.
 */
int dir_stream(int *fd, DIR **ret) MUST_CHECK;

/* mkdir -p with `mode` for what is made; existing folders are left as they are. */
int dir_make_path(const char *path, mode_t mode) MUST_CHECK;

/*
 * Removes `name` below `dir_fd` with everything in it; never follows links, never leaves the file
 * system. A missing one is 0.
 */
int dir_remove_tree(int dir_fd, const char *name) MUST_CHECK;

/*
 * Calls `visit` with each name in the folder except "." and ".."; a negative result stops and is
 * returned. The order is the file system's.
 */
int dir_each(int dir_fd, int (*visit)(void *context, const char *name), void *context) MUST_CHECK;

/*
 * Copies `from` to the empty file `to`: reflink when the file system can, else only the data
 * (SEEK_DATA), so that holes stay holes. The size is made equal. -ECANCELED when cancelled.
 */
int file_clone(int from, int to, const struct cancel *cancel, bool *ret_reflinked) MUST_CHECK;

/* Copies the data of `from` between the offsets to the same place of `to`; holes are passed over.
 */
int file_copy_range(int from, int to, uint64_t start, uint64_t end, const struct cancel *cancel)
	MUST_CHECK;

/* Bytes really allocated (st_blocks), and the apparent size. */
int file_usage(int fd, uint64_t *ret_allocated, uint64_t *ret_size) MUST_CHECK;
