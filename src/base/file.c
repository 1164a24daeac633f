#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"

int file_replace(int dir_fd, const char *name, struct span content, mode_t mode)
{
	char temp[NAME_MAX + 1];
	AUTO_CLOSE int fd = -1;
	int n, r;

	n = snprintf(temp, sizeof(temp), ".%s.new", name);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return -ENAMETOOLONG;

	fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;

	r = fd_write_all(fd, content);
	if (r == 0 &&
	    (fchmod(fd, mode) < 0 || fsync(fd) < 0 || renameat(dir_fd, temp, dir_fd, name) < 0))
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir_fd, temp, 0);
		return r;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int file_read(int dir_fd, const char *path, uint64_t size_max, struct buf *ret)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;
	uint64_t total = 0;

	/* Non-blocking, so that a FIFO in the way cannot hold us up before fstat() has seen it. */
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (status.st_size > 0 && (uint64_t)status.st_size > size_max)
		return -EFBIG;
	for (;;) {
		ssize_t n;

		/* Files below /proc say 0 and have content: read to the end whatever st_size is. */
		buf_reserve(ret, 4096);
		n = fd_read_some(fd, ret->ptr + ret->len, ret->cap - ret->len - 1);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return 0;
		total += (uint64_t)n;
		if (total > size_max)
			return -EFBIG;
		buf_advance(ret, (size_t)n);
	}
}

/* A link is never made over something; what cannot have a second name is looked for before. */
static int rename_in_steps(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
	struct stat status;

	if (fstatat(from_dir_fd, from, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode)) {
		if (linkat(from_dir_fd, from, to_dir_fd, to, 0) == 0)
			return unlinkat(from_dir_fd, from, 0) < 0 ? -errno : 0;
		if (errno == EEXIST)
			return -EEXIST;
	}
	if (fstatat(to_dir_fd, to, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(from_dir_fd, from, to_dir_fd, to) < 0 ? -errno : 0;
}

int file_rename_new(int from_dir_fd, const char *from, int to_dir_fd, const char *to)
{
	if (renameat2(from_dir_fd, from, to_dir_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EINVAL ? rename_in_steps(from_dir_fd, from, to_dir_fd, to) : -errno;
}

int dir_open(const char *path)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int dir_open_at(int dir_fd, const char *name)
{
	const int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int dir_make_path(const char *path, mode_t mode)
{
	AUTO_FREE char *copy = mem_strdup(path);
	struct stat status;

	for (char *at = copy + 1; copy[0] != '\0'; at++) {
		const char saved = *at;

		if (saved != '/' && saved != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*at = saved;
		if (saved == '\0')
			break;
	}
	if (stat(path, &status) < 0)
		return -errno;
	return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int dir_stream(int *fd, DIR **ret)
{
	DIR *dir = fdopendir(*fd);

	if (!dir)
		return err_negative(-errno);
	*fd = -1;
	*ret = dir;
	return 0;
}

int dir_each(int dir_fd, int (*visit)(void *context, const char *name), void *context)
{
	AUTO_CLOSE int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = NULL;
	int r;

	if (fd < 0)
		return -errno;
	r = dir_stream(&fd, &dir);
	if (r < 0)
		return r;
	while (r >= 0) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(dir); // NOLINT(concurrency-mt-unsafe): the stream is ours alone
		if (!entry) {
			r = -errno;
			break;
		}
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
			r = visit(context, entry->d_name);
	}
	(void)closedir(dir);
	return r < 0 ? r : 0;
}

struct removal {
	int dir_fd;   /* borrowed */
	dev_t device; /* mounts below are left alone */
};

static int remove_entry(void *context,
			const char *name) // NOLINT(misc-no-recursion): depth of our own trees
{
	const struct removal *outer = context;
	AUTO_CLOSE int fd = -1;
	struct stat status;
	struct removal inner;
	int r;

	if (unlinkat(outer->dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = dir_open_at(outer->dir_fd, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (status.st_dev != outer->device)
		return -EXDEV;
	inner = (struct removal){ .dir_fd = fd, .device = status.st_dev };
	r = dir_each(fd, remove_entry, &inner);
	if (r < 0)
		return r;
	return unlinkat(outer->dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int dir_remove_tree(int dir_fd, const char *name)
{
	struct removal removal = { .dir_fd = dir_fd };
	struct stat status;

	if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	removal.device = status.st_dev;
	return remove_entry(&removal, name);
}

/* One run of data from `start` to `end`, by copy_file_range where it works. */
static int copy_run(int from, int to, off_t start, off_t end, const struct cancel *cancel)
{
	AUTO_FREE char *block = NULL;
	const size_t block_size = 1024UL * 1024UL;

	while (start < end) {
		off_t in = start, out = start;
		ssize_t n;

		if (cancel_is_fired(cancel))
			return -ECANCELED;
		if (!block) {
			const off_t want = end - start < (64 << 20) ? end - start : (64 << 20);

			n = copy_file_range(from, &in, to, &out, (size_t)want, 0);
			if (n > 0) {
				start += n;
				continue;
			}
			if (n < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
			    errno != EOPNOTSUPP)
				return -errno;
			block = mem_alloc(1, block_size);
		}
		n = pread(from, block,
			  end - start < (off_t)block_size ? (size_t)(end - start) : block_size,
			  start);
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		const int r = fd_pwrite_all(to, span_of(block, (size_t)n), (uint64_t)start);

		if (r < 0)
			return r;
		start += n;
	}
	return 0;
}

int file_copy_range(int from, int to, uint64_t start, uint64_t end, const struct cancel *cancel)
{
	off_t at = (off_t)start;

	while (at < (off_t)end) {
		off_t first, last;
		int r;

		first = lseek(from, at, SEEK_DATA);
		if (first < 0 && errno == ENXIO)
			return 0;
		last = first < 0 ? -1 : lseek(from, first, SEEK_HOLE);
		if (last < 0)
			return -errno;
		if (first >= (off_t)end)
			return 0;
		last = last < (off_t)end ? last : (off_t)end;
		r = copy_run(from, to, first, last, cancel);
		if (r < 0)
			return r;
		at = last;
	}
	return 0;
}

int file_clone(int from, int to, const struct cancel *cancel, bool *ret_reflinked)
{
	struct stat status;
	int r;

	if (ioctl(to, FICLONE, from) == 0) {
		*ret_reflinked = true;
		return 0;
	}
	if (fstat(from, &status) < 0 || ftruncate(to, status.st_size) < 0)
		return -errno;
	r = file_copy_range(from, to, 0, (uint64_t)status.st_size, cancel);
	if (r < 0)
		return r;
	*ret_reflinked = false;
	return 0;
}

int file_usage(int fd, uint64_t *ret_allocated, uint64_t *ret_size)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	*ret_allocated = (uint64_t)status.st_blocks * 512;
	*ret_size = (uint64_t)status.st_size;
	return 0;
}
