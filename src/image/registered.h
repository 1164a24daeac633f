/* Inside src/image: which files of the user a registered image is made of. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/macros.h"

/* What has to be the same for a file to be the same. */
struct registered_file {
	char *path; /* owned, absolute; NULL: there is none */
	uint64_t size_bytes;
	int64_t mtime_seconds;
	uint64_t mtime_nanoseconds;
	uint64_t inode;
};

struct registered {
	struct registered_file root;
	struct registered_file seed; /* no path: the image's own work-seed.ext4 */
};

void registered_done(struct registered *registered);
#define AUTO_REGISTERED CLEANUP(registered_done) struct registered

/* Opens `path`, a regular file and no link, and records what it is. */
int registered_open(const char *path, struct registered_file *ret, int *ret_fd, struct err *err)
	MUST_CHECK;

/* Opens a recorded file for reading. ERR_BAD_STATE, with a hint, when it is gone or another. */
int registered_open_again(const struct registered_file *file, int *ret_fd, struct err *err)
	MUST_CHECK;

/* registered.json in an image's folder. */
int registered_write(int dir_fd, const struct registered *registered, struct err *err) MUST_CHECK;
int registered_read(int dir_fd, struct registered *ret, struct err *err) MUST_CHECK;
