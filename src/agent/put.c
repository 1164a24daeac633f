#include "agent/files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/root.h"
#include "agent/stage.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

/* A folder whose mode and times are set when nothing is written into it any more. */
struct put_folder {
	char *path; /* owned */
	mode_t mode;
	struct timespec times[2];
};

struct put {
	struct conn *conn; /* borrowed */
	struct wire_reader *reader;
	int top;    /* owned: the target folder, or its stage */
	int target; /* owned: the target folder of a staged put; -1: it goes there at once */
	int parent; /* owned: the folder of the last entry, which most often is the next one's */
	char *parent_path;	    /* owned */
	struct put_folder *folders; /* owned */
	size_t folder_count;
	size_t folder_room;
	uint64_t entries;
	uint64_t bytes;
	char temporary[32]; /* the name under which an entry is written before it is renamed */
	bool has_ended;	    /* END has come */
	struct err *stream; /* borrowed: what went wrong with the stream below libarchive */
};

bool files_clean_name(struct span name, struct buf *ret)
{
	const size_t before = ret->len;

	if (name.len == 0 || name.len >= PATH_MAX || name.ptr[0] == '/')
		return false;
	while (name.len > 0) {
		const uint8_t *slash = memchr(name.ptr, '/', name.len);
		const size_t len = slash ? (size_t)(slash - name.ptr) : name.len;
		const struct span part = span_of(name.ptr, len);

		name = span_skip(name, slash ? len + 1 : len);
		if (len == 0 || span_eq(part, span_str(".")))
			continue;
		if (len > NAME_MAX || span_eq(part, span_str("..")) || memchr(part.ptr, 0, len)) {
			buf_truncate(ret, before);
			return false;
		}
		if (ret->len > before)
			buf_add_byte(ret, '/');
		buf_add(ret, part);
	}
	return true;
}

/* libarchive's source: the payload of one DATA frame after the other. */
static la_ssize_t read_stream(struct archive *archive, void *context, const void **ret)
{
	struct put *put = context;
	struct wire_frame frame;
	int r;

	if (put->has_ended)
		return 0;
	r = conn_read_frame(put->conn, put->reader, &frame, put->stream);
	if (r == 0)
		r = err_set(put->stream, ERR_PROTOCOL, "the stream ended before END");
	else if (r > 0 && frame.type != WIRE_DATA && frame.type != WIRE_END)
		r = err_set(put->stream, ERR_PROTOCOL, "%s is not for a put",
			    wire_type_name(frame.type));
	if (r < 0) {
		archive_set_error(archive, EIO, "stream");
		return -1;
	}
	put->has_ended = frame.type == WIRE_END;
	*ret = frame.payload.ptr;
	return (la_ssize_t)frame.payload.len;
}

/* The folder that `path` is in, and its last component. */
static int open_parent(struct put *put, const char *path, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("");

	*ret_name = slash ? slash + 1 : path;
	if (put->parent >= 0 && str_eq(parent, put->parent_path)) {
		mem_free(parent);
	} else {
		mem_free(put->parent_path);
		put->parent_path = parent;
		fd_assign(&put->parent,
			  root_open_beneath(put->top, slash ? parent : ".", slash != NULL));
	}
	if (put->parent < 0)
		return put->parent;
	*ret_fd = put->parent;
	return 0;
}

static struct timespec modified_at(struct archive_entry *entry)
{
	if (!archive_entry_mtime_is_set(entry))
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = archive_entry_mtime(entry),
				  .tv_nsec = archive_entry_mtime_nsec(entry) };
}

/* What a file system or a user that is not root cannot have is left out, as tar does. */
static bool is_beyond_us(int errnum)
{
	return errnum == EOPNOTSUPP || (errnum == EPERM && geteuid() != 0);
}

static int set_owner(int folder, const char *name, struct archive_entry *entry)
{
	if (fchownat(folder, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry),
		     AT_SYMLINK_NOFOLLOW) < 0)
		return is_beyond_us(errno) ? 0 : -errno;
	return 0;
}

/* By the path of the descriptor: there is no *at() form, and links must not be followed. */
static int set_xattrs(int folder, const char *name, struct archive_entry *entry)
{
	AUTO_FREE char *path = NULL;
	const char *key;
	const void *value;
	size_t size;

	if (archive_entry_xattr_reset(entry) == 0)
		return 0;
	path = mem_printf("/proc/self/fd/%d/%s", folder, name);
	while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
		if (lsetxattr(path, key, value, size, 0) < 0 && errno != EOPNOTSUPP &&
		    errno != EPERM)
			return -errno;
	}
	return 0;
}

