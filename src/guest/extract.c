#include "guest/extract.h"

#include <archive.h>
#include <archive_entry.h>
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
#include "base/text.h"

#define PERMISSIONS   0777
#define FOLDER_ACCESS 0700 /* what we need of each folder to go on */

struct job {
	const struct extract *extract;
	struct archive *archive; /* owned */
	struct err *err;	 /* of the read callback; libarchive only knows that it failed */
	bool has_read_failed;
	struct guest_copied done;
};

static bool component_is_safe(const char *start, size_t len)
{
	const bool is_dot = len == 1 && start[0] == '.';
	const bool is_parent = len == 2 && start[0] == '.' && start[1] == '.';

	return len > 0 && len <= NAME_MAX && !is_dot && !is_parent;
}

bool extract_path_is_safe(const char *path, const char *wanted)
{
	const size_t wanted_len = strlen(wanted);
	size_t len = strlen(path);
	size_t depth = 0;

	if (len > GUEST_PATH_MAX)
		return false;
	if (len > 0 && path[len - 1] == '/')
		len--;
	if (len < wanted_len || memcmp(path, wanted, wanted_len) != 0 ||
	    (len > wanted_len && path[wanted_len] != '/'))
		return false;
	for (size_t start = 0; start <= len; depth++) {
		const char *slash = memchr(path + start, '/', len - start);
		const size_t end = slash ? (size_t)(slash - path) : len;

		if (!component_is_safe(path + start, end - start))
			return false;
		start = end + 1;
	}
	return depth <= GUEST_GET_DEPTH_MAX;
}

/* How deep below the top a path is: 0 for the top itself. A slash at the end is nothing. */
static size_t path_depth(const char *path)
{
	size_t depth = 0;

	for (; *path; path++)
		depth += *path == '/' && path[1] != '\0' ? 1 : 0;
	return depth;
}

bool extract_link_is_safe(const char *path, const char *target)
{
	const size_t depth = path_depth(path);
	size_t up_left = depth > 0 ? depth - 1 : 0;
	bool is_going_up = true;

	/* The top itself as a link leads out by its nature. */
	if (depth == 0 || target[0] == '/' || target[0] == '\0' || strlen(target) > GUEST_PATH_MAX)
		return false;
	while (*target) {
		const size_t len = strcspn(target, "/");
		const bool is_parent = len == 2 && target[0] == '.' && target[1] == '.';

		if (is_parent && (!is_going_up || up_left == 0))
			return false;
		if (is_parent)
			up_left--;
		else if (len > 0 && !(len == 1 && target[0] == '.'))
			is_going_up = false;
		target += len;
		target += *target == '/' ? 1 : 0;
	}
	return true;
}

static int refuse(struct job *job, const char *path, const char *why)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, span_str(path), 128);
	return err_set(job->err, ERR_PROTOCOL, "the agent sent the entry '%s', which %s", shown.ptr,
		       why);
}

static int fail_system(struct job *job, int r, const char *path)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, span_str(path), 128);
	return err_sys(job->err, r, "extract '%s'", shown.ptr);
}

/*
 * Opens the folder that an entry goes into; *ret_leaf is its last component in `path`. A parent
 * that did not come, is no folder or is a link makes the entry wrong.
 */
static int open_parent(struct job *job, char *path, const char **ret_leaf, int *ret_fd)
{
	const struct open_how how = {
		.flags = O_DIRECTORY | O_CLOEXEC | O_RDONLY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	char *slash = strrchr(path, '/');
	long fd;
	int r;

	*ret_leaf = slash ? slash + 1 : path;
	if (slash)
		*slash = '\0';
	fd = syscall(SYS_openat2, job->extract->dir_fd, slash ? path : ".", &how, sizeof(how));
	r = fd < 0 ? -errno : 0;
	if (slash)
		*slash = '/';
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV)
		return refuse(job, path, "is in no folder that it sent before");
	if (r < 0)
		return fail_system(job, r, path);
	*ret_fd = (int)fd;
	return 0;
}

static int fail_entry(struct job *job, int r, const char *path)
{
	return r == -EEXIST ? refuse(job, path, "came before") : fail_system(job, r, path);
}

