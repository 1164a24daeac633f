#include "ext4/inode.h"

#include <endian.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/extent.h"

#define EXTRA_SIZE	  32 /* i_extra_isize: all fields of struct ext2_inode_large */
#define SECTORS_PER_BLOCK (SPACE_BLOCK_SIZE / 512U)

uint8_t inode_entry_type(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFLNK:
		return EXT2_FT_SYMLINK;
	default:
		return EXT2_FT_UNKNOWN;
	}
}

/* The 32 low bits are signed; two bits above them count further on, and the rest are nanoseconds.
 */
static void fill_times(const struct tree_attributes *attributes, struct ext2_inode_large *disk)
{
	uint32_t low = (uint32_t)attributes->mtime;
	uint64_t above = (uint64_t)(attributes->mtime - (int32_t)low) >> 32;
	uint32_t extra = (uint32_t)(above & 3) | attributes->mtime_nsec << 2;

	disk->i_atime = disk->i_ctime = disk->i_mtime = disk->i_crtime = low;
	disk->i_atime_extra = disk->i_ctime_extra = disk->i_mtime_extra = disk->i_crtime_extra =
		extra;
}

static void fill_device(const struct tree_inode *in, struct ext2_inode_large *disk)
{
	uint32_t major = in->u.device.major;
	uint32_t minor = in->u.device.minor;

	if (major < 256 && minor < 256)
		disk->i_block[0] = major << 8 | minor;
	else
		disk->i_block[1] = (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

static uint64_t data_blocks(const struct ext4_writer *writer, const struct tree_inode *in)
{
	uint64_t blocks = 0;
	uint32_t i;

	for (i = 0; i < in->run_count; i++)
		blocks += writer->tree.runs[in->run_first + i].length;
	return blocks;
}

/* What i_block holds: an extent tree, a short symlink, a device number, or nothing. */
static void fill_blocks(const struct ext4_writer *writer, uint32_t inode, const uint8_t *root,
			struct ext2_inode_large *disk)
{
	const struct tree_inode *in = &writer->tree.inodes[inode];
	const uint16_t type = in->attributes.mode & S_IFMT;

	if (type == S_IFCHR || type == S_IFBLK) {
		fill_device(in, disk);
	} else if (type == S_IFLNK && in->run_count == 0) {
		struct span target = tree_target(&writer->tree, inode);

		memcpy(disk->i_block, target.ptr, target.len);
	} else if (type != S_IFIFO) {
		memcpy(disk->i_block, root, EXTENT_ROOT_SIZE);
		disk->i_flags |= EXT4_EXTENTS_FL;
	}
}

void inode_fill(const struct ext4_writer *writer, uint32_t inode, const uint8_t *root,
		uint64_t xattr_block, union inode_disk *ret)
{
	const struct tree_inode *in = &writer->tree.inodes[inode];
	const struct tree_attributes *a = &in->attributes;
	const struct xattr_set *set = &writer->xattrs.sets[a->xattrs];
	struct ext2_inode_large *disk = &ret->inode;
	uint64_t sectors;

	memset(ret, 0, sizeof(*ret));
	disk->i_mode = a->mode;
	disk->i_uid = (uint16_t)a->uid;
	disk->osd2.linux2.l_i_uid_high = (uint16_t)(a->uid >> 16);
	disk->i_gid = (uint16_t)a->gid;
	disk->osd2.linux2.l_i_gid_high = (uint16_t)(a->gid >> 16);
	disk->i_size = (uint32_t)in->size;
	disk->i_size_high = (uint32_t)(in->size >> 32);
	disk->i_links_count = tree_disk_links(&writer->tree, inode);
	disk->i_extra_isize = EXTRA_SIZE;
	fill_times(a, disk);
	fill_blocks(writer, inode, root, disk);
	if (tree_is_folder(&writer->tree, inode) && in->u.folder.is_indexed)
		disk->i_flags |= EXT2_INDEX_FL;

	sectors = (data_blocks(writer, in) + in->meta_blocks + (xattr_block != 0)) *
		  SECTORS_PER_BLOCK;
	disk->i_blocks = (uint32_t)sectors;
	disk->osd2.linux2.l_i_blocks_hi = (uint16_t)(sectors >> 32);
	disk->i_file_acl = (uint32_t)xattr_block;
	disk->osd2.linux2.l_i_file_acl_high = (uint16_t)(xattr_block >> 32);
	if (set->body)
		memcpy(ret->bytes + EXT2_GOOD_OLD_INODE_SIZE + EXTRA_SIZE, set->body,
		       XATTR_BODY_SIZE);
}
