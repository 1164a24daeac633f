#include "ext4/format.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "ext4/extent.h"
#include "ext4/inode.h"
#include "ext4/io.h"

#define RESERVED_PERCENT                                                        \
	1 /* of the blocks, for root: a full disk should still let services log \
	   */
#define RESERVED_LAST_INO   10
#define OWN_TIME_MAX	    1767225600LL /* 2026-01-01: past wherever this runs */
#define FD_NAME_SIZE	    16
#define GROUPS_PER_FLEX_LOG 4 /* 16 groups, as mke2fs */

struct format {
	const struct format_input *input; /* borrowed */
	ext2_filsys fs;			  /* owned until closed */
	struct space space;		  /* goes on behind the content */
	size_t next_root;
};

static void format_done(struct format *format)
{
	if (format->fs)
		ext2fs_free(format->fs);
}

/* Turns libext2fs's error into ours; the errno of the failed write wins. */
static int failed(const struct format *format, errcode_t e, const char *what, struct err *err)
{
	int errnum = format->fs && format->fs->io ? io_fd_errno(format->fs->io) : 0;

	if (errnum != 0)
		return ext4_writer_failed(-errnum, err);
	if (e == EXT2_ET_NO_MEMORY)
		return err_sys(err, -ENOMEM, "%s", what);
	initialize_ext2_error_table();
	return err_set(err, ERR_SYSTEM, "%s: %s", what, error_message(e));
}

/* --- the empty file system --- */

static void fill_parameters(const struct format_input *input, struct ext2_super_block *param)
{
	const struct layout *layout = &input->layout;
	uint32_t used = (layout->groups + SPACE_DESC_PER_BLOCK - 1) / SPACE_DESC_PER_BLOCK;

	memset(param, 0, sizeof(*param));
	param->s_rev_level = EXT2_DYNAMIC_REV;
	param->s_log_block_size = 2;
	param->s_log_cluster_size = 2;
	param->s_inode_size = SPACE_INODE_SIZE;
	param->s_inodes_count = layout->inodes_per_group * layout->groups;
	param->s_log_groups_per_flex = GROUPS_PER_FLEX_LOG;
	param->s_reserved_gdt_blocks = (uint16_t)(layout->descriptor_blocks - used);
	param->s_max_mnt_count = -1;
	param->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	ext2fs_blocks_count_set(param, layout->blocks);
	ext2fs_r_blocks_count_set(param, layout->blocks * RESERVED_PERCENT / 100);

	ext2fs_set_feature_xattr(param);
	ext2fs_set_feature_resize_inode(param);
	ext2fs_set_feature_dir_index(param);
	ext2fs_set_feature_filetype(param);
	ext2fs_set_feature_extents(param);
	ext2fs_set_feature_64bit(param);
	ext2fs_set_feature_flex_bg(param);
	ext2fs_set_feature_sparse_super(param);
	ext2fs_set_feature_large_file(param);
	ext2fs_set_feature_huge_file(param);
	ext2fs_set_feature_dir_nlink(param);
	ext2fs_set_feature_extra_isize(param);
	ext2fs_set_feature_metadata_csum(param);
}

/*
 * The time of the file system itself. Unless asked for, it is never in the future, which e2fsck
 * takes for damage; the clock must not decide that, because the same input would give other bytes
 * tomorrow. Not 0, which libext2fs takes for "now".
 */
static time_t own_time(const struct ext4_writer *writer)
{
	int64_t seconds = writer->has_epoch ? writer->epoch : writer->latest;

	if (!writer->has_epoch && seconds > OWN_TIME_MAX)
		seconds = OWN_TIME_MAX;
	if (seconds > UINT32_MAX)
		seconds = UINT32_MAX;
	return (time_t)(seconds < 1 ? 1 : seconds);
}

static void set_identity(struct format *format)
{
	const struct ext4_writer *writer = format->input->writer;
	const struct fs_identity *identity = &format->input->identity;
	struct ext2_super_block *super = format->fs->super;

	format->fs->now = own_time(writer);
	super->s_mkfs_time = super->s_lastcheck = (uint32_t)format->fs->now;
	super->s_mkfs_time_hi = super->s_lastcheck_hi = 0;
	super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	memcpy(super->s_uuid, identity->uuid, sizeof(super->s_uuid));
	memcpy(super->s_hash_seed, identity->hash_seed, sizeof(super->s_hash_seed));
	super->s_def_hash_version = EXT2_HASH_HALF_MD4;
	/* Not what char happens to be on this machine. */
	super->s_flags &= ~(uint32_t)EXT2_FLAGS_SIGNED_HASH;
	super->s_flags |= EXT2_FLAGS_UNSIGNED_HASH;
	if (writer->label)
		memcpy(super->s_volume_name, writer->label,
		       strnlen(writer->label, sizeof(super->s_volume_name)));
	ext2fs_init_csum_seed(format->fs);
}