static int check_size(struct job *job, const char *path, int64_t size)
{
	const uint64_t max = job->extract->bytes_max;

	if (size < 0)
		return refuse(job, path, "has a negative size");
	if (max > 0 && (uint64_t)size > max - job->done.bytes)
		return err_set(job->err, ERR_LIMIT, "the agent sent more than %llu bytes",
			       (unsigned long long)max);
	return 0;
}

static int archive_failure(struct job *job, const char *doing)
{
	if (job->has_read_failed)
		return err_negative(-EPROTO);
	return err_set(job->err, ERR_PROTOCOL, "%s: %s", doing, archive_error_string(job->archive));
}

/* Holes of sparse files stay holes: only what comes is written. */
static int write_content(struct job *job, int fd, const char *path, int64_t size)
{
	for (;;) {
		const void *bytes;
		size_t len;
		int64_t offset;
		const int status = archive_read_data_block(job->archive, &bytes, &len, &offset);
		int r;

		if (status == ARCHIVE_EOF)
			return ftruncate(fd, size) < 0 ? fail_system(job, -errno, path) : 0;
		if (status < ARCHIVE_WARN)
			return archive_failure(job, "read the agent's tar stream");
		if (offset < 0 || offset > size || len > (uint64_t)(size - offset))
			return refuse(job, path, "is longer than it says");
		r = fd_pwrite_all(fd, span_of(bytes, len), (uint64_t)offset);
		if (r < 0)
			return fail_system(job, r, path);
	}
}

