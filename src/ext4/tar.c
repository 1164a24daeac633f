#include "ext4/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <iconv.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "ext4/limit.h"
#include "ext4/tar_entry.h"
#include "ext4/tar_header.h"
#include "ext4/whiteout.h"

#define READ_SIZE	 ((size_t)256 * 1024)
#define PROGRESS_BYTES	 (8ULL << 20)
#define PROGRESS_ENTRIES 65536U /* a sign of life when there is no content */
#define PROGRESS_STAGE	 "image"

struct tar {
	struct ext4_writer *writer; /* borrowed, as all but archive and buf */
	struct archive *archive;    /* owned */
	const struct tar_source *source;
	const struct ext4_limits *limits;
	struct ext4_summary *summary; /* what has been read so far, of earlier tars too */
	struct err *err;
	struct tar_window window; /* of the stream */
	uint64_t entries;	  /* of this tar */
	uint64_t reported;	  /* content bytes at the last report */
	bool is_over;		  /* more than limits->layer_bytes */
	int read_error;		  /* -errno of our read callback, or 0 */
};

static void tar_done(struct tar *tar)
{
	(void)archive_read_free(tar->archive);
	tar_window_done(&tar->window);
}

/* --- the stream --- */

/* Waits for and reads what there is; bytes, 0 at the end, or -errno. Counts them. */
static ssize_t receive(struct tar *tar, const uint8_t **ret)
{
	ssize_t n = cancel_poll(tar->source->cancel, tar->source->fd, POLLIN, UINT64_MAX);
	size_t room;
	uint8_t *to = tar_window_room(&tar->window, &room);

	if (n >= 0)
		n = fd_read_some(tar->source->fd, to, room < READ_SIZE ? room : READ_SIZE);
	if (n < 0) {
		tar->read_error = (int)n;
		return n;
	}
	if ((uint64_t)n > tar->limits->layer_bytes - tar->window.end) {
		tar->is_over = true;
		return -EFBIG;
	}
	tar->window.end += (uint64_t)n;
	*ret = to;
	return n;
}

static la_ssize_t read_some(struct archive *archive, void *context, const void **ret_buffer)
{
	struct tar *tar = context;
	const uint8_t *bytes = NULL;
	const ssize_t n = receive(tar, &bytes);

	if (n < 0) {
		archive_set_error(archive, (int)-n, "read");
		return ARCHIVE_FATAL;
	}
	*ret_buffer = bytes;
	return n;
}

/* What libarchive could not do; the stream's own failure wins. */
static int archive_failed(const struct tar *tar, const char *what)
{
	const char *why = archive_error_string(tar->archive);

	if (tar->read_error == -ECANCELED)
		return err_set(tar->err, ERR_CANCELLED, "cancelled");
	if (tar->read_error < 0)
		return err_sys(tar->err, tar->read_error, "read the tar stream");
	if (tar->is_over)
		return limit_reached(tar->err, "layer_bytes", tar->limits->layer_bytes,
				     "bytes in the tar stream");
	if (archive_errno(tar->archive) == ENOMEM)
		return err_sys(tar->err, -ENOMEM, "%s", what);
	return err_set(tar->err, ERR_PROTOCOL, "%s: %s", what, why ? why : "damaged archive");
}

static int open_archive(struct tar *tar)
{
	struct archive *archive = archive_read_new();

	tar->archive = archive;
	if (!archive)
		return err_sys(tar->err, -ENOMEM, "read the tar stream");
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_set_callback_data(archive, tar) != ARCHIVE_OK ||
	    archive_read_set_read_callback(archive, read_some) != ARCHIVE_OK ||
	    archive_read_open1(archive) != ARCHIVE_OK)
		return archive_failed(tar, "read the tar stream");
	return 0;
}

/*
 * Warnings about the conversion of names are of no interest: libarchive then gives the bytes as
 * they are, which is what we want. All others mean that something of the entry was ignored.
 */
static bool is_harmless(const struct tar *tar)
{
	const char *why = archive_error_string(tar->archive);

	return why && strstr(why, "can't be converted from") != NULL;
}

static void report(struct tar *tar)
{
	progress_report(tar->source->progress, PROGRESS_STAGE, "writing the image",
			tar->summary->content_bytes, 0);
	tar->reported = tar->summary->content_bytes;
}

/* --- content --- */

