#include "config/exposed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#define DEPTH_MAX 8 /* ours has four: vms/ID/snapshots/ID/memory */

struct walk {
	int (*visit)(void *context, const char *path, mode_t mode);
	void *context;
	const char *path; /* borrowed, as the next: of the folder that is looked at */
	int dir_fd;
	unsigned depth;
};

static int look_at(void *context, const char *name);

static int judge(const struct walk *walk, const char *path, const struct stat *status)
{
	if ((status->st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return 0;
	return walk->visit(walk->context, path, status->st_mode);
}

static int look_into(const struct walk *walk, const char *path, int fd)
{
	struct walk inner = *walk;

	if (walk->depth == DEPTH_MAX)
		return 0;
	inner.path = path;
	inner.dir_fd = fd;
	inner.depth++;
	return dir_each(fd, look_at, &inner);
}

static int look_at(void *context, const char *name)
{
	const struct walk *walk = context;
	AUTO_FREE char *path = mem_printf("%s/%s", walk->path, name);
	AUTO_CLOSE int fd = -1;
	struct stat status;
	int r;

	if (fstatat(walk->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(status.st_mode))
		return judge(walk, path, &status);
	if (!S_ISDIR(status.st_mode))
		return 0;
	r = judge(walk, path, &status);
	if (r < 0)
		return r;
	fd = dir_open_at(walk->dir_fd, name);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return look_into(walk, path, fd);
}

/* One that is a link, to a larger disk for instance, is followed. */
static int look_below(const struct walk *walk, const char *state_dir, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", state_dir, name);
	AUTO_CLOSE int fd = dir_open(path);
	struct stat status;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	r = judge(walk, path, &status);
	return r < 0 ? r : look_into(walk, path, fd);
}

int exposed_each(const char *state_dir, int (*visit)(void *context, const char *path, mode_t mode),
		 void *context)
{
	const struct walk walk = { .visit = visit, .context = context, .dir_fd = -1 };
	const int r = look_below(&walk, state_dir, "vms");

	return r < 0 ? r : look_below(&walk, state_dir, "templates");
}