static void entry_times(struct archive_entry *entry, struct timespec times[2])
{
	times[0] = (struct timespec){ .tv_nsec = UTIME_OMIT };
	times[1] = (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (archive_entry_mtime_is_set(entry)) {
		const long nsec = archive_entry_mtime_nsec(entry);

		times[1].tv_sec = archive_entry_mtime(entry);
		times[1].tv_nsec = nsec >= 0 && nsec < 1000000000 ? nsec : 0;
	}
}

static int extract_file(struct job *job, struct archive_entry *entry, const char *path, int dir_fd,
			const char *leaf)
{
	const int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
	struct timespec times[2];
	AUTO_CLOSE int fd = -1;
	int r;

	r = check_size(job, path, size);
	if (r < 0)
		return r;
	fd = openat(dir_fd, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_entry(job, -errno, path);
	r = write_content(job, fd, path, size);
	if (r < 0)
		return r;
	entry_times(entry, times);
	/* A time that this file system cannot hold is no reason to lose the file. */
	(void)futimens(fd, times);
	if (fchmod(fd, archive_entry_perm(entry) & PERMISSIONS) < 0)
		return fail_system(job, -errno, path);
	job->done.bytes += (uint64_t)size;
	return 0;
}

static int extract_folder(struct job *job, struct archive_entry *entry, const char *path,
			  int dir_fd, const char *leaf)
{
	const mode_t mode = (archive_entry_perm(entry) & PERMISSIONS) | FOLDER_ACCESS;

	if (mkdirat(dir_fd, leaf, FOLDER_ACCESS) < 0)
		return fail_entry(job, -errno, path);
	/* It is new, ours and no link; fchmodat() is spared the umask. */
	if (fchmodat(dir_fd, leaf, mode, 0) < 0)
		return fail_system(job, -errno, path);
	return 0;
}

static int extract_symlink(struct job *job, struct archive_entry *entry, const char *path,
			   int dir_fd, const char *leaf)
{
	const char *target = archive_entry_symlink(entry);
	struct timespec times[2];

	if (!target || !extract_link_is_safe(path, target)) {
		/* The one that was asked for cannot be left out. */
		if (!target || path_depth(path) == 0 || !job->extract->left_out)
			return refuse(job, path, "is a link that leads out");
		job->extract->left_out(job->extract->left_out_context, path, target);
		return 0;
	}
	if (symlinkat(target, dir_fd, leaf) < 0)
		return fail_entry(job, -errno, path);
	entry_times(entry, times);
	(void)utimensat(dir_fd, leaf, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int extract_hardlink(struct job *job, const char *target, const char *path, int dir_fd,
			    const char *leaf)
{
	AUTO_FREE char *copy = mem_strdup(target);
	AUTO_CLOSE int target_fd = -1;
	const char *target_leaf;
	struct stat status;
	int r;

	if (!extract_path_is_safe(copy, job->extract->wanted))
		return refuse(job, path, "is a link that leads out");
	r = open_parent(job, copy, &target_leaf, &target_fd);
	if (r < 0)
		return r;
	if (fstatat(target_fd, target_leaf, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(status.st_mode))
		return refuse(job, path, "is a hard link to no file that it sent before");
	if (linkat(target_fd, target_leaf, dir_fd, leaf, 0) < 0)
		return fail_entry(job, -errno, path);
	return 0;
}

static int extract_into(struct job *job, struct archive_entry *entry, const char *path, int dir_fd,
			const char *leaf)
{
	const char *hardlink = archive_entry_hardlink(entry);

	if (hardlink)
		return extract_hardlink(job, hardlink, path, dir_fd, leaf);
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		return extract_file(job, entry, path, dir_fd, leaf);
	case AE_IFDIR:
		return extract_folder(job, entry, path, dir_fd, leaf);
	case AE_IFLNK:
		return extract_symlink(job, entry, path, dir_fd, leaf);
	default: /* libarchive's numbers, not an enum of ours */
		return refuse(job, path, "is no file, folder or link");
	}
}

static int extract_entry(struct job *job, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int dir_fd = -1;
	const char *leaf;
	size_t len;
	int r;

	if (!name)
		name = archive_entry_pathname_utf8(entry);
	if (!name || !extract_path_is_safe(name, job->extract->wanted))
		return refuse(job, name ? name : "", "was not asked for");
	if (job->done.entries == GUEST_GET_ENTRIES_MAX)
		return err_set(job->err, ERR_LIMIT, "the agent sent more than %d entries",
			       GUEST_GET_ENTRIES_MAX);
	path = mem_strdup(name);
	len = strlen(path);
	if (path[len - 1] == '/')
		path[len - 1] = '\0';
	r = open_parent(job, path, &leaf, &dir_fd);
	if (r == 0)
		r = extract_into(job, entry, path, dir_fd, leaf);
	if (r < 0)
		return r;
	job->done.entries++;
	return 0;
}

static la_ssize_t read_stream(struct archive *archive, void *context, const void **ret)
{
	struct job *job = context;
	struct span bytes = span_of(NULL, 0);

	if (job->extract->read(job->extract->context, &bytes, job->err) < 0) {
		job->has_read_failed = true;
		archive_set_error(archive, EIO, "the stream broke off");
		return -1;
	}
	*ret = bytes.ptr;
	return (la_ssize_t)bytes.len;
}

static int open_archive(struct job *job)
{
	struct archive *archive = archive_read_new();

	job->archive = archive;
	if (!archive)
		return err_set(job->err, ERR_LIMIT, "no memory to read a tar stream");
	if (archive_read_support_filter_none(archive) < ARCHIVE_WARN ||
	    archive_read_support_format_tar(archive) < ARCHIVE_WARN ||
	    archive_read_support_format_empty(archive) < ARCHIVE_WARN ||
	    archive_read_open(archive, job, NULL, read_stream, NULL) < ARCHIVE_WARN)
		return archive_failure(job, "read the agent's tar stream");
	return 0;
}

static int extract_all(struct job *job)
{
	for (;;) {
		struct archive_entry *entry;
		const int status = archive_read_next_header(job->archive, &entry);
		int r;

		if (status == ARCHIVE_EOF)
			return 0;
		if (status < ARCHIVE_WARN)
			return archive_failure(job, "read the agent's tar stream");
		r = extract_entry(job, entry);
		if (r < 0)
			return r;
	}
}

int extract_tar(const struct extract *extract, struct guest_copied *ret, struct err *err)
{
	struct job job = { .extract = extract, .err = err };
	int r;

	r = open_archive(&job);
	if (r == 0)
		r = extract_all(&job);
	/* It frees what a half-read archive holds; nothing can fail that matters here. */
	(void)archive_read_free(job.archive);
	if (r < 0)
		return r;
	*ret = job.done;
	return 0;
}
