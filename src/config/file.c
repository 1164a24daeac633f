/* Reading the file itself: only what its owner can have written, and never a wait for a FIFO's
 * writer. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "config/private.h"

#define CHUNK_BYTES 16384

static int check_status(const char *path, const struct stat *status, struct err *err)
{
	if (!S_ISREG(status->st_mode))
		return err_set(err, ERR_INVALID, "%s: it must be a regular file", path);
	if (status->st_uid != geteuid() && status->st_uid != 0)
		return err_set(err, ERR_INVALID, "%s: it belongs to user %u, not to you or root",
			       path, status->st_uid);
	if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		const int r = err_set(err, ERR_INVALID, "%s: others may write it (mode %04o)", path,
				      status->st_mode & 07777U);
		err_hint(err, "chmod go-w '%s', or 'banger doctor --fix'", path);
		return r;
	}
	if (status->st_size > CONFIG_FILE_BYTES_MAX)
		return err_set(err, ERR_INVALID, "%s: it is larger than %d bytes", path,
			       CONFIG_FILE_BYTES_MAX);
	return 0;
}

/* No file is an answer, a link that leads nowhere is a mistake. */
static int missing(const char *path, bool *ret_is_present, struct err *err)
{
	struct stat status;

	if (lstat(path, &status) == 0)
		return err_set(err, ERR_INVALID, "%s: it is a link that leads nowhere", path);

	*ret_is_present = false;
	return 0;
}

int config_read_file(const char *path, struct buf *ret_text, bool *ret_is_present, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;
	int r;

	/* Links are followed: people keep such files elsewhere. O_NONBLOCK is for FIFOs. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return missing(path, ret_is_present, err);
	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", path);
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", path);

	r = check_status(path, &status, err);
	if (r < 0)
		return r;

	for (;;) {
		ssize_t n;

		buf_reserve(ret_text, CHUNK_BYTES);
		n = fd_read_some(fd, ret_text->ptr + ret_text->len, CHUNK_BYTES);
		if (n < 0)
			return err_sys(err, (int)n, "read '%s'", path);
		if (n == 0)
			break;
		buf_advance(ret_text, (size_t)n);
		if (ret_text->len > CONFIG_FILE_BYTES_MAX)
			return err_set(err, ERR_INVALID, "%s: it is larger than %d bytes", path,
				       CONFIG_FILE_BYTES_MAX);
	}
	*ret_is_present = true;
	return 0;
}
