/*
 * Inside src/kernel: copying the user's files. A path may name anything, and what it names may
 * change at any time, so each file is opened once, without following links or waiting, and judged,
 * copied and hashed through that descriptor; size, time of change and inode are compared
 * afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "kernel/digest.h"

struct copy_source {
	int dir_fd;	   /* AT_FDCWD, or the folder that `path` must stay in */
	const char *path;  /* relative to the folder, or absolute with AT_FDCWD */
	const char *shown; /* for messages */
};

/*
 * Opens a regular file for reading. Below a folder no component may be a link; with AT_FDCWD the
 * last one may not. ERR_NOT_FOUND; ERR_INVALID says what else it is.
 */
int copy_open(const struct copy_source *source, int *ret_fd, struct err *err) MUST_CHECK;

/* Opens a folder in the same way. */
int copy_open_dir(const struct copy_source *source, int *ret_fd, struct err *err) MUST_CHECK;

struct copy_target {
	int dir_fd;	  /* borrowed */
	const char *name; /* of the new file */
	uint64_t size_max;
	const struct cancel *cancel; /* borrowed */
};

/*
 * Copies what `fd` has, from its start, to a new file, and gives its SHA-256. ERR_LIMIT over
 * `size_max` bytes, ERR_BUSY when the file changed meanwhile.
 */
int copy_file(int fd, const char *shown, const struct copy_target *target,
	      char ret[static SHA256_TEXT_SIZE], struct err *err) MUST_CHECK;

/* Appends what `fd` has to `into`, under the same conditions. */
int copy_read(int fd, const char *shown, uint64_t size_max, struct buf *into, struct err *err)
	MUST_CHECK;