static int add_piece(struct tar *tar, uint64_t size, const void *bytes, size_t count,
		     int64_t offset)
{
	int r;

	if (count > tar->limits->bytes - tar->summary->content_bytes)
		return limit_reached(tar->err, "image_bytes", tar->limits->bytes,
				     "bytes of content");
	if (offset < 0 || (uint64_t)offset > size || count > size - (uint64_t)offset)
		return err_set(tar->err, ERR_PROTOCOL, "it has content beyond its size");
	tar->summary->content_bytes += count;
	if (tar->summary->content_bytes - tar->reported >= PROGRESS_BYTES)
		report(tar);
	r = content_add(&tar->writer->content, (uint64_t)offset, span_of(bytes, count));
	if (r == -EINVAL)
		return err_set(tar->err, ERR_PROTOCOL, "its content is out of order");
	return r < 0 ? ext4_writer_failed(r, tar->err) : 0;
}

static int read_content(struct tar *tar, struct archive_entry *entry, uint32_t inode)
{
	const int64_t size = archive_entry_size(entry);
	int r;

	if (size < 0 || (uint64_t)size > SPACE_FILE_SIZE_MAX)
		return err_set(tar->err, ERR_INVALID,
			       "its size of %lld bytes is more than ext4 can hold",
			       (long long)size);
	content_begin(&tar->writer->content, inode);
	for (;;) {
		const void *bytes;
		size_t count;
		la_int64_t offset;

		r = archive_read_data_block(tar->archive, &bytes, &count, &offset);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK)
			return archive_failed(tar, "read its content");
		if (count == 0)
			continue;
		r = add_piece(tar, (uint64_t)size, bytes, count, offset);
		if (r < 0)
			return r;
	}
	r = content_end(&tar->writer->content, (uint64_t)size);
	return r < 0 ? ext4_writer_failed(r, tar->err) : 0;
}

/* --- entries --- */

static int add_hard_link(struct tar *tar, struct tree_place *place, const char *target)
{
	struct tree *tree = &tar->writer->tree;
	struct tree_place found = { .existing = TREE_NONE };
	uint32_t inode;
	int r;

	r = tree_place(tree, span_str(target), false, &found, tar->err);
	if (r < 0 && tar->err->kind != ERR_NOT_FOUND)
		return err_context(tar->err, r, "its hard link target");
	if (r < 0 || found.existing == TREE_NONE)
		return err_set(tar->err, ERR_INVALID, "its hard link target does not exist");
	inode = tree->entries[found.existing].inode;
	if (tree_is_folder(tree, inode))
		return err_set(tar->err, ERR_INVALID, "its hard link target is a folder");
	if (place->existing != TREE_NONE) {
		/* Another name of it already, or itself. */
		if (tree->entries[place->existing].inode == inode) {
			tree_touch(tree, place->existing);
			return 0;
		}
		tree_remove(tree, place->existing);
		place->existing = TREE_NONE;
		/* The folder that was in the way may have held the only name of the target. */
		if (tree->inodes[inode].names == 0)
			return err_set(tar->err, ERR_INVALID,
				       "its hard link target is in the folder that it replaces");
	}
	return tree_link(tree, place, inode, tar->err);
}

static int fill_inode(struct tar *tar, struct archive_entry *entry, uint32_t inode)
{
	struct tree *tree = &tar->writer->tree;
	const char *target;
	int r;

	switch (tree->inodes[inode].attributes.mode & S_IFMT) {
	case S_IFREG:
		return read_content(tar, entry, inode);
	case S_IFLNK:
		target = archive_entry_symlink(entry);
		r = tree_set_target(tree, inode, span_str(target ? target : ""), tar->err);
		if (r < 0)
			return r;
		r = ext4_writer_store_symlink(tar->writer, inode);
		return r < 0 ? ext4_writer_failed(r, tar->err) : 0;
	case S_IFCHR:
	case S_IFBLK:
		return tar_entry_device(entry, &tree->inodes[inode], tar->err);
	default:
		return 0;
	}
}

static int replace(struct tar *tar, struct tree_place *place)
{
	struct tree *tree = &tar->writer->tree;

	if (tree->entries[place->existing].inode == tree->lost_found)
		return err_set(tar->err, ERR_INVALID, "/lost+found must be a folder");
	tree_remove(tree, place->existing);
	place->existing = TREE_NONE;
	return 0;
}

