/*
 * A walk that can stop after every piece: guest_put() reads when the guest takes more, and nothing
 * else runs meanwhile. So the folders that are open are a stack, not a recursion.
 */
#include "guest/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/extract.h"

#define READ_SIZE   (64UL * 1024)
#define PERMISSIONS 0777

struct open_folder {
	DIR *dir;   /* owned */
	char *path; /* owned: in the archive */
};

struct pack {
	struct pack_rules rules;
	size_t as_len; /* of the name that the whole goes by */
	uint64_t entries;
	uint64_t bytes;
	struct archive *archive;		  /* owned */
	struct archive_entry_linkresolver *links; /* owned */
	struct open_folder folders[PACK_DEPTH_MAX];
	size_t depth;
	int file_fd; /* owned: whose content is being packed; -1: none */
	uint64_t file_left;
	char *file_path; /* owned */
	bool is_done;
	struct buf out; /* owned: what the archive wrote and nobody has taken yet */
	size_t taken;
	uint64_t left_out;
	uint8_t piece[READ_SIZE];
};

/* libarchive's sink. */
static la_ssize_t write_stream(struct archive *archive, void *context, const void *bytes,
			       size_t size)
{
	struct pack *pack = context;

	(void)archive;
	buf_add(&pack->out, span_of(bytes, size));
	return (la_ssize_t)size;
}

static int archive_failure(struct pack *pack, struct err *err)
{
	return err_set(err, ERR_SYSTEM, "pack: %s", archive_error_string(pack->archive));
}

static int open_archive(struct pack *pack, struct err *err)
{
	pack->archive = archive_write_new();
	pack->links = archive_entry_linkresolver_new();
	if (!pack->archive || !pack->links)
		return err_sys(err, -ENOMEM, "pack");
	/* BINARY: names are bytes and travel as they are, whatever they mean. */
	if (archive_write_set_format_pax(pack->archive) != ARCHIVE_OK ||
	    archive_write_set_format_option(pack->archive, "pax", "hdrcharset", "BINARY") !=
		    ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(pack->archive, 0) != ARCHIVE_OK ||
	    archive_write_open(pack->archive, pack, NULL, write_stream, NULL) != ARCHIVE_OK)
		return archive_failure(pack, err);
	archive_entry_linkresolver_set_strategy(pack->links, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
	return 0;
}

/* Runs of data; a file without holes has none listed, and so has one of a file system that cannot
 * tell. */
static void add_holes(struct archive_entry *entry, int fd, off_t size)
{
	off_t at = 0;

	while (at < size) {
		const off_t data = lseek(fd, at, SEEK_DATA);
		const off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO && at == 0)
			archive_entry_sparse_add_entry(entry, size, 0);
		if (data < 0 || hole < 0 || (data == 0 && hole >= size))
			return;
		archive_entry_sparse_add_entry(entry, data, hole - data);
		at = hole;
	}
}

static void fill_entry(struct archive_entry *entry, const char *path, const struct stat *st)
{
	archive_entry_copy_stat(entry, st);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_perm(entry, st->st_mode & PERMISSIONS);
	archive_entry_set_uid(entry, 0);
	archive_entry_set_gid(entry, 0);
	archive_entry_unset_atime(entry);
	archive_entry_unset_ctime(entry);
	if (!S_ISREG(st->st_mode))
		archive_entry_set_size(entry, 0);
}

static int count_entry(struct pack *pack, const struct stat *st, struct err *err)
{
	const struct pack_rules *rules = &pack->rules;

	pack->entries++;
	if (S_ISREG(st->st_mode))
		pack->bytes += (uint64_t)st->st_size;
	if (rules->entries_max > 0 && pack->entries > rules->entries_max)
		return err_set(err, ERR_LIMIT, "it has over %" PRIu64 " files and folders",
			       rules->entries_max);
	if (rules->bytes_max > 0 && pack->bytes > rules->bytes_max)
		return err_set(err, ERR_LIMIT, "it has over %" PRIu64 " bytes", rules->bytes_max);
	return 0;
}

/* The second name of a file becomes a hard link to the first; *ret_is_link says so. */
static int put_header(struct pack *pack, struct archive_entry *entry, bool *ret_is_link,
		      struct err *err)
{
	struct archive_entry *spare = NULL;

	archive_entry_linkify(pack->links, &entry, &spare);
	*ret_is_link = archive_entry_hardlink(entry) != NULL;
	return archive_write_header(pack->archive, entry) < ARCHIVE_WARN
		       ? archive_failure(pack, err)
		       : 0;
}

