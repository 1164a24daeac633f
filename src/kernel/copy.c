#include "kernel/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define PIECE_SIZE ((size_t)1024 * 1024)

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a folder";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	case S_IFSOCK:
		return "a socket";
	case S_IFLNK:
		return "a symbolic link";
	default:
		return "no regular file";
	}
}

/* Non-blocking, so that a FIFO in the way cannot hold us up before fstat() has seen it. */
static int open_beneath(const struct copy_source *source, uint64_t flags)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | flags,
		.resolve = source->dir_fd == AT_FDCWD
				   ? RESOLVE_NO_MAGICLINKS
				   : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	const long fd = syscall(SYS_openat2, source->dir_fd, source->path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int refuse_open(const struct copy_source *source, int r, struct err *err)
{
	if (r == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no '%s'", source->shown);
	if (r == -ELOOP)
		return err_set(err, ERR_INVALID,
			       "'%s' is, or is behind, a symbolic link; name the file itself",
			       source->shown);
	if (r == -EXDEV)
		return err_set(err, ERR_INVALID, "'%s' leads out of the folder", source->shown);
	/* A socket cannot be opened, nor a device without a driver. */
	if (r == -ENXIO || r == -ENODEV)
		return err_set(err, ERR_INVALID, "'%s' is a socket or a device, no regular file",
			       source->shown);
	return err_sys(err, r, "open '%s'", source->shown);
}

int copy_open(const struct copy_source *source, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open_beneath(source, 0);
	struct stat info;

	if (fd < 0)
		return refuse_open(source, fd, err);
	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine '%s'", source->shown);
	if (!S_ISREG(info.st_mode))
		return err_set(err, ERR_INVALID, "'%s' is %s, no regular file", source->shown,
			       type_name(info.st_mode));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int copy_open_dir(const struct copy_source *source, int *ret_fd, struct err *err)
{
	const int fd = open_beneath(source, O_DIRECTORY);

	/* The kernel looks for a folder first, and says the same of a link to one. */
	if (fd == -ENOTDIR)
		return err_set(err, ERR_INVALID, "'%s' is no folder", source->shown);
	if (fd < 0)
		return refuse_open(source, fd, err);
	*ret_fd = fd;
	return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int check_unchanged(int fd, const char *shown, const struct stat *before, struct err *err)
{
	struct stat after;

	if (fstat(fd, &after) < 0)
		return err_sys(err, -errno, "examine '%s'", shown);
	if (!is_same(before, &after))
		return err_set(err, ERR_BUSY, "'%s' changed while it was copied", shown);
	return 0;
}

static int copy_bytes(int from, int to, const char *shown, const struct copy_target *target,
		      struct digest *digest, struct err *err)
{
	AUTO_FREE uint8_t *piece = mem_alloc(1, PIECE_SIZE);
	uint64_t done = 0;
	int r = 0;

	while (r == 0) {
		const ssize_t n = pread(from, piece, PIECE_SIZE, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read '%s'", shown);
		if (n == 0)
			return 0;
		r = cancel_check(target->cancel, err);
		if (r < 0)
			return r;
		done += (uint64_t)n;
		if (done > target->size_max)
			return err_set(err, ERR_LIMIT, "'%s' has more than %llu bytes", shown,
				       (unsigned long long)target->size_max);
		r = fd_write_all(to, span_of(piece, (size_t)n));
		if (r < 0) {
			(void)err_sys(err, r, "write a copy of '%s'", shown);
			if (r == -ENOSPC || r == -EDQUOT)
				err_hint(err, "free some space in the state folder's file system");
			return r;
		}
		r = digest_add(digest, span_of(piece, (size_t)n), err);
	}
	return r;
}

int copy_file(int fd, const char *shown, const struct copy_target *target,
	      char ret[static SHA256_TEXT_SIZE], struct err *err)
{
	CLEANUP(digest_freep) struct digest *digest = NULL;
	AUTO_CLOSE int to = -1;
	struct stat before;
	int r;

	if (fstat(fd, &before) < 0)
		return err_sys(err, -errno, "examine '%s'", shown);
	if ((uint64_t)before.st_size > target->size_max)
		return err_set(err, ERR_LIMIT, "'%s' has %llu bytes; at most %llu", shown,
			       (unsigned long long)before.st_size,
			       (unsigned long long)target->size_max);
	to = openat(target->dir_fd, target->name,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return err_sys(err, -errno, "make a copy of '%s'", shown);
	r = digest_new(&digest, err);
	if (r == 0)
		r = copy_bytes(fd, to, shown, target, digest, err);
	if (r == 0)
		r = check_unchanged(fd, shown, &before, err);
	return r == 0 ? digest_finish(digest, ret, err) : r;
}

int copy_read(int fd, const char *shown, uint64_t size_max, struct buf *into, struct err *err)
{
	const size_t start = into->len;
	struct stat before;

	if (fstat(fd, &before) < 0)
		return err_sys(err, -errno, "examine '%s'", shown);
	for (;;) {
		ssize_t n;

		if (into->len - start > size_max)
			return err_set(err, ERR_LIMIT, "'%s' has more than %llu bytes", shown,
				       (unsigned long long)size_max);
		buf_reserve(into, PIECE_SIZE);
		n = fd_read_some(fd, into->ptr + into->len, PIECE_SIZE);
		if (n < 0)
			return err_sys(err, (int)n, "read '%s'", shown);
		if (n == 0)
			return check_unchanged(fd, shown, &before, err);
		buf_advance(into, (size_t)n);
	}
}
