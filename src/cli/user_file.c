#include "cli/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

/* Where it really is; one that does not exist is where its folder really is. */
static int resolve(const char *path, bool makes_folder, char **ret, struct err *err)
{
	char real[PATH_MAX];
	AUTO_FREE char *parent = NULL;
	const char *slash = strrchr(path, '/');
	struct stat status;

	if (realpath(path, real)) {
		*ret = mem_strdup(real);
		return 0;
	}
	if (errno != ENOENT)
		return err_sys(err, -errno, "find '%s'", path);
	if (lstat(path, &status) == 0)
		return err_set(err, ERR_NOT_FOUND, "'%s' is a link to what does not exist", path);
	parent = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path))
		       : mem_strdup(".");
	if (makes_folder && mkdir(parent, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "make '%s'", parent);
	if (!realpath(parent, real))
		return err_sys(err, -errno, "find '%s'", parent);
	*ret = mem_printf("%s/%s", real, slash ? slash + 1 : path);
	return 0;
}

static int read_file(struct user_file *file, struct err *err)
{
	AUTO_CLOSE int fd =
		openat(file->dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &file->status) < 0)
		return err_sys(err, -errno, "open '%s'", file->path);
	if (!S_ISREG(file->status.st_mode))
		return err_set(err, ERR_INVALID, "'%s' is no regular file", file->path);
	r = file_read(file->dir_fd, file->name, USER_FILE_BYTES_MAX, &file->text);
	if (r < 0)
		return err_sys(err, r, "read '%s'", file->path);
	file->exists = true;
	return 0;
}

int user_file_open(const char *path, bool makes_folder, struct user_file *ret, struct err *err)
{
	CLEANUP(user_file_done) struct user_file file = USER_FILE_INIT;
	AUTO_FREE char *folder = NULL;
	const char *slash;
	int r;

	r = resolve(path, makes_folder, &file.path, err);
	if (r < 0)
		return r;
	slash = strrchr(file.path, '/');
	folder = mem_strndup(file.path, slash == file.path ? 1 : (size_t)(slash - file.path));
	file.name = mem_strdup(slash + 1);
	file.dir_fd = dir_open(folder);
	if (file.dir_fd < 0)
		return err_sys(err, file.dir_fd, "open '%s'", folder);
	if (flock(file.dir_fd, LOCK_EX) < 0)
		return err_sys(err, -errno, "lock '%s'", folder);
	r = read_file(&file, err);
	if (r < 0)
		return r;
	*ret = file;
	file = USER_FILE_INIT;
	return 0;
}

void user_file_done(struct user_file *file)
{
	if (!file)
		return;
	fd_close(file->dir_fd);
	mem_free(file->name);
	mem_free(file->path);
	buf_done(&file->text);
	*file = USER_FILE_INIT;
}

static int check_unchanged(const struct user_file *file, struct err *err)
{
	struct stat now;
	const bool is_there = fstatat(file->dir_fd, file->name, &now, AT_SYMLINK_NOFOLLOW) == 0;

	if (is_there == file->exists &&
	    (!is_there ||
	     (now.st_ino == file->status.st_ino && now.st_size == file->status.st_size &&
	      now.st_mtim.tv_sec == file->status.st_mtim.tv_sec &&
	      now.st_mtim.tv_nsec == file->status.st_mtim.tv_nsec)))
		return 0;
	return err_set(err, ERR_BUSY, "somebody is changing '%s'; nothing was done", file->path);
}

/* A whole new file beside the old one, with that one's owner and mode. */
static int write_new(const struct user_file *file, const char *name, const struct buf *text)
{
	AUTO_CLOSE int fd = openat(file->dir_fd, name,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat made;
	int r;

	if (fd < 0 || fstat(fd, &made) < 0)
		return -errno;
	if (file->exists &&
	    (file->status.st_uid != made.st_uid || file->status.st_gid != made.st_gid) &&
	    fchown(fd, file->status.st_uid, file->status.st_gid) < 0)
		return -errno;
	if (fchmod(fd, file->exists ? file->status.st_mode & 07777 : 0600) < 0)
		return -errno;
	r = fd_write_all(fd, buf_span(text));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int user_file_replace(struct user_file *file, const struct buf *text, struct err *err)
{
	AUTO_FREE char *name = mem_printf(".%s.banger-new", file->name);
	int r = write_new(file, name, text);

	if (r < 0)
		r = err_sys(err, r, "write '%s'", file->path);
	else
		r = check_unchanged(file, err);
	if (r == 0 && renameat(file->dir_fd, name, file->dir_fd, file->name) < 0)
		r = err_sys(err, -errno, "replace '%s'", file->path);
	if (r < 0) {
		(void)unlinkat(file->dir_fd, name, 0);
		return r;
	}
	return fsync(file->dir_fd) < 0 ? err_sys(err, -errno, "sync '%s'", file->path) : 0;
}

int user_file_remove(struct user_file *file, struct err *err)
{
	const int r = check_unchanged(file, err);

	if (r < 0)
		return r;
	return unlinkat(file->dir_fd, file->name, 0) < 0
		       ? err_sys(err, -errno, "remove '%s'", file->path)
		       : 0;
}