static void entry_freep(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

/* --- entries; `fd` is given, `path` too --- */

static int add_file(struct pack *pack, int given, char *path, const struct stat *st,
		    struct err *err)
{
	CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
	AUTO_FREE char *own_path = path;
	AUTO_CLOSE int fd = given;
	bool is_link = false;
	int r;

	if (!entry)
		return err_sys(err, -ENOMEM, "pack");
	r = count_entry(pack, st, err);
	if (r < 0)
		return r;
	fill_entry(entry, own_path, st);
	/* Only the whole that is packed can be a file without a folder open. */
	if (pack->depth == 0 && pack->rules.file_mode != PACK_MODE_KEPT)
		archive_entry_set_perm(entry, pack->rules.file_mode);
	add_holes(entry, fd, st->st_size);
	r = put_header(pack, entry, &is_link, err);
	if (r < 0 || is_link)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "read '%s'", own_path);
	mem_free(pack->file_path);
	pack->file_path = TAKE_PTR(own_path);
	pack->file_fd = TAKE_FD(fd);
	pack->file_left = (uint64_t)st->st_size;
	return 0;
}

static int add_folder(struct pack *pack, int given, char *path, const struct stat *st,
		      struct err *err)
{
	CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
	AUTO_FREE char *own_path = path;
	AUTO_CLOSE int fd = given;
	bool is_link = false;
	struct open_folder *folder;
	int r;

	if (!entry)
		return err_sys(err, -ENOMEM, "pack");
	if (pack->depth == PACK_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "'%s': over %d folders deep", own_path,
			       PACK_DEPTH_MAX);
	r = count_entry(pack, st, err);
	if (r < 0)
		return r;
	fill_entry(entry, own_path, st);
	r = put_header(pack, entry, &is_link, err);
	if (r < 0)
		return r;
	folder = &pack->folders[pack->depth];
	r = dir_stream(&fd, &folder->dir);
	if (r < 0)
		return err_sys(err, r, "open '%s'", own_path);
	folder->path = TAKE_PTR(own_path);
	pack->depth++;
	return 0;
}

/* Whether the link at `path`, somewhere below the folder that is packed, stays in that folder. */
static bool link_stays(const struct pack *pack, const char *path, const char *target)
{
	AUTO_FREE char *inner = mem_printf("folder%s", path + pack->as_len);

	return extract_link_is_safe(inner, target);
}

static int add_link(struct pack *pack, int folder, const char *name, const char *path,
		    const struct stat *st, struct err *err)
{
	CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
	char target[GUEST_PATH_MAX + 1];
	const ssize_t n = readlinkat(folder, name, target, sizeof(target));
	bool is_link;
	int r;

	if (!entry)
		return err_sys(err, -ENOMEM, "pack");
	if (n < 0)
		return err_sys(err, -errno, "read the link '%s'", path);
	if ((size_t)n == sizeof(target))
		return err_set(err, ERR_LIMIT, "the target of the link '%s' is over %d bytes", path,
			       GUEST_PATH_MAX);
	target[n] = '\0';
	if (pack->rules.leaves_out_far_links && !link_stays(pack, path, target)) {
		if (pack->rules.left_out)
			pack->rules.left_out(pack->rules.context, path);
		return 0;
	}
	r = count_entry(pack, st, err);
	if (r < 0)
		return r;
	fill_entry(entry, path, st);
	archive_entry_set_symlink(entry, target);
	return put_header(pack, entry, &is_link, err);
}

/* A file or folder that was opened; what it is by now counts. */
static int add_opened(struct pack *pack, int given, char *path, struct err *err)
{
	AUTO_FREE char *own_path = path;
	AUTO_CLOSE int fd = given;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "look at '%s'", own_path);
	if (S_ISDIR(st.st_mode))
		return add_folder(pack, TAKE_FD(fd), TAKE_PTR(own_path), &st, err);
	if (S_ISREG(st.st_mode))
		return add_file(pack, TAKE_FD(fd), TAKE_PTR(own_path), &st, err);
	pack->left_out++;
	return 0;
}

static int add_child(struct pack *pack, const struct open_folder *folder, const char *name,
		     struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder->path, name);
	const int folder_fd = dirfd(folder->dir);
	struct stat st;
	int fd;

	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "look at '%s'", path);
	if (S_ISLNK(st.st_mode))
		return add_link(pack, folder_fd, name, path, &st, err);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		pack->left_out++;
		return 0;
	}
	fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "open '%s'", path);
	return add_opened(pack, fd, TAKE_PTR(path), err);
}

/* --- the walk --- */

