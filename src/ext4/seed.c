#include "ext4/seed.h"

#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define COPY_SIZE ((size_t)1024 * 1024)

struct seed {
	struct ext4_writer *from; /* borrowed, as the next three */
	struct ext4_writer *to;
	const struct cancel *cancel;
	struct err *err;
	uint32_t
		*copies; /* owned: for each inode of `from` its copy, TREE_NONE while it has none */
	uint32_t *queue; /* owned: folders of `from` whose entries are to be copied */
	size_t queued;
	uint8_t *buf; /* owned */
};

static void seed_done(struct seed *seed)
{
	mem_free(seed->copies);
	mem_free(seed->queue);
	mem_free(seed->buf);
}

static struct tree_attributes copy_attributes(struct seed *seed, uint32_t inode)
{
	struct tree_attributes attributes = seed->from->tree.inodes[inode].attributes;

	attributes.xattrs =
		xattr_table_copy(&seed->to->xattrs, &seed->from->xattrs, attributes.xattrs);
	ext4_writer_set_time(seed->to, &attributes, attributes.mtime, attributes.mtime_nsec);
	return attributes;
}

/* Reads back what was written: the source of a stream cannot be read again. */
static int copy_run(struct seed *seed, const struct tree_run *run, uint64_t size)
{
	uint64_t offset = (uint64_t)run->logical * SPACE_BLOCK_SIZE;
	uint64_t at = run->physical * SPACE_BLOCK_SIZE;
	uint64_t left = (uint64_t)run->length * SPACE_BLOCK_SIZE;

	if (left > size - offset)
		left = size - offset;
	while (left > 0) {
		ssize_t n = pread(seed->from->fd, seed->buf, left < COPY_SIZE ? left : COPY_SIZE,
				  (off_t)at);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(seed->err, -errno, "read the image");
		if (n == 0) {
			/* Blocks at the file's end that were never written are zero. */
			n = (ssize_t)(left < COPY_SIZE ? left : COPY_SIZE);
			memset(seed->buf, 0, (size_t)n);
		}
		r = content_add(&seed->to->content, offset, span_of(seed->buf, (size_t)n));
		if (r < 0)
			return ext4_writer_failed(r, seed->err);
		offset += (uint64_t)n;
		at += (uint64_t)n;
		left -= (uint64_t)n;
		r = cancel_check(seed->cancel, seed->err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_content(struct seed *seed, uint32_t inode, uint32_t copy)
{
	const struct tree *tree = &seed->from->tree;
	const struct tree_inode *in = &tree->inodes[inode];
	uint32_t i;
	int r;

	content_begin(&seed->to->content, copy);
	for (i = 0; i < in->run_count; i++) {
		r = copy_run(seed, &tree->runs[in->run_first + i], in->size);
		if (r < 0)
			return r;
	}
	r = content_end(&seed->to->content, in->size);
	return r < 0 ? ext4_writer_failed(r, seed->err) : 0;
}

static int copy_symlink(struct seed *seed, uint32_t inode, uint32_t copy)
{
	int r = tree_set_target(&seed->to->tree, copy, tree_target(&seed->from->tree, inode),
				seed->err);

	if (r < 0)
		return r;
	r = ext4_writer_store_symlink(seed->to, copy);
	return r < 0 ? ext4_writer_failed(r, seed->err) : 0;
}

static int copy_inode(struct seed *seed, const struct tree_place *place, uint32_t inode)
{
	const struct tree_inode *in = &seed->from->tree.inodes[inode];
	const struct tree_attributes attributes = copy_attributes(seed, inode);
	uint32_t copy = TREE_NONE;
	int r;

	r = tree_add(&seed->to->tree, place, &attributes, &copy, seed->err);
	if (r < 0)
		return r;
	seed->copies[inode] = copy;
	switch (attributes.mode & S_IFMT) {
	case S_IFREG:
		return copy_content(seed, inode, copy);
	case S_IFLNK:
		return copy_symlink(seed, inode, copy);
	case S_IFDIR:
		seed->queue[seed->queued++] = inode;
		return 0;
	default:
		seed->to->tree.inodes[copy].u.device = in->u.device;
		return 0;
	}
}

static int copy_entry(struct seed *seed, uint32_t folder, uint32_t entry)
{
	const struct tree *from = &seed->from->tree;
	const uint32_t inode = from->entries[entry].inode;
	const struct tree_place place = {
		.folder = folder,
		.name = tree_entry_name(from, entry),
		.existing = tree_lookup(&seed->to->tree, folder, tree_entry_name(from, entry)),
	};

	/* Only lost+found can be there; the seed keeps its own. */
	if (place.existing != TREE_NONE)
		return 0;
	if (seed->copies[inode] != TREE_NONE)
		return tree_link(&seed->to->tree, &place, seed->copies[inode], seed->err);
	return copy_inode(seed, &place, inode);
}

int seed_copy(struct ext4_writer *from, const char *path, struct ext4_writer *to,
	      const struct cancel *cancel, struct err *err)
{
	CLEANUP(seed_done)
	struct seed seed = { .from = from, .to = to, .cancel = cancel, .err = err };
	const uint32_t top = tree_find(&from->tree, path);
	size_t next;
	int r;

	if (top == TREE_NONE || !tree_is_folder(&from->tree, top))
		return 0;
	r = sink_flush(&from->sink);
	if (r < 0)
		return ext4_writer_failed(r, err);
	seed.copies = mem_alloc(from->tree.inode_count, sizeof(*seed.copies));
	memset(seed.copies, 0xff, from->tree.inode_count * sizeof(*seed.copies));
	seed.queue = mem_alloc(from->tree.inode_count, sizeof(*seed.queue));
	seed.buf = mem_alloc(1, COPY_SIZE);

	seed.copies[top] = TREE_ROOT;
	to->tree.inodes[TREE_ROOT].attributes = copy_attributes(&seed, top);
	to->tree.inodes[TREE_ROOT].u.folder.is_implied = false;
	seed.queue[seed.queued++] = top;
	for (next = 0; next < seed.queued; next++) {
		const uint32_t folder = seed.queue[next];
		uint32_t at = from->tree.inodes[folder].u.folder.first;

		for (; at != TREE_NONE; at = from->tree.entries[at].next) {
			r = copy_entry(&seed, seed.copies[folder], at);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
