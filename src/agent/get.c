#include "agent/files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#define READ_SIZE	(64UL * 1024)
#define LINK_TARGET_MAX 4096
#define XATTR_NAMES_MAX (64UL * 1024) /* the kernel's XATTR_LIST_MAX */
#define XATTR_VALUE_MAX (64UL * 1024) /* the kernel's XATTR_SIZE_MAX */

struct get {
	struct conn *conn;			  /* borrowed */
	struct archive *archive;		  /* owned */
	struct archive_entry_linkresolver *links; /* owned */
	uint64_t entries;
	uint64_t bytes;
	struct err *stream; /* borrowed: what went wrong with the stream below libarchive */
	uint8_t *block;	    /* owned, READ_SIZE */
};

/* libarchive's sink. */
static la_ssize_t write_stream(struct archive *archive, void *context, const void *bytes,
			       size_t size)
{
	struct get *get = context;
	const size_t taken = size < WIRE_PAYLOAD_MAX ? size : WIRE_PAYLOAD_MAX;

	if (conn_send_frame(get->conn, WIRE_DATA, span_of(bytes, taken), get->stream) < 0) {
		archive_set_error(archive, EPIPE, "stream");
		return -1;
	}
	return (la_ssize_t)taken;
}

static int archive_failure(struct get *get, struct err *err)
{
	if (get->stream->kind != ERR_NONE) {
		*err = *get->stream;
		return -EPIPE;
	}
	return err_set(err, ERR_SYSTEM, "write the tar stream: %s",
		       archive_error_string(get->archive));
}

static void add_xattr(struct archive_entry *entry, const char *path, const char *name)
{
	AUTO_FREE void *value = mem_alloc(1, XATTR_VALUE_MAX);
	const ssize_t size = lgetxattr(path, name, value, XATTR_VALUE_MAX);

	/* One that is gone since it was listed is none. */
	if (size >= 0)
		archive_entry_xattr_add_entry(entry, name, value, (size_t)size);
}

/* By the path of the descriptor: there is no *at() form, and links must not be followed. */
static void add_xattrs(struct archive_entry *entry, int folder, const char *name)
{
	AUTO_FREE char *path = mem_printf("/proc/self/fd/%d/%s", folder, name);
	AUTO_FREE char *names = NULL;
	const ssize_t needed = llistxattr(path, NULL, 0);
	ssize_t size;

	if (needed <= 0 || (size_t)needed > XATTR_NAMES_MAX)
		return;
	names = mem_alloc(1, (size_t)needed);
	size = llistxattr(path, names, (size_t)needed);
	for (ssize_t at = 0; at < size;) {
		const size_t len = strnlen(names + at, (size_t)(size - at));

		if (at + (ssize_t)len < size)
			add_xattr(entry, path, names + at);
		at += (ssize_t)len + 1;
	}
}

/* Holes stay holes. */
static void add_holes(struct archive_entry *entry, int fd, uint64_t size)
{
	off_t at = 0;

	while (at < (off_t)size) {
		const off_t data = lseek(fd, at, SEEK_DATA);
		const off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO && at > 0)
			return;
		if (data == 0 && hole >= (off_t)size)
			return; /* no hole at all */
		if (data < 0 || hole < 0)
			break;
		archive_entry_sparse_add_entry(entry, data, hole - data);
		at = hole;
	}
	/* Nothing but a hole is one run of no data; a file system that does not know is one of
	 * data. */
	if (at == 0 && errno == ENXIO)
		archive_entry_sparse_add_entry(entry, (la_int64_t)size, 0);
}

