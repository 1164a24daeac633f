#include "agent/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/root.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

struct stage {
	int top_fd;	 /* borrowed */
	bool is_moving;	 /* else it only looks whether everything could be moved */
	struct err *err; /* borrowed */
};

/* One folder of the stage and where it goes, below the top. */
struct stage_folder {
	const struct stage *stage;
	const char *path;
	size_t depth;
	int from_fd;
	int to_fd;
};

static char *own_name(void)
{
	return mem_printf("%s%d", STAGE_PREFIX, (int)getpid());
}

/* What belongs to a process that lives is left alone: it may be of another put. */
static int remove_orphan(void *context, const char *name)
{
	const int *top_fd = context;
	uint64_t pid;

	if (!str_starts(name, STAGE_PREFIX) ||
	    !parse_u64_text(name + strlen(STAGE_PREFIX), INT32_MAX, &pid) || pid == 0)
		return 0;
	if ((pid_t)pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))
		return 0;
	return dir_remove_tree(*top_fd, name);
}

int stage_begin(int top_fd, int *ret_fd, struct err *err)
{
	AUTO_FREE char *name = own_name();
	int fd;
	int r = dir_each(top_fd, remove_orphan, &top_fd);

	if (r == 0 && mkdirat(top_fd, name, 0700) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, r, "make a folder for what comes");
	fd = dir_open_at(top_fd, name);
	if (fd < 0)
		return err_sys(err, fd, "open the folder for what comes");
	*ret_fd = fd;
	return 0;
}

void stage_end(int top_fd)
{
	AUTO_FREE char *name = own_name();

	/* What cannot be removed is removed by the next one. */
	IGNORE_RESULT(dir_remove_tree(top_fd, name));
}

static int move_children(const struct stage_folder *folder);

/* Mode, owner and times, for a folder that was not there: they are those of the one that came. */
static int copy_attributes(int from_fd, int to_fd)
{
	struct stat st;

	if (fstat(from_fd, &st) < 0 || fchown(to_fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(to_fd, st.st_mode & 07777) < 0)
		return -errno;

	const struct timespec times[2] = { st.st_mtim, st.st_mtim };

	return futimens(to_fd, times) < 0 ? -errno : 0;
}

static bool is_missing(int folder_fd, const char *name)
{
	struct stat st;

	return fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as folders may be, which has a limit */
static int move_folder(const struct stage_folder *above, const char *name, const char *path)
{
	const struct stage *stage = above->stage;
	AUTO_CLOSE int from_fd = dir_open_at(above->from_fd, name);
	AUTO_CLOSE int to_fd = -1;
	bool is_new = false;
	int r;

	if (from_fd < 0)
		return err_sys(stage->err, from_fd, "open '%s'", path);
	if (above->depth == FILES_DEPTH_MAX)
		return err_set(stage->err, ERR_LIMIT, "'%s': over %d folders deep", path,
			       FILES_DEPTH_MAX);
	if (stage->is_moving) {
		is_new = mkdirat(above->to_fd, name, 0700) == 0;
		if (!is_new && errno != EEXIST)
			return err_sys(stage->err, -errno, "make '%s'", path);
	}
	to_fd = root_open_beneath(stage->top_fd, path, false);
	if (to_fd == -ENOENT && !stage->is_moving && is_missing(above->to_fd, name))
		return 0;
	if (to_fd < 0)
		return err_sys(stage->err, to_fd, "open the folder '%s'", path);

	const struct stage_folder folder = {
		.stage = stage,
		.path = path,
		.depth = above->depth + 1,
		.from_fd = from_fd,
		.to_fd = to_fd,
	};

	r = move_children(&folder);
	if (r == 0 && is_new) {
		r = copy_attributes(from_fd, to_fd);
		if (r < 0)
			return err_sys(stage->err, r, "set the mode of '%s'", path);
	}
	return r;
}

static int move_file(const struct stage_folder *folder, const char *name, const char *path)
{
	const struct stage *stage = folder->stage;
	struct stat st;

	if (stage->is_moving)
		return renameat(folder->from_fd, name, folder->to_fd, name) < 0
			       ? err_sys(stage->err, -errno, "move '%s' into place", path)
			       : 0;
	if (fstatat(folder->to_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return err_set(stage->err, ERR_EXISTS, "'%s' is a folder there", path);
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): see move_folder() */
static int move_one(void *context, const char *name)
{
	const struct stage_folder *folder = context;
	AUTO_FREE char *path =
		folder->path[0] ? mem_printf("%s/%s", folder->path, name) : mem_strdup(name);
	struct stat st;

	if (fstatat(folder->from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(folder->stage->err, -errno, "look at '%s'", path);
	return S_ISDIR(st.st_mode) ? move_folder(folder, name, path)
				   : move_file(folder, name, path);
}

/* NOLINTNEXTLINE(misc-no-recursion): see move_folder() */
static int move_children(const struct stage_folder *folder)
{
	struct stage_folder here = *folder;
	const int r = dir_each(folder->from_fd, move_one, &here);

	if (r < 0 && folder->stage->err->kind == ERR_NONE)
		return err_sys(folder->stage->err, r, "read '%s'", folder->path);
	return r;
}

int stage_commit(int top_fd, int stage_fd, struct err *err)
{
	int r = 0;

	for (int pass = 0; r == 0 && pass < 2; pass++) {
		const struct stage stage = { .top_fd = top_fd, .is_moving = pass == 1, .err = err };
		const struct stage_folder folder = {
			.stage = &stage,
			.path = "",
			.from_fd = stage_fd,
			.to_fd = top_fd,
		};

		r = move_children(&folder);
	}
	return r;
}
