#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "fetch/fetch.h"
#include "kernel/staging.h"
#include "kernel/unpack.h"

/*
 * The file loses its name before its first byte: a bundle is worth nothing once it has been
 * unpacked, or when it could not be downloaded as a whole, so nothing can be left behind. Should
 * the process end in between, the name is one that the sweeps remove.
 */
static int make_file(int dir_fd, const char *name, int *ret_fd, struct err *err)
{
	AUTO_FREE char *temporary = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	r = staging_name(STAGING_NEW, name, &temporary);
	if (r < 0)
		return err_sys(err, r, "make a name");
	fd = openat(dir_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || unlinkat(dir_fd, temporary, 0) < 0)
		return err_sys(err, -errno, "make a file for the bundle");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int bundle_fetch(const struct bundle_origin *origin, const char *dir, const char *name, int *ret_fd,
		 struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int fd = -1;
	int r;

	r = dir_make_path(dir, 0700);
	if (r < 0)
		return err_sys(err, r, "make '%s'", dir);
	dir_fd = dir_open(dir);
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open '%s'", dir);
	r = make_file(dir_fd, name, &fd, err);
	if (r < 0)
		return r;
	const struct fetch_file file = {
		.url = origin->url,
		.fd = fd,
		.size = origin->size_bytes,
		.sha256 = origin->sha256,
		.stage = BUNDLE_FETCH_STAGE,
		.policy = origin->policy,
		.cancel = origin->cancel,
		.progress = origin->progress,
	};

	r = fetch_file(&file, err);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "read the bundle");
	*ret_fd = TAKE_FD(fd);
	return 0;
}