static int create(struct format *format, struct err *err)
{
	const struct format_input *input = format->input;
	const struct layout *layout = &input->layout;
	struct ext2_super_block param;
	char name[FD_NAME_SIZE];
	errcode_t e;

	(void)snprintf(name, sizeof(name), "%d", input->writer->fd);
	fill_parameters(input, &param);
	e = ext2fs_initialize(name, EXT2_FLAG_64BITS, &param, io_fd_manager(), &format->fs);
	if (e != 0) {
		format->fs = NULL;
		return failed(format, e, "lay out the file system", err);
	}
	/* The content is in its places already: libext2fs must have come to the same layout. */
	assert(format->fs->group_desc_count == layout->groups);
	assert(format->fs->inode_blocks_per_group == layout->table_blocks);
	assert(ext2fs_blocks_count(format->fs->super) == layout->blocks);
	assert(format->fs->desc_blocks + format->fs->super->s_reserved_gdt_blocks ==
	       layout->descriptor_blocks);
	set_identity(format);
	return 0;
}

/* --- blocks --- */

static void mark(struct format *format, uint64_t start, uint64_t count, int inuse)
{
	ext2fs_block_alloc_stats_range(format->fs, start, (blk_t)count, inuse);
}

/* All that was taken for content, less what belonged to files that were replaced. */
static void mark_content(struct format *format)
{
	const struct ext4_writer *writer = format->input->writer;
	const struct tree *tree = &writer->tree;
	struct space walk = { .descriptor_blocks = writer->space.descriptor_blocks,
			      .next = 1 + writer->space.descriptor_blocks };
	size_t i;
	uint32_t n;

	while (walk.next < writer->space.next) {
		uint64_t taken;
		uint64_t start = space_take(&walk, writer->space.next - walk.next, &taken);

		mark(format, start, taken, 1);
	}
	for (i = 0; i < tree->inode_count; i++) {
		const struct tree_inode *in = &tree->inodes[i];

		for (n = 0; in->number == 0 && n < in->run_count; n++)
			mark(format, tree->runs[in->run_first + n].physical,
			     tree->runs[in->run_first + n].length, -1);
	}
}

/* Bitmaps of all groups, then inode tables of all groups, behind the content. */
static void place_tables(struct format *format)
{
	ext2_filsys fs = format->fs;
	dgrp_t group;
	uint64_t at;

	for (group = 0; group < fs->group_desc_count; group++) {
		at = space_take_whole(&format->space, 1);
		ext2fs_block_bitmap_loc_set(fs, group, at);
		mark(format, at, 1, 1);
	}
	for (group = 0; group < fs->group_desc_count; group++) {
		at = space_take_whole(&format->space, 1);
		ext2fs_inode_bitmap_loc_set(fs, group, at);
		mark(format, at, 1, 1);
	}
	for (group = 0; group < fs->group_desc_count; group++) {
		at = space_take_whole(&format->space, fs->inode_blocks_per_group);
		ext2fs_inode_table_loc_set(fs, group, at);
		mark(format, at, fs->inode_blocks_per_group, 1);
		/* Never written means zero in this file: the guest need not zero it in the
		 * background. */
		ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
	}
}

/* --- inodes --- */

static uint64_t take_xattr_block(const struct format_input *input, uint32_t inode)
{
	const struct ext4_writer *writer = input->writer;
	struct xattr_set *set = &writer->xattrs.sets[writer->tree.inodes[inode].attributes.xattrs];

	if (!set->block)
		return 0;
	return input->xattr_blocks[set->first + set->given++ / XATTR_SHARED_MAX];
}

/* The extent tree's root: made when the inode's runs fit into it, else from the list. */
static int extent_root(struct format *format, uint32_t inode, uint8_t root[static EXTENT_ROOT_SIZE])
{
	const struct format_input *input = format->input;
	struct tree *tree = &input->writer->tree;
	const struct tree_inode *in = &tree->inodes[inode];
	uint32_t blocks = 0;

	if (in->run_count <= EXTENT_ROOT_MAX)
		return extent_encode(&tree->runs[in->run_first], in->run_count, NULL, root,
				     &blocks);
	assert(input->roots[format->next_root].inode == inode);
	memcpy(root, input->roots[format->next_root++].bytes, EXTENT_ROOT_SIZE);
	return 0;
}

