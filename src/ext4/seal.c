#include <endian.h>
#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "ext4/directory.h"
#include "ext4/extent.h"
#include "ext4/format.h"
#include "ext4/inode.h"
#include "ext4/writer.h"

#define LOST_FOUND_BLOCKS 4U /* as mke2fs: e2fsck can put files there without allocating */

struct seal {
	struct ext4_writer *writer; /* borrowed */
	struct fs_identity identity;
	struct format_root *roots; /* owned, as the next one */
	size_t root_count, root_cap;
	uint64_t *xattr_blocks;
};

static void seal_done(struct seal *seal)
{
	mem_free(seal->roots);
	mem_free(seal->xattr_blocks);
}

/* --- folders --- */

static void collect_entries(const struct tree *tree, uint32_t folder,
			    struct directory_entry *entries)
{
	uint32_t at = tree->inodes[folder].u.folder.first;

	for (; at != TREE_NONE; at = tree->entries[at].next) {
		const struct tree_inode *inode = &tree->inodes[tree->entries[at].inode];

		*entries++ = (struct directory_entry){
			.name = tree_entry_name(tree, at),
			.inode = inode->number,
			.type = inode_entry_type(inode->attributes.mode),
		};
	}
}

/* A folder's path for messages, cut at the front. */
static void folder_name(const struct tree *tree, uint32_t folder, struct buf *out)
{
	uint32_t at;

	for (at = 0; at < tree->entry_count; at++) {
		if (tree->entries[at].folder != TREE_NONE && tree->entries[at].inode == folder)
			break;
	}
	if (folder == TREE_ROOT || at == tree->entry_count)
		buf_add_str(out, "/");
	else
		text_escape(out, tree_entry_name(tree, at), EXT4_SHOWN_NAME_MAX);
}

/* Gives a folder its blocks and writes them. */
static int store_folder(struct ext4_writer *writer, uint32_t folder, const struct buf *blocks)
{
	uint64_t count = blocks->len / SPACE_BLOCK_SIZE;
	uint64_t logical = 0;

	while (logical < count) {
		uint64_t rest = count - logical;
		uint64_t taken;
		uint64_t physical = space_take(&writer->space,
					       rest < SPACE_RUN_MAX ? rest : SPACE_RUN_MAX, &taken);
		int r = sink_write(&writer->sink, physical * SPACE_BLOCK_SIZE,
				   span_of(blocks->ptr + logical * SPACE_BLOCK_SIZE,
					   (size_t)taken * SPACE_BLOCK_SIZE));

		if (r < 0)
			return r;
		tree_add_run(&writer->tree, folder, (uint32_t)logical, physical, (uint32_t)taken);
		logical += taken;
	}
	writer->tree.inodes[folder].size = blocks->len;
	return 0;
}

static int seal_folder(struct seal *seal, uint32_t folder, struct buf *blocks, struct err *err)
{
	struct tree *tree = &seal->writer->tree;
	struct tree_inode *in = &tree->inodes[folder];
	AUTO_FREE struct directory_entry *entries = NULL;
	AUTO_BUF name = BUF_INIT;
	struct directory directory = {
		.inode = in->number,
		.parent = tree->inodes[in->u.folder.parent].number,
		.blocks_min = folder == tree->lost_found ? LOST_FOUND_BLOCKS : 1,
		.count = in->u.folder.count,
	};
	int r;

	entries = mem_alloc(directory.count + 1, sizeof(*entries));
	collect_entries(tree, folder, entries);
	directory.entries = entries;
	buf_clear(blocks);
	r = directory_encode(&directory, &seal->identity, blocks, &in->u.folder.is_indexed, err);
	if (r < 0) {
		folder_name(tree, folder, &name);
		return err_context(err, r, "folder '%s'", name.ptr);
	}
	r = store_folder(seal->writer, folder, blocks);
	return r < 0 ? ext4_writer_failed(r, err) : 0;
}

