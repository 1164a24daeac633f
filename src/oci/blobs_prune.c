/* Emptying the cache of blobs while others use it. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "oci/blobs_private.h"

/* Fetches that put a last blob into the folder that was renamed aside, prunes beside this one. */
#define REMOVE_TRIES 32

/* -ENOENT, also from reading a folder: somebody else prunes, too. */
static int unless_gone(int r)
{
	return r == -ENOENT ? 0 : r;
}

struct pruning {
	int dir_fd; /* borrowed: the folder being looked through */
	bool dry_run;
	struct oci_blobs_usage *usage;
};

static void count(struct oci_blobs_usage *usage, const struct stat *status)
{
	usage->files++;
	usage->bytes += (uint64_t)status->st_blocks * 512;
}

static int count_file(void *context, const char *name)
{
	const struct pruning *pruning = context;
	struct stat status;

	if (fstatat(pruning->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(status.st_mode))
		count(pruning->usage, &status);
	return 0;
}

/* A folder of one algorithm's blobs. */
static int count_folder(void *context, const char *name)
{
	const struct pruning *outer = context;
	AUTO_CLOSE int fd = dir_open_at(outer->dir_fd, name);
	struct pruning inner = { .dir_fd = fd, .usage = outer->usage };

	return fd < 0 ? 0 : unless_gone(dir_each(fd, count_file, &inner));
}

static int remove_folder(int dir_fd, const char *name)
{
	int r = -ENOTEMPTY;

	for (unsigned int i = 0; (r == -ENOTEMPTY || r == -ENOENT) && i < REMOVE_TRIES; i++)
		r = dir_remove_tree(dir_fd, name);
	return r;
}

/* The folder of blobs, and those that earlier prunes did not get to delete. */
static int prune_folder(void *context, const char *name)
{
	const struct pruning *outer = context;
	const bool is_aside = str_starts(name, BLOBS_OLD_BEGIN);
	struct pruning inner;
	int fd, r;

	if (!is_aside && !(outer->dry_run && str_eq(name, BLOBS_FOLDER)))
		return 0;
	fd = dir_open_at(outer->dir_fd, name);
	if (fd < 0)
		return unless_gone(fd);
	inner = (struct pruning){ .dir_fd = fd, .usage = outer->usage };
	r = unless_gone(dir_each(fd, count_folder, &inner));
	fd_close(fd);
	if (r == 0 && !outer->dry_run)
		r = remove_folder(outer->dir_fd, name);
	return r;
}

/* Who fetches into it has it locked. */
static int prune_partial(void *context, const char *name)
{
	const struct pruning *pruning = context;
	AUTO_CLOSE int fd =
		openat(pruning->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status, by_name;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	/* Finished, and so renamed, since it was opened: what has its name now is another's. */
	if (fstatat(pruning->dir_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) < 0 ||
	    by_name.st_ino != status.st_ino)
		return 0;
	count(pruning->usage, &status);
	if (!pruning->dry_run && unlinkat(pruning->dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int prune_partials(const struct pruning *pruning)
{
	AUTO_CLOSE int fd = dir_open_at(pruning->dir_fd, PARTIAL_FOLDER);
	struct pruning inner = *pruning;

	inner.dir_fd = fd;
	if (fd < 0)
		return unless_gone(fd);
	return unless_gone(dir_each(fd, prune_partial, &inner));
}

/* After this nobody finds the blobs any more; who has one keeps it. */
static int rename_aside(int dir_fd)
{
	char aside[sizeof(BLOBS_OLD_BEGIN) + 64];

	(void)snprintf(aside, sizeof(aside), BLOBS_OLD_BEGIN "%ld-%" PRIu64, (long)getpid(),
		       clock_now_ns());
	if (renameat(dir_fd, BLOBS_FOLDER, dir_fd, aside) < 0)
		return unless_gone(-errno);
	failpoint("oci.prune.renamed");
	return 0;
}

int oci_blobs_prune(struct oci_blobs *blobs, bool dry_run, struct oci_blobs_usage *ret,
		    struct err *err)
{
	AUTO_CLOSE int fd = dir_open(blobs->dir);
	struct oci_blobs_usage usage = { .files = 0 };
	struct pruning pruning = { .dir_fd = fd, .dry_run = dry_run, .usage = &usage };
	int r = fd;

	if (fd == -ENOENT) {
		*ret = usage;
		return 0;
	}
	if (fd >= 0)
		r = dry_run ? 0 : rename_aside(fd);
	if (r >= 0)
		r = dir_each(fd, prune_folder, &pruning);
	if (r >= 0)
		r = prune_partials(&pruning);
	if (r < 0)
		return err_sys(err, r, "prune the cache '%s'", blobs->dir);
	*ret = usage;
	return 0;
}