static int add_entry(struct tar *tar, struct archive_entry *entry, const char *path)
{
	struct tree *tree = &tar->writer->tree;
	const char *link = archive_entry_hardlink(entry);
	struct tree_attributes attributes = { 0 };
	struct tree_place place = { .existing = TREE_NONE };
	uint32_t inode = TREE_NONE;
	bool is_folder;
	int r;

	if (link)
		archive_entry_set_filetype(entry, AE_IFREG);
	r = tar_entry_attributes(tar->writer, entry, &attributes, tar->err);
	if (r == 0)
		r = tree_place(tree, span_str(path), true, &place, tar->err);
	if (r < 0)
		return r;

	is_folder = !link && (attributes.mode & S_IFMT) == S_IFDIR;
	if (place.name.len == 0 && !is_folder)
		return err_set(tar->err, ERR_INVALID, "the root must be a folder");
	if (place.name.len == 0)
		inode = TREE_ROOT;
	else if (place.existing != TREE_NONE)
		inode = tree->entries[place.existing].inode;
	/* A folder over a folder: only its attributes change. */
	if (inode != TREE_NONE && is_folder && tree_is_folder(tree, inode)) {
		tree_describe(tree, inode, &attributes);
		return 0;
	}
	if (link && inode != tree->lost_found)
		return add_hard_link(tar, &place, link);
	if (inode != TREE_NONE) {
		r = replace(tar, &place);
		if (r < 0)
			return r;
	}
	r = tree_add(tree, &place, &attributes, &inode, tar->err);
	return r < 0 ? r : fill_inode(tar, entry, inode);
}

static int add_layer_entry(struct tar *tar, struct archive_entry *entry, const char *path)
{
	struct whiteout whiteout = { .kind = WHITEOUT_NONE };
	int r;

	r = whiteout_parse(span_str(path), &whiteout, tar->err);
	if (r < 0)
		return r;
	switch (whiteout.kind) {
	case WHITEOUT_NONE:
		return add_entry(tar, entry, path);
	case WHITEOUT_NAME:
	case WHITEOUT_OPAQUE:
		whiteout_apply(&tar->writer->tree, &whiteout);
		return 0;
	case WHITEOUT_IGNORED:
		return 0;
	}
	return 0;
}

static int next_entry(struct tar *tar, struct archive_entry *entry)
{
	AUTO_BUF name = BUF_INIT;
	const char *path = archive_entry_pathname(entry);
	int r;

	/* A path may imply two thousand folders, and each costs what an entry does. */
	if (tar->summary->entries + tar->writer->tree.implied_made >= tar->limits->entries)
		return limit_reached(tar->err, "entries", tar->limits->entries, "entries");
	tar->summary->entries++;
	tar->entries++;
	if (tar->entries % PROGRESS_ENTRIES == 0)
		report(tar);
	r = tar_header_check(&tar->window, (uint64_t)archive_read_header_position(tar->archive),
			     tar->err);
	if (r == 0 && str_empty(path))
		r = err_set(tar->err, ERR_INVALID, "its name is empty");
	else if (r == 0 && tar->source->is_layer)
		r = add_layer_entry(tar, entry, path);
	else if (r == 0)
		r = add_entry(tar, entry, path);
	if (r == 0)
		return 0;
	if (tar->err->kind == ERR_CANCELLED || tar->err->kind == ERR_SYSTEM)
		return r;
	text_escape(&name, span_str(path ? path : ""), EXT4_SHOWN_NAME_MAX);
	return err_context(tar->err, r, "entry '%s'", name.ptr);
}

static int read_entries(struct tar *tar)
{
	for (;;) {
		struct archive_entry *entry;
		int r;

		r = cancel_check(tar->source->cancel, tar->err);
		if (r < 0)
			return r;
		r = archive_read_next_header(tar->archive, &entry);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && is_harmless(tar)))
			return archive_failed(tar, "read the tar stream");
		r = next_entry(tar, entry);
		if (r < 0)
			return r;
	}
}

/* What follows the archive's end is padding; a writer at the other end of a pipe must not be cut
 * off. */
static int read_rest(struct tar *tar)
{
	const uint8_t *bytes;
	ssize_t n;

	do {
		n = receive(tar, &bytes);
	} while (n > 0);
	return n < 0 ? archive_failed(tar, "read the tar stream") : 0;
}

int tar_read(struct ext4_writer *writer, const struct tar_source *source,
	     const struct ext4_limits *limits, struct ext4_summary *summary, struct err *err)
{
	CLEANUP(tar_done)
	struct tar tar = { .writer = writer,
			   .source = source,
			   .limits = limits,
			   .summary = summary,
			   .reported = summary->content_bytes,
			   .err = err };
	int r;

	tar_window_init(&tar.window);
	r = open_archive(&tar);
	if (r == 0)
		r = read_entries(&tar);
	if (r == 0)
		r = read_rest(&tar);
	if (r < 0)
		return r;
	if (tar.entries == 0 && !source->is_layer)
		return err_set(err, ERR_PROTOCOL, "the tar stream has no entries");
	report(&tar);
	return 0;
}

int tar_warm_up(struct err *err)
{
	/*
	 * What libarchive asks for in the C locale when a pax header has a name. One that could not
	 * be opened cannot be closed.
	 */
	if (iconv_close(iconv_open("ANSI_X3.4-1968", "UTF-8")) < 0)
		return err_sys(err, -errno, "load character sets");
	return 0;
}