static int write_bytes(struct get *get, const uint8_t *bytes, size_t size, struct err *err)
{
	while (size > 0) {
		const la_ssize_t n = archive_write_data(get->archive, bytes, size);

		if (n <= 0)
			return archive_failure(get, err);
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

/* At most `size` bytes, as the header says; what a file has lost meanwhile is filled up with zeros.
 */
static int send_content(struct get *get, int fd, uint64_t size, struct err *err)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "read");
	while (size > 0) {
		const size_t wanted = size < READ_SIZE ? (size_t)size : READ_SIZE;
		const ssize_t n = fd_read_some(fd, get->block, wanted);

		if (n < 0)
			return err_sys(err, (int)n, "read");
		if (n == 0)
			return 0;

		const int r = write_bytes(get, get->block, (size_t)n, err);

		if (r < 0)
			return r;
		get->bytes += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

static int send_entry(struct get *get, struct archive_entry *entry, int content_fd, struct err *err)
{
	struct archive_entry *spare = NULL;
	const uint64_t size = (uint64_t)archive_entry_size(entry);

	/* The second name of a file becomes a hard link to the first, without content. */
	archive_entry_linkify(get->links, &entry, &spare);
	if (archive_write_header(get->archive, entry) < ARCHIVE_WARN)
		return archive_failure(get, err);
	get->entries++;
	if (content_fd < 0 || archive_entry_hardlink(entry))
		return 0;
	return send_content(get, content_fd, size, err);
}

static void entry_freep(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

static int send_link(struct get *get, struct archive_entry *entry, int folder, const char *name,
		     struct err *err)
{
	char target[LINK_TARGET_MAX + 1];
	const ssize_t n = readlinkat(folder, name, target, sizeof(target));

	if (n < 0)
		return err_sys(err, -errno, "read the link");
	if ((size_t)n == sizeof(target))
		return err_set(err, ERR_LIMIT, "the link's target is over %d bytes",
			       LINK_TARGET_MAX);
	target[n] = '\0';
	archive_entry_set_size(entry, 0);
	archive_entry_set_symlink(entry, target);
	return send_entry(get, entry, -1, err);
}

static int send_file(struct get *get, struct archive_entry *entry, int folder, const char *name,
		     struct err *err)
{
	AUTO_CLOSE int fd =
		openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "open");
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_BAD_STATE, "is no file any more");
	archive_entry_copy_stat(entry, &st);
	add_holes(entry, fd, (uint64_t)st.st_size);
	return send_entry(get, entry, fd, err);
}

struct walk {
	struct get *get;
	struct err *err;
	int folder;	  /* borrowed */
	const char *path; /* of the folder in the archive; "" at the top */
	const char *as;	  /* at the top: what the archive calls it, borrowed */
	size_t depth;
};

static int send_any(const struct walk *walk, const char *name);

static int visit(void *context, const char *name)
{
	return send_any(context, name);
}

static int send_folder(const struct walk *walk, struct archive_entry *entry, const char *name,
		       const char *path)
{
	AUTO_CLOSE int folder = dir_open_at(walk->folder, name);
	struct walk inner = *walk;
	int r;

	if (folder < 0)
		return err_sys(walk->err, folder, "'%s': open", path);
	if (walk->depth == FILES_DEPTH_MAX)
		return err_set(walk->err, ERR_LIMIT, "'%s': over %d folders deep", path,
			       FILES_DEPTH_MAX);
	archive_entry_set_size(entry, 0);
	r = send_entry(walk->get, entry, -1, walk->err);
	if (r < 0)
		return r;
	inner.folder = folder;
	inner.path = path;
	inner.depth = walk->depth + 1;
	walk->err->kind = ERR_NONE;
	r = dir_each(folder, visit, &inner);
	if (r < 0 && walk->err->kind == ERR_NONE)
		return err_sys(walk->err, r, "'%s': read", path);
	return r;
}

static int send_any(const struct walk *walk, const char *name)
{
	AUTO_FREE char *path =
		walk->path[0] ? mem_printf("%s/%s", walk->path, name) : mem_strdup(walk->as);
	CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
	struct stat st;
	int r;

	if (!entry)
		return err_sys(walk->err, -ENOMEM, "'%s'", path);
	if (fstatat(walk->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		/* Removed since the folder was listed; only the one asked for must be there. */
		if (errno == ENOENT && walk->depth > 0)
			return 0;
		return err_sys(walk->err, -errno, "'%s'", path);
	}
	/* Sockets, FIFOs and devices mean nothing on another machine. */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
		if (walk->depth > 0)
			return 0;
		return err_set(walk->err, ERR_INVALID, "'%s' is no file, link or folder", path);
	}
	archive_entry_set_pathname(entry, path);
	archive_entry_copy_stat(entry, &st);
	archive_entry_unset_atime(entry);
	archive_entry_unset_ctime(entry);
	add_xattrs(entry, walk->folder, name);
	if (S_ISDIR(st.st_mode))
		return send_folder(walk, entry, name, path);
	r = S_ISLNK(st.st_mode) ? send_link(walk->get, entry, walk->folder, name, walk->err)
				: send_file(walk->get, entry, walk->folder, name, walk->err);
	return r < 0 ? err_context(walk->err, r, "'%s'", path) : 0;
}

static int get_open(struct get *get, struct err *err)
{
	get->archive = archive_write_new();
	get->links = archive_entry_linkresolver_new();
	if (!get->archive || !get->links)
		return err_sys(err, -ENOMEM, "write the tar stream");
	/* BINARY: names are bytes and travel as they are, whatever they mean. */
	if (archive_write_set_format_pax(get->archive) != ARCHIVE_OK ||
	    archive_write_set_format_option(get->archive, "pax", "hdrcharset", "BINARY") !=
		    ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(get->archive, WIRE_PAYLOAD_MAX) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(get->archive, 1) != ARCHIVE_OK ||
	    archive_write_open(get->archive, get, NULL, write_stream, NULL) != ARCHIVE_OK)
		return archive_failure(get, err);
	archive_entry_linkresolver_set_strategy(get->links, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
	get->block = mem_alloc(1, READ_SIZE);
	return 0;
}

static void get_done(struct get *get)
{
	if (get->links)
		archive_entry_linkresolver_free(get->links);
	if (get->archive)
		(void)archive_write_free(get->archive);
	mem_freep(&get->block);
}

static int send_summary(struct get *get, struct err *err)
{
	AUTO_JSON *summary = json_new_object();
	AUTO_BUF text = BUF_INIT;

	json_put_u64(summary, "entries", get->entries);
	json_put_u64(summary, "bytes", get->bytes);
	json_write(summary, &text);
	return conn_send_frame(get->conn, WIRE_END, buf_span(&text), err);
}

/* `name` in `folder`, which the archive calls `as`. */
static int get_tree(struct get *get, int folder, const char *name, const char *as, struct err *err)
{
	const struct walk walk = { .get = get, .err = err, .folder = folder, .path = "", .as = as };
	int r = get_open(get, err);

	if (r == 0)
		r = send_any(&walk, name);
	if (r < 0 && get->stream->kind != ERR_NONE)
		*err = *get->stream;
	if (r < 0) {
		/* Without this, freeing the archive would send an end that looks complete. */
		(void)archive_write_fail(get->archive);
		return r;
	}
	if (archive_write_close(get->archive) != ARCHIVE_OK)
		return archive_failure(get, err);
	return send_summary(get, err);
}

static int fail_path(int r, const char *path, struct err *err)
{
	const int result = err_sys(err, r, "open '%s'", path);

	if (r == -ENOENT || r == -ENOTDIR)
		err->kind = ERR_NOT_FOUND;
	return result;
}

/* What a link of that name leads to, without links; -errno. */
static int follow(const char *path, char **ret)
{
	AUTO_FREE char *real = mem_alloc(1, PATH_MAX);

	if (!realpath(path, real))
		return -errno;
	*ret = TAKE_PTR(real);
	return 0;
}

int get_serve(struct conn *conn, const struct request *request, struct err *err)
{
	const char *as = strrchr(request->path, '/') + 1;
	AUTO_FREE char *real = NULL;
	AUTO_FREE char *above = NULL;
	const char *path = request->path;
	struct err stream = ERR_INIT;
	CLEANUP(get_done) struct get get = { .conn = conn, .stream = &stream };
	AUTO_CLOSE int folder = -1;
	const char *slash;
	struct stat st;
	int r;

	if (request->follows) {
		r = follow(request->path, &real);
		if (r < 0 || !real)
			return fail_path(r, request->path, err);
		path = real;
	}
	slash = strrchr(path, '/');
	if (slash[1] == '\0')
		return err_set(err, ERR_INVALID, "'%s' is the root folder", request->path);
	above = mem_strndup(path, (size_t)(slash - path));
	folder = dir_open(above[0] ? above : "/");
	r = folder;
	if (r >= 0 && fstatat(folder, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r < 0)
		return fail_path(r, request->path, err);
	r = conn_reply(conn, NULL, err);
	return r < 0 ? r : get_tree(&get, folder, slash + 1, as, err);
}

int look_serve(struct conn *conn, const struct request *request, struct err *err)
{
	json_t *answer;
	const char *type = "other";
	struct stat st;

	/* A link that leads to nothing is not nothing. */
	if (stat(request->path, &st) < 0 && (errno != ENOENT || lstat(request->path, &st) < 0))
		return fail_path(-errno, request->path, err);
	if (S_ISREG(st.st_mode))
		type = "file";
	else if (S_ISDIR(st.st_mode))
		type = "folder";
	answer = json_new_object();
	json_put_str(answer, "type", type);
	json_put_u64(answer, "size", (uint64_t)st.st_size);
	return conn_reply(conn, answer, err);
}
