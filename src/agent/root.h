/*
 * Files inside the guest's root, from a descriptor of it: no link leads out of it, readers see the
 * old file or the new one, and what has not changed is not written. Nothing is fsynced: all of it
 * is written again at every start, and a boot must not wait for a disk.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

#define ROOT_FILE_MAX (1U << 20) /* files that are read to be edited */

/*
 * Opens a folder below `root_fd`; links in it are followed, but "/" and ".." are the root's. With
 * `mode` not 0 its last component is made when it is missing. An fd or -errno.
 */
int root_open_folder(int root_fd, const char *path, mode_t mode) MUST_CHECK;

/*
 * Opens a folder below `top_fd` for a path that a stream chose: links that lead out of it, "/" and
 * ".." beyond it are -EXDEV. With `is_made`, missing folders are made with mode 0755.
 */
int root_open_beneath(int top_fd, const char *path, bool is_made) MUST_CHECK;

/* As file_read() below a folder from root_open_folder(); a missing file is empty and 0. */
int root_read(int folder_fd, const char *name, struct buf *ret) MUST_CHECK;

/* Replaces `name`, also when it was a link. */
int root_replace(int folder_fd, const char *name, struct span content, mode_t mode) MUST_CHECK;

/*
 * The same for a file that is wholly ours and comes again with the next start: ext4 does not begin
 * to write it out at once, so the file may be empty after a crash of the machine.
 */
int root_replace_ours(int folder_fd, const char *name, struct span content, mode_t mode) MUST_CHECK;