static int write_inode(struct format *format, uint32_t inode, struct err *err)
{
	const struct format_input *input = format->input;
	struct ext4_writer *writer = input->writer;
	const struct tree_inode *in = &writer->tree.inodes[inode];
	const uint32_t per_group = input->layout.inodes_per_group;
	const dgrp_t group = (in->number - 1) / per_group;
	uint8_t root[EXTENT_ROOT_SIZE];
	union inode_disk disk;
	uint64_t offset;
	errcode_t e;
	int r;

	r = extent_root(format, inode, root);
	if (r < 0)
		return ext4_writer_failed(r, err);
	inode_fill(writer, inode, root, take_xattr_block(input, inode), &disk);
	e = ext2fs_inode_csum_set(format->fs, in->number, &disk.inode);
	if (e != 0)
		return failed(format, e, "make an inode's checksum", err);
	offset = ext2fs_inode_table_loc(format->fs, group) * SPACE_BLOCK_SIZE +
		 (uint64_t)((in->number - 1) % per_group) * SPACE_INODE_SIZE;
	r = sink_write(&writer->sink, offset, span_of(disk.bytes, sizeof(disk.bytes)));
	if (r < 0)
		return ext4_writer_failed(r, err);
	ext2fs_inode_alloc_stats2(format->fs, in->number, 1, tree_is_folder(&writer->tree, inode));
	return 0;
}

static int write_inodes(struct format *format, struct err *err)
{
	const struct tree *tree = &format->input->writer->tree;
	uint32_t i;
	int r;

	for (i = 1; i <= RESERVED_LAST_INO; i++) {
		if (i != EXT2_ROOT_INO)
			ext2fs_inode_alloc_stats2(format->fs, i, 1, 0);
	}
	for (i = 0; i < tree->inode_count; i++) {
		if (tree->inodes[i].number == 0)
			continue;
		r = write_inode(format, i, err);
		if (r < 0)
			return r;
	}
	r = sink_flush(&format->input->writer->sink);
	return r < 0 ? ext4_writer_failed(r, err) : 0;
}

/* --- the end --- */

static int add_journal(struct format *format, struct err *err)
{
	struct ext2fs_journal_params journal = {
		.num_journal_blocks = format->input->layout.journal_blocks,
	};
	errcode_t e;

	e = ext2fs_create_resize_inode(format->fs);
	if (e != 0)
		return failed(format, e, "make the resize inode", err);
	e = ext2fs_add_journal_inode3(format->fs, &journal, format->space.next,
				      EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
	return e != 0 ? failed(format, e, "make the journal", err) : 0;
}

static int close_fs(struct format *format, struct ext4_summary *ret, struct err *err)
{
	ext2_filsys fs = format->fs;
	dgrp_t group;
	errcode_t e;

	for (group = 0; group < fs->group_desc_count; group++)
		ext2fs_group_desc_csum_set(fs, group);
	ret->used_bytes = (ext2fs_blocks_count(fs->super) - ext2fs_free_blocks_count(fs->super)) *
			  SPACE_BLOCK_SIZE;
	ret->inodes = fs->super->s_inodes_count - fs->super->s_free_inodes_count;
	/* libext2fs forgets some failed writes (of inodes, while it allocates): ours are all kept.
	 */
	e = ext2fs_flush2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
	if (e == 0)
		e = io_fd_errno(fs->io);
	if (e == 0)
		e = ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
	if (e != 0)
		return failed(format, e, "write the file system's tables", err);
	format->fs = NULL;
	return 0;
}

int format_write(const struct format_input *input, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(format_done)
	struct format format = { .input = input, .space = input->writer->space };
	const uint64_t size = input->writer->size_bytes > 0
				      ? input->writer->size_bytes
				      : input->layout.blocks * SPACE_BLOCK_SIZE;
	int fd = input->writer->fd;
	int r;

	if (ftruncate(fd, (off_t)size) < 0)
		return ext4_writer_failed(-errno, err);
	r = create(&format, err);
	if (r < 0)
		return r;
	mark_content(&format);
	place_tables(&format);
	r = write_inodes(&format, err);
	if (r == 0)
		r = add_journal(&format, err);
	if (r == 0)
		r = close_fs(&format, ret, err);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return ext4_writer_failed(-errno, err);
	ret->size_bytes = size;
	memcpy(ret->uuid, input->identity.uuid, sizeof(ret->uuid));
	return 0;
}
