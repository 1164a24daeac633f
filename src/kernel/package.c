#include "kernel/package.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "kernel/extract.h"

#define PIECE_SIZE ((size_t)128 * 1024)

enum member_kind {
	MEMBER_OTHER,
	MEMBER_VMLINUZ,
	MEMBER_MODULE,
	MEMBER_LIST,
};

struct member {
	enum member_kind kind;
	struct span release; /* borrowed from the path */
	const char *path;    /* below lib/modules/RELEASE/; borrowed from the path */
};

struct reader {
	const struct package_source *source; /* borrowed */
	struct archive *archive;	     /* owned */
	uint8_t *piece;			     /* owned */
	struct err
		source_err; /* the source's own error; libarchive only knows that there was one */
};

void package_done(struct package *package)
{
	module_set_free(package->modules);
	package->modules = NULL;
}

/* --- Reading the tar --- */

static la_ssize_t read_piece(struct archive *archive, void *context, const void **ret_bytes)
{
	struct reader *reader = context;
	const ssize_t n = reader->source->read(reader->source->context, reader->piece, PIECE_SIZE,
					       &reader->source_err);

	*ret_bytes = reader->piece;
	if (n >= 0)
		return n;
	archive_set_error(archive, EIO, "%s", "its source failed");
	return -1;
}

static void reader_done(struct reader *reader)
{
	if (reader->archive)
		(void)archive_read_free(reader->archive);
	mem_free(reader->piece);
}

static int archive_failed(const struct reader *reader, struct err *err)
{
	const char *why = archive_error_string(reader->archive);

	if (reader->source_err.kind != ERR_NONE) {
		*err = reader->source_err;
		return err_negative(-EIO);
	}
	return err_set(err, ERR_INVALID, "the package's tar is damaged: %s", why ? why : "unknown");
}

static int reader_open(struct reader *reader, struct err *err)
{
	reader->piece = mem_alloc(1, PIECE_SIZE);
	reader->archive = archive_read_new();
	if (!reader->archive)
		return err_sys(err, -ENOMEM, "read the package's tar");
	if (archive_read_support_format_tar(reader->archive) != ARCHIVE_OK ||
	    archive_read_open(reader->archive, reader, NULL, read_piece, NULL) != ARCHIVE_OK)
		return archive_failed(reader, err);
	return 0;
}

static int read_content(struct reader *reader, const char *path, uint64_t size_max,
			struct buf *into, struct err *err)
{
	for (;;) {
		la_ssize_t n;

		buf_reserve(into, PIECE_SIZE);
		n = archive_read_data(reader->archive, into->ptr + into->len, PIECE_SIZE);
		if (n < 0)
			return archive_failed(reader, err);
		if (n == 0)
			return 0;
		buf_advance(into, (size_t)n);
		if (into->len > size_max)
			return err_set(err, ERR_LIMIT,
				       "'%s' in the package is larger than %llu bytes", path,
				       (unsigned long long)size_max);
	}
}

/* --- Which members are taken --- */

static bool is_tame_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || (byte != '\0' && strchr("._+-,~", byte));
}