static int set_times(int folder, const char *name, struct archive_entry *entry)
{
	const struct timespec modified = modified_at(entry);
	const struct timespec times[2] = { modified, modified };

	return utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Owner first: changing it takes setuid and capabilities away. */
static int set_attributes(int folder, const char *name, struct archive_entry *entry)
{
	int r = set_owner(folder, name, entry);

	if (r == 0 && archive_entry_filetype(entry) != AE_IFLNK &&
	    fchmodat(folder, name, archive_entry_perm(entry), 0) < 0)
		r = -errno;
	if (r == 0)
		r = set_xattrs(folder, name, entry);
	return r == 0 ? set_times(folder, name, entry) : r;
}

static int write_content(struct put *put, struct archive *archive, struct archive_entry *entry,
			 int fd)
{
	const void *block;
	size_t size;
	la_int64_t offset;
	int r;

	while ((r = archive_read_data_block(archive, &block, &size, &offset)) == ARCHIVE_OK) {
		const int written = fd_pwrite_all(fd, span_of(block, size), (uint64_t)offset);

		if (written < 0)
			return written;
	}
	if (r != ARCHIVE_EOF)
		return -EBADMSG;
	put->bytes += (uint64_t)archive_entry_size(entry);
	/* A hole at the end has no block. */
	return ftruncate(fd, archive_entry_size(entry)) < 0 ? -errno : 0;
}

static int put_file(struct put *put, struct archive *archive, struct archive_entry *entry,
		    int folder)
{
	AUTO_CLOSE int fd = -1;
	int r;

	(void)unlinkat(folder, put->temporary, 0); /* what a put that was cut off left */
	fd = openat(folder, put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	r = write_content(put, archive, entry, fd);
	return r == 0 ? set_attributes(folder, put->temporary, entry) : r;
}

static int put_link(struct put *put, struct archive_entry *entry, int folder)
{
	AUTO_BUF target = BUF_INIT;
	AUTO_CLOSE int target_folder = -1;
	const char *name, *slash;

	if (!files_clean_name(span_str(archive_entry_hardlink(entry)), &target) || target.len == 0)
		return -EXDEV;
	slash = strrchr(target.ptr, '/');
	name = slash ? slash + 1 : target.ptr;
	if (slash)
		target.ptr[slash - target.ptr] = '\0';
	target_folder = root_open_beneath(put->top, slash ? target.ptr : ".", false);
	if (target_folder < 0)
		return target_folder;
	(void)unlinkat(folder, put->temporary, 0);
	return linkat(target_folder, name, folder, put->temporary, 0) < 0 ? -errno : 0;
}

static int put_special(struct put *put, struct archive_entry *entry, int folder)
{
	const mode_t type = archive_entry_filetype(entry);
	int r = -EINVAL;

	(void)unlinkat(folder, put->temporary, 0);
	if (type == AE_IFLNK)
		r = symlinkat(archive_entry_symlink(entry), folder, put->temporary);
	else if (type == AE_IFIFO || type == AE_IFCHR || type == AE_IFBLK)
		r = mknodat(folder, put->temporary, type | 0600, archive_entry_rdev(entry));
	else
		return -EINVAL;
	if (r < 0)
		return -errno;
	return set_attributes(folder, put->temporary, entry);
}

static int put_folder(struct put *put, struct archive_entry *entry, const char *path, int folder,
		      const char *name)
{
	struct put_folder later = { .mode = archive_entry_perm(entry) };
	struct stat st;
	int r;

	if (put->folder_count == FILES_FOLDERS_MAX)
		return -EOVERFLOW;
	if (mkdirat(folder, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	/* What stands there may be a link to a folder: that link's target is not the stream's to
	 * change. */
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	r = set_owner(folder, name, entry);
	if (r == 0)
		r = set_xattrs(folder, name, entry);
	if (r < 0)
		return r;

	later.path = mem_strdup(path);
	later.times[0] = later.times[1] = modified_at(entry);
	if (put->folder_count == put->folder_room) {
		put->folder_room = put->folder_room ? 2 * put->folder_room : 64;
		put->folders = mem_grow(put->folders, put->folder_room, sizeof(*put->folders));
	}
	put->folders[put->folder_count++] = later;
	return 0;
}

static int put_at(struct put *put, struct archive *archive, struct archive_entry *entry,
		  const char *path)
{
	const char *name;
	int folder = -1;
	int r = open_parent(put, path, &folder, &name);

	if (r < 0)
		return r;
	if (archive_entry_hardlink(entry))
		r = put_link(put, entry, folder);
	else if (archive_entry_filetype(entry) == AE_IFDIR)
		return put_folder(put, entry, path, folder, name);
	else if (archive_entry_filetype(entry) == AE_IFREG)
		r = put_file(put, archive, entry, folder);
	else
		r = put_special(put, entry, folder);
	if (r == 0 && renameat(folder, put->temporary, folder, name) < 0)
		r = -errno;
	/* Also after success: renaming one hard link to another of the same file leaves both. */
	if (r < 0 || archive_entry_hardlink(entry))
		(void)unlinkat(folder, put->temporary, 0);
	return r;
}

static int put_entry(struct put *put, struct archive *archive, struct archive_entry *entry,
		     struct err *err)
{
	AUTO_BUF path = BUF_INIT;
	const char *name = archive_entry_pathname(entry);
	int r;

	if (!name || !files_clean_name(span_str(name), &path))
		return err_set(err, ERR_INVALID, "entry '%s': the name leaves the folder",
			       name ? name : "");
	put->entries++;
	/* The target itself is the caller's: ". with mode 0755" must not open up somebody's /root.
	 */
	if (path.len == 0)
		return 0;
	r = put_at(put, archive, entry, path.ptr);
	return r < 0 ? err_sys(err, r, "entry '%s'", name) : 0;
}

static int archive_failure(struct put *put, struct archive *archive, struct err *err)
{
	if (put->stream->kind != ERR_NONE) {
		*err = *put->stream;
		return -EPROTO;
	}
	return err_set(err, ERR_INVALID, "the tar stream is damaged: %s",
		       archive_error_string(archive));
}

static int put_entries(struct put *put, struct archive *archive, struct err *err)
{
	for (;;) {
		struct archive_entry *entry;
		int r = archive_read_next_header(archive, &entry);

		if (r == ARCHIVE_EOF)
			return 0;
		/* ARCHIVE_WARN: a name that is no UTF-8, which comes as the bytes that it is. */
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return archive_failure(put, archive, err);
		r = put_entry(put, archive, entry, err);
		if (r < 0 && put->stream->kind != ERR_NONE)
			*err = *put->stream;
		if (r < 0)
			return r;
	}
}

/* The deepest first, so that a folder may become read-only after what is in it. */
static int finish_folders(struct put *put, struct err *err)
{
	for (size_t i = put->folder_count; i > 0; i--) {
		const struct put_folder *folder = &put->folders[i - 1];
		AUTO_CLOSE int fd = root_open_beneath(put->top, folder->path, false);

		if (fd < 0)
			return err_sys(err, fd, "entry '%s'", folder->path);
		if (fchmod(fd, folder->mode) < 0 || futimens(fd, folder->times) < 0)
			return err_sys(err, -errno, "entry '%s'", folder->path);
	}
	return 0;
}

/* What follows the end of the archive (padding) is taken up to END. */
static int drain(struct put *put, struct archive *archive, struct err *err)
{
	const void *ignored;

	while (!put->has_ended) {
		if (read_stream(archive, put, &ignored) < 0)
			return archive_failure(put, archive, err);
	}
	return 0;
}

static int put_archive(struct put *put, struct err *err)
{
	struct archive *archive = archive_read_new();
	int r;

	if (!archive)
		return err_sys(err, -ENOMEM, "read the tar stream");
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(archive) != ARCHIVE_OK)
		r = err_set(err, ERR_UNSUPPORTED, "tar is not built in");
	else if (archive_read_open(archive, put, NULL, read_stream, NULL) != ARCHIVE_OK)
		r = archive_failure(put, archive, err);
	else
		r = put_entries(put, archive, err);
	if (r == 0)
		r = drain(put, archive, err);
	if (r == 0)
		r = finish_folders(put, err);
	(void)archive_read_free(archive);
	return r;
}

static void put_done(struct put *put)
{
	for (size_t i = 0; i < put->folder_count; i++)
		mem_free(put->folders[i].path);
	mem_free(put->folders);
	mem_free(put->parent_path);
	fd_close(put->parent);
	fd_close(put->top);
	if (put->target >= 0)
		stage_end(put->target);
	fd_close(put->target);
}

/* The folder that `path` names. A staged put trusts no link for it: the host means that very one.
 */
static int open_target(struct put *put, const struct request *request, struct err *err)
{
	int fd;

	if (!request->is_staged) {
		put->top = dir_open(request->path);
		return put->top < 0 ? err_sys(err, put->top, "open '%s'", request->path) : 0;
	}
	fd = dir_open_at(AT_FDCWD, request->path);
	if (fd < 0)
		return err_sys(err, fd, "open '%s'", request->path);
	put->target = fd;
	return stage_begin(put->target, &put->top, err);
}

static int send_summary(struct conn *conn, const struct put *put, struct err *err)
{
	AUTO_JSON *summary = json_new_object();
	AUTO_BUF text = BUF_INIT;

	json_put_u64(summary, "entries", put->entries);
	json_put_u64(summary, "bytes", put->bytes);
	json_write(summary, &text);
	return conn_send_frame(conn, WIRE_END, buf_span(&text), err);
}

int put_serve(struct conn *conn, const struct request *request, struct err *err)
{
	static struct wire_reader
		reader; /* too large for a stack frame; one request, one process */
	struct err stream = ERR_INIT;
	CLEANUP(put_done)
	struct put put = {
		.conn = conn,
		.reader = &reader,
		.top = -1,
		.target = -1,
		.parent = -1,
		.stream = &stream,
	};
	int r = dir_make_path(request->path, 0755);

	/* Two puts into one folder at a time must not meet. */
	(void)snprintf(put.temporary, sizeof(put.temporary), ".banger-put.%d", (int)getpid());
	if (r < 0)
		return err_sys(err, r, "make '%s'", request->path);
	r = open_target(&put, request, err);
	if (r == 0)
		r = conn_reply(conn, NULL, err);
	if (r < 0)
		return r;
	conn_begin_frames(conn, &reader);
	r = put_archive(&put, err);
	if (r == 0 && request->is_staged)
		r = stage_commit(put.target, put.top, err);
	/* Before the host hears that all is done. */
	if (put.target >= 0)
		stage_end(put.target);
	return r < 0 ? r : send_summary(conn, &put, err);
}
