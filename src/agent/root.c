#include "agent/root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

/* Without openat2() (before Linux 5.6): one component after the other, and links are refused. */
static int open_folder_stepwise(int root_fd, const char *path)
{
	AUTO_CLOSE int folder = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];

	if (folder < 0)
		return -errno;
	while (*path) {
		const size_t len = strcspn(path, "/");

		if (len >= sizeof(name))
			return -ENAMETOOLONG;
		if (len > 0) {
			memcpy(name, path, len);
			name[len] = '\0';
			if (strcmp(name, "..") == 0)
				return -EXDEV;

			const int next = dir_open_at(folder, name);

			if (next < 0)
				return next;
			fd_assign(&folder, next);
		}
		path += len + (path[len] == '/' ? 1 : 0);
	}
	return TAKE_FD(folder);
}

static int open_resolved(int root_fd, const char *path, uint64_t resolve)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	const long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	return errno == ENOSYS ? open_folder_stepwise(root_fd, path) : -errno;
}

static int open_folder(int root_fd, const char *path)
{
	return open_resolved(root_fd, path, RESOLVE_IN_ROOT);
}

/* Makes the last component of `path` inside its parent, which must be there. */
static int make_folder(int root_fd, const char *path, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char parent[PATH_MAX];
	const size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, len);
	parent[len] = '\0';

	AUTO_CLOSE int parent_fd = open_folder(root_fd, len > 0 ? parent : "/");

	if (parent_fd < 0)
		return parent_fd;
	if (mkdirat(parent_fd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	/* The umask may have taken bits away. */
	if (fchmodat(parent_fd, name, mode, 0) < 0)
		return -errno;
	return 0;
}

int root_open_folder(int root_fd, const char *path, mode_t mode)
{
	int r = open_folder(root_fd, path);

	if (r != -ENOENT || mode == 0)
		return r;
	r = make_folder(root_fd, path, mode);
	return r < 0 ? r : open_folder(root_fd, path);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as a path is, which has a limit */
int root_open_beneath(int top_fd, const char *path, bool is_made)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = NULL;
	AUTO_CLOSE int parent_fd = -1;
	const int r = open_resolved(top_fd, path, RESOLVE_BENEATH);

	if (r != -ENOENT || !is_made)
		return r;

	/* First what is above; as deep as a path can be, which is not very. */
	parent = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
	parent_fd = root_open_beneath(top_fd, parent, slash != NULL);
	if (parent_fd < 0)
		return parent_fd;
	if (mkdirat(parent_fd, slash ? slash + 1 : path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return open_resolved(top_fd, path, RESOLVE_BENEATH);
}

int root_read(int folder_fd, const char *name, struct buf *ret)
{
	struct stat st;

	/* A link may lead out of the root: what it shows is not read, only replaced. */
	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	return file_read(folder_fd, name, ROOT_FILE_MAX, ret);
}

static bool is_the_same(int folder_fd, const char *name, struct span content, mode_t mode)
{
	struct buf text = BUF_INIT;
	struct stat st;
	bool is_same = false;

	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    (st.st_mode & 07777) == mode && st.st_uid == geteuid() &&
	    st.st_size == (off_t)content.len && file_read(folder_fd, name, content.len, &text) == 0)
		is_same = span_eq(buf_span(&text), content);
	buf_done(&text);
	return is_same;
}

/* ext4 takes a rename over a file for the end of a careful change and writes out; an exchange not.
 */
static int put_in_place(int folder_fd, const char *temporary, const char *name, bool is_ours)
{
	if (is_ours && renameat2(folder_fd, temporary, folder_fd, name, RENAME_EXCHANGE) == 0)
		return unlinkat(folder_fd, temporary, 0) < 0 ? -errno : 0;
	/* There is no such file yet, or the file system cannot exchange. */
	return renameat(folder_fd, temporary, folder_fd, name) < 0 ? -errno : 0;
}

static int replace(int folder_fd, const char *name, struct span content, mode_t mode, bool is_ours)
{
	char temporary[NAME_MAX + 1];
	AUTO_CLOSE int fd = -1;
	int r;
	const int n = snprintf(temporary, sizeof(temporary), ".%s.banger", name);

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;
	if (is_the_same(folder_fd, name, content, mode))
		return 0;

	/* What lies there is what an earlier life of ours left. */
	(void)unlinkat(folder_fd, temporary, 0);
	fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;

	r = fd_write_all(fd, content);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0)
		r = put_in_place(folder_fd, temporary, name, is_ours);
	if (r < 0)
		(void)unlinkat(folder_fd, temporary, 0);
	return r;
}

int root_replace(int folder_fd, const char *name, struct span content, mode_t mode)
{
	return replace(folder_fd, name, content, mode, false);
}

int root_replace_ours(int folder_fd, const char *name, struct span content, mode_t mode)
{
	return replace(folder_fd, name, content, mode, true);
}