/* One or more components of tame bytes, none of them "." or "..". */
static bool is_tame_path(const char *path)
{
	size_t depth = 0;

	if (strnlen(path, PACKAGE_PATH_MAX + 1) > PACKAGE_PATH_MAX)
		return false;
	for (;;) {
		size_t len = 0;

		while (is_tame_byte(path[len]))
			len++;
		if (len == 0 || (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (++depth > PACKAGE_DEPTH_MAX || (path[len] != '/' && path[len] != '\0'))
			return false;
		if (path[len] == '\0')
			return true;
		path += len + 1;
	}
}

static bool is_list(const char *path)
{
	static const char *const names[] = {
		"modules.builtin",
		"modules.builtin.modinfo",
		"modules.order",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(path, names[i]))
			return true;
	return false;
}

static struct member classify(const char *path)
{
	struct span rest = span_str(path);
	struct member member = { .kind = MEMBER_OTHER };
	char name[MODULE_NAME_MAX + 1];

	while (parse_literal(&rest, "./"))
		;
	if (parse_literal(&rest, "boot/vmlinuz-")) {
		member.kind = MEMBER_VMLINUZ;
		member.release = rest;
		return member;
	}
	(void)!parse_literal(&rest, "usr/");
	if (!parse_literal(&rest, "lib/modules/") || !parse_until(&rest, '/', &member.release))
		return member;
	member.path = (const char *)rest.ptr; /* terminated, as the whole path is */
	if (is_list(member.path))
		member.kind = MEMBER_LIST;
	else if (module_name_of_path(member.path, name))
		member.kind = MEMBER_MODULE;
	return member;
}

/* Whether a wanted member may be taken as it is. */
static int check_member(struct archive_entry *entry, const char *path, const struct member *member,
			struct package *package, struct err *err)
{
	const size_t len = member->release.len;
	char release[KERNEL_RELEASE_MAX + 1];

	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return err_set(err, ERR_INVALID, "'%s' in the package is no regular file", path);
	if (len == 0 || len > KERNEL_RELEASE_MAX || (member->path && !is_tame_path(member->path)))
		return err_set(err, ERR_INVALID, "the package has a strange path: '%s'", path);
	memcpy(release, member->release.ptr, len);
	release[len] = '\0';
	if (!is_tame_path(release) || strchr(release, '/'))
		return err_set(err, ERR_INVALID, "the package has a strange path: '%s'", path);

	if (package->release[0] == '\0')
		memcpy(package->release, release, len + 1);
	if (!str_eq(package->release, release))
		return err_set(err, ERR_INVALID, "the package has two kernels: '%s' and '%s'",
			       package->release, release);
	return 0;
}

/* --- Writing --- */

/* Opens the folder of `path` below `dir_fd`, making what is missing, and gives its last part. */
static int open_parent(int dir_fd, const char *path, int *ret_fd, const char **ret_name)
{
	AUTO_CLOSE int fd = dir_open_at(dir_fd, ".");
	const char *slash;

	if (fd < 0)
		return fd;
	while ((slash = strchr(path, '/')) != NULL) {
		AUTO_FREE char *part = mem_strndup(path, (size_t)(slash - path));
		int next;

		if (mkdirat(fd, part, 0700) < 0 && errno != EEXIST)
			return -errno;
		next = dir_open_at(fd, part);
		if (next < 0)
			return next;
		fd_assign(&fd, next);
		path = slash + 1;
	}
	*ret_fd = TAKE_FD(fd);
	*ret_name = path;
	return 0;
}

int package_create_file(int dir_fd, const char *path, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int parent_fd = -1;
	const char *name = path;
	int fd, r;

	r = open_parent(dir_fd, path, &parent_fd, &name);
	if (r < 0)
		return err_sys(err, r, "make the folder of '%s'", path);
	fd = openat(parent_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST)
		return err_set(err, ERR_INVALID, "the package has '%s' twice", path);
	if (fd < 0)
		return err_sys(err, -errno, "make '%s'", path);
	*ret_fd = fd;
	return 0;
}

int package_write_file(int dir_fd, const char *path, struct span content, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = package_create_file(dir_fd, path, &fd, err);
	if (r < 0)
		return r;
	r = fd_write_all(fd, content);
	return r < 0 ? err_sys(err, r, "write '%s'", path) : 0;
}

static int add_bytes(void *context, struct span bytes, struct err *err)
{
	struct buf *into = context;

	(void)err;
	buf_add(into, bytes);
	return 0;
}

int module_uncompress(struct span file, struct buf *into, struct err *err)
{
	const struct kernel_sink sink = {
		.write = add_bytes,
		.context = into,
		.size_max = MODULE_SIZE_MAX,
	};

	if (kernel_compression_of(file) != KERNEL_COMPRESSION_NONE)
		return kernel_uncompress(file, &sink, err);
	buf_add(into, file);
	return 0;
}

static int add_module(struct package *package, const char *path, struct span file, struct err *err)
{
	CLEANUP(modinfo_done) struct modinfo info = { .name = "" };
	AUTO_BUF ko = BUF_INIT;
	int r;

	r = module_uncompress(file, &ko, err);
	if (r == 0)
		r = modinfo_read(buf_span(&ko), &info, err);
	if (r < 0)
		return err_context(err, r, "'%s'", path);
	return module_set_add(package->modules, path, &info.depends, err);
}

int package_take_module(struct package *package, const char *path, struct span bytes,
			struct err *err)
{
	package->modules_bytes += bytes.len;
	if (package->modules_bytes > PACKAGE_MODULES_MAX)
		return err_set(err, ERR_LIMIT, "the kernel's modules have more than %llu bytes",
			       (unsigned long long)PACKAGE_MODULES_MAX);
	if (str_eq(path, "modules.builtin"))
		return module_set_add_builtin(package->modules, bytes, err);
	return is_list(path) ? 0 : add_module(package, path, bytes, err);
}

bool package_wants_module(const char *path, uint64_t *ret_size_max)
{
	char name[MODULE_NAME_MAX + 1];

	if (!is_tame_path(path))
		return false;
	*ret_size_max = is_list(path) ? PACKAGE_LIST_MAX : MODULE_SIZE_MAX;
	return is_list(path) || module_name_of_path(path, name);
}

static int take_member(struct reader *reader, const struct member *member, int staging_fd,
		       struct package *package, struct err *err)
{
	AUTO_FREE char *target = NULL;
	AUTO_BUF content = BUF_INIT;
	const bool is_list_file = member->kind == MEMBER_LIST;
	int r;

	if (member->kind == MEMBER_VMLINUZ) {
		r = read_content(reader, "vmlinuz", PACKAGE_VMLINUZ_MAX, &content, err);
		return r < 0 ? r
			     : package_write_file(staging_fd, "vmlinuz", buf_span(&content), err);
	}

	r = read_content(reader, member->path, is_list_file ? PACKAGE_LIST_MAX : MODULE_SIZE_MAX,
			 &content, err);
	if (r < 0)
		return r;
	r = package_take_module(package, member->path, buf_span(&content), err);
	if (r < 0)
		return r;
	target = mem_printf("modules/%s", member->path);
	return package_write_file(staging_fd, target, buf_span(&content), err);
}

static int take_entry(struct reader *reader, struct archive_entry *entry, int staging_fd,
		      struct package *package, struct err *err)
{
	const char *path = archive_entry_pathname(entry);
	struct member member;
	int r;

	/* A name that libarchive cannot put into bytes is none that we want. */
	if (!path)
		return 0;
	member = classify(path);
	if (member.kind == MEMBER_OTHER || archive_entry_filetype(entry) == AE_IFDIR)
		return 0;
	r = check_member(entry, path, &member, package, err);
	return r < 0 ? r : take_member(reader, &member, staging_fd, package, err);
}

int package_unpack(const struct package_source *source, int staging_fd, struct package *ret,
		   struct err *err)
{
	CLEANUP(reader_done) struct reader reader = { .source = source, .source_err = ERR_INIT };
	CLEANUP(package_done) struct package package = { .modules = module_set_new() };
	int r;

	r = reader_open(&reader, err);
	while (r == 0) {
		struct archive_entry *entry;
		const int a = archive_read_next_header(reader.archive, &entry);

		if (a == ARCHIVE_EOF)
			break;
		/* Warnings are about names and times that we do not take. */
		if (a != ARCHIVE_OK && a != ARCHIVE_WARN)
			return archive_failed(&reader, err);
		r = take_entry(&reader, entry, staging_fd, &package, err);
	}
	if (r < 0)
		return r;
	if (faccessat(staging_fd, "vmlinuz", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, ERR_INVALID, "the package has no boot/vmlinuz-RELEASE");
	if (module_set_count(package.modules) == 0)
		return err_set(err, ERR_INVALID, "the package has no kernel modules");

	*ret = package;
	package.modules = NULL;
	return 0;
}