static int pack_content(struct pack *pack, struct err *err)
{
	const size_t wanted = pack->file_left < READ_SIZE ? (size_t)pack->file_left : READ_SIZE;
	const ssize_t n = wanted > 0 ? fd_read_some(pack->file_fd, pack->piece, wanted) : 0;

	if (n < 0)
		return err_sys(err, (int)n, "read '%s'", pack->file_path);
	if (n == 0 && wanted > 0)
		return err_set(err, ERR_BAD_STATE, "'%s' became shorter while it was read",
			       pack->file_path);
	for (size_t at = 0; at < (size_t)n;) {
		const la_ssize_t written =
			archive_write_data(pack->archive, pack->piece + at, (size_t)n - at);

		if (written <= 0)
			return archive_failure(pack, err);
		at += (size_t)written;
	}
	pack->file_left -= (uint64_t)n;
	if (pack->file_left == 0)
		fd_closep(&pack->file_fd);
	return 0;
}

static void leave_folder(struct pack *pack)
{
	struct open_folder *folder = &pack->folders[--pack->depth];

	(void)closedir(folder->dir);
	mem_free(folder->path);
}

static int pack_step(struct pack *pack, struct err *err)
{
	const struct dirent *found;

	if (pack->file_fd >= 0)
		return pack_content(pack, err);
	if (pack->depth == 0) {
		pack->is_done = true;
		return archive_write_close(pack->archive) == ARCHIVE_OK
			       ? 0
			       : archive_failure(pack, err);
	}
	const struct open_folder *folder = &pack->folders[pack->depth - 1];

	errno = 0;
	found = readdir(folder->dir); // NOLINT(concurrency-mt-unsafe): a stream of our own
	if (!found && errno != 0)
		return err_sys(err, -errno, "read '%s'", folder->path);
	if (!found)
		leave_folder(pack);
	else if (!str_eq(found->d_name, ".") && !str_eq(found->d_name, ".."))
		return add_child(pack, folder, found->d_name, err);
	return 0;
}

static ssize_t pack_read(void *context, void *into, size_t size, struct err *err)
{
	struct pack *pack = context;
	size_t len;
	int r;

	if (pack->taken == pack->out.len) {
		buf_clear(&pack->out);
		pack->taken = 0;
	}
	while (pack->out.len == 0 && !pack->is_done) {
		r = pack_step(pack, err);
		if (r < 0)
			return r;
	}
	len = pack->out.len - pack->taken;
	len = len < size ? len : size;
	memcpy(into, pack->out.ptr + pack->taken, len);
	pack->taken += len;
	return (ssize_t)len;
}

/* The folders above the name, for a guest that lacks them. */
static int add_parents(struct pack *pack, const char *as, struct err *err)
{
	for (const char *slash = strchr(as, '/'); slash; slash = strchr(slash + 1, '/')) {
		CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
		AUTO_FREE char *path = mem_strndup(as, (size_t)(slash - as));
		bool is_link;
		int r;

		if (!entry)
			return err_sys(err, -ENOMEM, "pack");
		archive_entry_set_pathname(entry, path);
		archive_entry_set_filetype(entry, AE_IFDIR);
		archive_entry_set_perm(entry, 0700);
		archive_entry_set_mtime(entry, clock_wall_seconds(), 0);
		r = put_header(pack, entry, &is_link, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int pack_new_fd(int fd, const char *as, const struct pack_rules *rules, struct pack **ret,
		struct err *err)
{
	CLEANUP(pack_freep) struct pack *pack = mem_alloc(1, sizeof(*pack));
	AUTO_CLOSE int own_fd = fd;
	int r;

	pack->file_fd = -1;
	pack->out = BUF_INIT;
	pack->rules = *rules;
	pack->as_len = strlen(as);
	r = open_archive(pack, err);
	if (r == 0 && rules->has_parents)
		r = add_parents(pack, as, err);
	if (r == 0)
		r = add_opened(pack, TAKE_FD(own_fd), mem_strdup(as), err);
	if (r == 0 && pack->left_out > 0)
		r = err_set(err, ERR_INVALID, "it is neither a file nor a folder");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pack);
	return 0;
}

int pack_new(const char *path, const char *as, struct pack **ret, struct err *err)
{
	static const struct pack_rules rules = { .file_mode = PACK_MODE_KEPT };
	const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", path);
	r = pack_new_fd(fd, as, &rules, ret, err);
	if (r < 0 && err->kind == ERR_INVALID)
		return err_set(err, ERR_INVALID, "'%s' is neither a file nor a folder", path);
	return r;
}

void pack_free(struct pack *pack)
{
	if (!pack)
		return;
	while (pack->depth > 0)
		leave_folder(pack);
	if (pack->links)
		archive_entry_linkresolver_free(pack->links);
	if (pack->archive)
		(void)archive_write_free(pack->archive);
	fd_close(pack->file_fd);
	mem_free(pack->file_path);
	buf_done(&pack->out);
	mem_free(pack);
}

struct guest_tar pack_tar(struct pack *pack)
{
	return (struct guest_tar){ .fd = -1, .read = pack_read, .context = pack };
}

uint64_t pack_left_out(const struct pack *pack)
{
	return pack->left_out;
}