static int seal_folders(struct seal *seal, struct err *err)
{
	const struct tree *tree = &seal->writer->tree;
	AUTO_BUF blocks = BUF_INIT;
	uint32_t i;

	for (i = 0; i < tree->inode_count; i++) {
		int r;

		if (tree->inodes[i].number == 0 || !tree_is_folder(tree, i))
			continue;
		r = seal_folder(seal, i, &blocks, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- extent trees --- */

static int seal_extents(struct seal *seal, struct err *err)
{
	struct ext4_writer *writer = seal->writer;
	struct tree *tree = &writer->tree;
	struct extent_target target = { .space = &writer->space, .sink = &writer->sink };
	uint32_t i;

	for (i = 0; i < tree->inode_count; i++) {
		struct tree_inode *in = &tree->inodes[i];
		struct format_root *root;
		int r;

		if (in->number == 0 || in->run_count <= EXTENT_ROOT_MAX)
			continue;
		if (seal->root_count == seal->root_cap) {
			seal->root_cap = seal->root_cap ? seal->root_cap * 2 : 64;
			seal->roots = mem_grow(seal->roots, seal->root_cap, sizeof(*seal->roots));
		}
		root = &seal->roots[seal->root_count++];
		root->inode = i;
		target.checksum_start = identity_inode_seed(&seal->identity, in->number);
		r = extent_encode(&tree->runs[in->run_first], in->run_count, &target, root->bytes,
				  &in->meta_blocks);
		if (r < 0)
			return ext4_writer_failed(r, err);
	}
	return 0;
}

/* --- attributes --- */

static uint32_t count_xattr_blocks(struct ext4_writer *writer)
{
	const struct tree *tree = &writer->tree;
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < tree->inode_count; i++) {
		if (tree->inodes[i].number != 0)
			writer->xattrs.sets[tree->inodes[i].attributes.xattrs].users++;
	}
	for (i = 1; i < writer->xattrs.count; i++) {
		struct xattr_set *set = &writer->xattrs.sets[i];

		set->first = count;
		if (set->block)
			count += (set->users + XATTR_SHARED_MAX - 1) / XATTR_SHARED_MAX;
	}
	return count;
}

static int write_xattr_block(struct seal *seal, const struct xattr_set *set, uint32_t users,
			     uint64_t *ret_physical)
{
	struct ext4_writer *writer = seal->writer;
	uint8_t block[SPACE_BLOCK_SIZE];
	struct ext2_ext_attr_header header;
	uint64_t taken, le;
	uint32_t crc;

	*ret_physical = space_take(&writer->space, 1, &taken);
	le = htole64(*ret_physical);
	memcpy(block, set->block, sizeof(block));
	memcpy(&header, block, sizeof(header));
	header.h_refcount = htole32(users);
	memcpy(block, &header, sizeof(header));
	crc = ext2fs_crc32c_le(seal->identity.checksum_seed, (const unsigned char *)&le,
			       sizeof(le));
	header.h_checksum = htole32(ext2fs_crc32c_le(crc, block, sizeof(block)));
	memcpy(block, &header, sizeof(header));
	return sink_write(&writer->sink, *ret_physical * SPACE_BLOCK_SIZE,
			  span_of(block, sizeof(block)));
}

static int seal_xattrs(struct seal *seal, struct err *err)
{
	struct ext4_writer *writer = seal->writer;
	uint32_t count = count_xattr_blocks(writer);
	size_t i;

	seal->xattr_blocks = mem_alloc((size_t)count + 1, sizeof(*seal->xattr_blocks));
	for (i = 1; i < writer->xattrs.count; i++) {
		const struct xattr_set *set = &writer->xattrs.sets[i];
		uint32_t done = 0;

		while (set->block && done < set->users) {
			uint32_t rest = set->users - done;
			uint32_t users = rest < XATTR_SHARED_MAX ? rest : XATTR_SHARED_MAX;
			int r = write_xattr_block(
				seal, set, users,
				&seal->xattr_blocks[set->first + done / XATTR_SHARED_MAX]);

			if (r < 0)
				return ext4_writer_failed(r, err);
			done += users;
		}
	}
	return 0;
}

/* --- all of it --- */

/* Folders that nobody described are as old as the file system. */
static void set_implied_times(struct ext4_writer *writer)
{
	struct tree *tree = &writer->tree;
	size_t i;

	for (i = 0; i < tree->inode_count; i++) {
		struct tree_inode *in = &tree->inodes[i];

		if (tree_is_folder(tree, (uint32_t)i) && in->u.folder.is_implied &&
		    !writer->has_epoch)
			in->attributes.mtime = writer->latest;
	}
}

int ext4_writer_seal(struct ext4_writer *writer, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(seal_done) struct seal seal = { .writer = writer };
	struct format_input input = { .writer = writer };
	int r;

	ext4_writer_release(writer);
	set_implied_times(writer);
	input.last_inode = tree_number(&writer->tree);
	identity_make(&writer->tree, writer->uuid, &seal.identity);
	r = seal_folders(&seal, err);
	if (r == 0)
		r = seal_extents(&seal, err);
	if (r == 0)
		r = seal_xattrs(&seal, err);
	if (r == 0)
		r = layout_decide(&writer->space, writer->size_bytes, input.last_inode,
				  &input.layout, err);
	if (r < 0)
		return r;
	r = sink_flush(&writer->sink);
	if (r < 0)
		return ext4_writer_failed(r, err);

	input.identity = seal.identity;
	input.roots = seal.roots;
	input.root_count = seal.root_count;
	input.xattr_blocks = seal.xattr_blocks;
	return format_write(&input, ret, err);
}
