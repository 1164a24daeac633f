/*
 * Links inside a repository. A checkout that somebody else has made may have some that lead to
 * another repository of the user's: HEAD or a branch would be that one's then, an alternate would
 * have its objects, and all of it would be shipped. git makes one kind only, a reference that is a
 * link to another by name ("refs/...").
 */
#include "workspace/git_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define DEPTH_MAX 64

/* What says which commits and files are this repository's. */
static const char *const telling[] = {
	"HEAD", "index", "packed-refs", "refs", "reftable", "shallow"
};

/* A folder of the repository that is looked through. */
struct folder {
	const char *path;
	int fd;
	unsigned int depth;
	struct err *err; /* borrowed */
};

static bool is_reference(int folder_fd, const char *name)
{
	char target[PATH_MAX];
	const ssize_t n = readlinkat(folder_fd, name, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return str_starts(target, "refs/") && !strstr(target, "..");
}

/* git would wait in it for ever. */
static bool is_special(mode_t mode)
{
	return !S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode);
}

static int fail_special(const char *path, struct err *err)
{
	return err_set(err, ERR_INVALID, "'%s' is no file, but a FIFO, socket or device", path);
}

int git_check_kinds(const char *dir, struct err *err)
{
	static const char *const read[] = { "",
					    "HEAD",
					    "commondir",
					    "config",
					    "config.worktree",
					    "index",
					    "info/attributes",
					    "info/exclude",
					    "info/grafts",
					    "info/sparse-checkout",
					    "objects/info/alternates",
					    "packed-refs",
					    "shallow" };

	for (size_t i = 0; i < ARRAY_LEN(read); i++) {
		AUTO_FREE char *path = mem_printf("%s%s%s", dir, read[i][0] ? "/" : "", read[i]);
		struct stat status;

		if (stat(path, &status) == 0 && is_special(status.st_mode))
			return fail_special(path, err);
	}
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): to DEPTH_MAX */
static int check_entry(void *context, const char *name)
{
	const struct folder *folder = context;
	AUTO_FREE char *path = mem_printf("%s/%s", folder->path, name);
	AUTO_CLOSE int fd = -1;
	struct stat status;

	if (fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(folder->err, -errno, "look at '%s'", path);
	if (is_special(status.st_mode))
		return fail_special(path, folder->err);
	if (S_ISLNK(status.st_mode) && !is_reference(folder->fd, name))
		return err_set(folder->err, ERR_INVALID,
			       "'%s' is a link, and could be another repository's", path);
	if (!S_ISDIR(status.st_mode))
		return 0;
	if (folder->depth == DEPTH_MAX)
		return err_set(folder->err, ERR_LIMIT, "'%s' is over %d folders deep", path,
			       DEPTH_MAX);
	fd = dir_open_at(folder->fd, name);
	if (fd < 0)
		return fd == -ENOENT ? 0 : err_sys(folder->err, fd, "open '%s'", path);

	struct folder inner = {
		.path = path, .fd = fd, .depth = folder->depth + 1, .err = folder->err
	};
	const int r = dir_each(fd, check_entry, &inner);

	return r < 0 && folder->err->kind == ERR_NONE ? err_sys(folder->err, r, "read '%s'", path)
						      : r;
}

int git_check_links(const char *dir, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(dir);
	struct folder folder = { .path = dir, .fd = fd, .err = err };
	int r = 0;

	if (fd < 0)
		return err_sys(err, fd, "open '%s'", dir);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(telling); i++)
		r = check_entry(&folder, telling[i]);
	return r;
}
