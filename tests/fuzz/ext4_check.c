#include "ext4_check.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/io.h"

#define BLOCKS	   (EXT4_CHECK_BYTES / 4096)
#define INODES_MAX 4096
#define RESERVED   10

struct check {
	ext2_filsys fs;
	uint16_t links[INODES_MAX + 1]; /* names found for each inode */
	bool is_folder[INODES_MAX + 1];
	uint8_t used[BLOCKS]; /* by which sort of owner */
	ext2_ino_t folder;
	ext2_ino_t queue[INODES_MAX];
	size_t queued;
};

static int visit_entry(ext2_ino_t folder, int entry, struct ext2_dir_entry *dirent, int offset,
		       int block_size, char *buf, void *context)
{
	struct check *check = context;
	const int len = ext2fs_dirent_name_len(dirent);

	(void)offset;
	(void)block_size;
	(void)buf;
	EXT4_MUST(dirent->inode > 0 && dirent->inode <= INODES_MAX);
	check->links[dirent->inode]++;
	if (entry == DIRENT_DOT_FILE) {
		EXT4_MUST(len == 1 && dirent->inode == folder);
		return 0;
	}
	if (entry == DIRENT_DOT_DOT_FILE) {
		EXT4_MUST(len == 2);
		return 0;
	}
	EXT4_MUST(len > 0 && len <= 255 && !memchr(dirent->name, '/', (size_t)len) &&
		  !memchr(dirent->name, '\0', (size_t)len));
	if (ext2fs_dirent_file_type(dirent) == EXT2_FT_DIR) {
		EXT4_MUST(!check->is_folder[dirent->inode]);
		check->is_folder[dirent->inode] = true;
		check->queue[check->queued++] = dirent->inode;
	}
	return 0;
}

static void walk(struct check *check)
{
	static char buf[4096];
	size_t next;

	check->queue[check->queued++] = EXT2_ROOT_INO;
	check->is_folder[EXT2_ROOT_INO] = true;
	for (next = 0; next < check->queued; next++)
		EXT4_MUST(ext2fs_dir_iterate2(check->fs, check->queue[next], 0, buf, visit_entry,
					      check) == 0);
}

static int claim(ext2_filsys fs, blk64_t *block, e2_blkcnt_t logical, blk64_t reference, int offset,
		 void *context)
{
	struct check *check = context;

	(void)logical;
	(void)reference;
	(void)offset;
	EXT4_MUST(*block > 0 && *block < BLOCKS);
	EXT4_MUST(ext2fs_test_block_bitmap2(fs->block_map, *block));
	EXT4_MUST(check->used[*block] == 0);
	check->used[*block] = 1;
	return 0;
}

static void check_inode(struct check *check, ext2_ino_t number)
{
	struct ext2_inode inode;
	const bool in_use = ext2fs_test_inode_bitmap2(check->fs->inode_map, number);
	unsigned links = check->links[number];

	EXT4_MUST(ext2fs_read_inode(check->fs, number, &inode) == 0);
	if (number <= RESERVED && number != EXT2_ROOT_INO) {
		EXT4_MUST(in_use && links == 0);
	} else {
		EXT4_MUST(in_use == (links > 0));
		if (!in_use)
			return;
		EXT4_MUST(inode.i_links_count == links);
		EXT4_MUST(S_ISDIR(inode.i_mode) == check->is_folder[number]);
		EXT4_MUST(S_ISREG(inode.i_mode) || S_ISDIR(inode.i_mode) || S_ISLNK(inode.i_mode) ||
			  S_ISCHR(inode.i_mode) || S_ISBLK(inode.i_mode) || S_ISFIFO(inode.i_mode));
	}
	/* The resize inode's blocks are descriptors, which are shared by nature. */
	if (number != EXT2_RESIZE_INO && ext2fs_inode_has_valid_blocks2(check->fs, &inode))
		EXT4_MUST(ext2fs_block_iterate3(check->fs, number, BLOCK_FLAG_READ_ONLY, NULL,
						claim, check) == 0);
}

void ext4_check(int fd, const struct ext4_summary *summary)
{
	static struct check check;
	char name[16];
	ext2_ino_t number, used = 0;
	blk64_t free_blocks = 0;
	blk64_t block;

	memset(&check, 0, sizeof(check));
	(void)snprintf(name, sizeof(name), "%d", fd);
	EXT4_MUST(ext2fs_open(name, EXT2_FLAG_64BITS, 0, 0, io_fd_manager(), &check.fs) == 0);
	EXT4_MUST(ext2fs_read_bitmaps(check.fs) == 0);
	EXT4_MUST(check.fs->super->s_inodes_count <= INODES_MAX);
	walk(&check);
	for (number = 1; number <= check.fs->super->s_inodes_count; number++) {
		check_inode(&check, number);
		used += ext2fs_test_inode_bitmap2(check.fs->inode_map, number) ? 1 : 0;
	}
	for (block = 0; block < BLOCKS; block++)
		free_blocks += ext2fs_test_block_bitmap2(check.fs->block_map, block) ? 0 : 1;
	EXT4_MUST(used == summary->inodes);
	EXT4_MUST(free_blocks == ext2fs_free_blocks_count(check.fs->super));
	ext2fs_free(check.fs);
}
