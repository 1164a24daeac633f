#include "workspace/worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "workspace/hash.h"

#define CHUNK 65536

void worktree_file_done(struct worktree_file *file)
{
	fd_closep(&file->fd);
	mem_free(file->target);
	file->target = NULL;
}

int worktree_open_beneath(int root_fd, const char *path, uint64_t flags)
{
	const struct open_how how = {
		.flags = flags | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	const long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int read_link(int fd, struct worktree_file *ret)
{
	char target[PATH_MAX];
	const ssize_t n = readlinkat(fd, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(target))
		return -ENAMETOOLONG;
	ret->kind = WORKTREE_LINK;
	ret->size = (uint64_t)n;
	ret->target = mem_strndup(target, (size_t)n);
	return 0;
}

/* What a descriptor that only names it leads to. -EAGAIN: it is another one by now. */
static int open_named(int root_fd, const char *path, int named_fd, struct worktree_file *ret)
{
	struct stat named, opened;

	if (fstat(named_fd, &named) < 0)
		return -errno;
	if (S_ISLNK(named.st_mode))
		return read_link(named_fd, ret);
	if (!S_ISREG(named.st_mode)) {
		ret->kind = S_ISDIR(named.st_mode) ? WORKTREE_FOLDER : WORKTREE_OTHER;
		return 0;
	}
	ret->fd = worktree_open_beneath(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (ret->fd < 0)
		return ret->fd == -ENOENT || ret->fd == -ELOOP ? -EAGAIN : ret->fd;
	if (fstat(ret->fd, &opened) < 0)
		return -errno;
	if (opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
		return -EAGAIN;
	ret->kind = WORKTREE_FILE;
	ret->size = (uint64_t)opened.st_size;
	ret->is_executable = opened.st_mode & S_IXUSR;
	return 0;
}

static int try_open(int root_fd, const char *path, struct worktree_file *ret)
{
	AUTO_CLOSE int named_fd = worktree_open_beneath(root_fd, path, O_PATH);
	int r;

	*ret = (struct worktree_file){ .fd = -1 };
	/* Behind a link, or behind what is a file by now: git sees nothing there either. */
	if (named_fd == -ENOENT || named_fd == -ENOTDIR || named_fd == -ELOOP || named_fd == -EXDEV)
		return 0;
	if (named_fd < 0)
		return named_fd;
	r = open_named(root_fd, path, named_fd, ret);
	if (r < 0)
		worktree_file_done(ret);
	return r;
}

int worktree_open(int root_fd, const char *path, struct worktree_file *ret, struct err *err)
{
	int r = try_open(root_fd, path, ret);

	if (r == -EAGAIN)
		r = try_open(root_fd, path, ret);
	if (r == -EAGAIN)
		return err_set(err, ERR_BUSY, "'%s' changes all the time", path);
	return r < 0 ? err_sys(err, r, "read '%s'", path) : 0;
}

/* 1 it was read, 0 it has changed meanwhile. */
static int hash_file(struct worktree_file *file, const char *path, bool is_sha256,
		     const struct cancel *cancel, struct err *err)
{
	AUTO_BLOB_HASH hash = { .context = NULL };
	uint8_t chunk[CHUNK / 8];
	struct stat before, after;
	uint64_t left = file->size;
	int r;

	r = blob_hash_begin(&hash, is_sha256, file->size, err);
	if (r < 0)
		return r;
	if (fstat(file->fd, &before) < 0)
		return err_sys(err, -errno, "read '%s'", path);
	while (left > 0) {
		const ssize_t n = fd_read_some(file->fd, chunk, sizeof(chunk));

		if (n < 0)
			return err_sys(err, (int)n, "read '%s'", path);
		if (n == 0 || (uint64_t)n > left)
			return 0;
		left -= (uint64_t)n;
		blob_hash_add(&hash, span_of(chunk, (size_t)n));
		r = cancel_check(cancel, err);
		if (r < 0)
			return r;
	}
	if (fstat(file->fd, &after) < 0)
		return err_sys(err, -errno, "read '%s'", path);
	if (after.st_size != before.st_size || (uint64_t)after.st_size != file->size ||
	    after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	    after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
		return 0;
	blob_hash_end(&hash, file->oid);
	return 1;
}

int worktree_hash(int root_fd, const char *path, bool is_sha256, const struct cancel *cancel,
		  struct worktree_file *ret, struct err *err)
{
	int r = 0;

	for (int attempt = 0; attempt < 2; attempt++) {
		struct worktree_file file;

		r = worktree_open(root_fd, path, &file, err);
		if (r < 0)
			return r;
		r = 1;
		if (file.kind == WORKTREE_FILE)
			r = hash_file(&file, path, is_sha256, cancel, err);
		else if (file.kind == WORKTREE_LINK &&
			 blob_hash_of(is_sha256, span_str(file.target), file.oid, err) < 0)
			r = -EIO;
		if (r == 1) {
			*ret = file;
			return 0;
		}
		worktree_file_done(&file);
		if (r < 0)
			return r;
	}
	return err_set(err, ERR_BUSY, "'%s' changes while it is read", path);
}
