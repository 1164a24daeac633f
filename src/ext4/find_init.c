#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/macros.h"
#include "ext4/ext4.h"
#include "ext4/io.h"

#define INIT_PATH "/sbin/init"

static void close_fs(ext2_filsys *fs)
{
	if (*fs)
		ext2fs_free(*fs);
}

/* The errno of the failed read wins. */
static int failed(errcode_t e, ext2_filsys fs, struct err *err)
{
	const int errnum = fs ? io_fd_errno(fs->io) : 0;

	if (errnum != 0)
		return err_sys(err, -errnum, "read the file system");
	if (e == EXT2_ET_NO_MEMORY)
		return err_sys(err, -ENOMEM, "read the file system");
	return err_set(err, ERR_INVALID, "the file system cannot be read: %s", error_message(e));
}

int ext4_find_init(int fd, bool *ret, struct err *err)
{
	CLEANUP(close_fs) ext2_filsys fs = NULL;
	struct ext2_inode inode;
	ext2_ino_t number = 0;
	char name[16];
	errcode_t e;

	initialize_ext2_error_table();
	(void)snprintf(name, sizeof(name), "%d", fd);
	e = ext2fs_open2(name, NULL, EXT2_FLAG_64BITS, 0, 0, io_fd_manager(), &fs);
	if (e == 0)
		e = ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, INIT_PATH, &number);
	/* What the kernel would not find either. */
	if (e == EXT2_ET_FILE_NOT_FOUND || e == EXT2_ET_NO_DIRECTORY || e == EXT2_ET_SYMLINK_LOOP) {
		*ret = false;
		return 0;
	}
	if (e == 0)
		e = ext2fs_read_inode(fs, number, &inode);
	if (e != 0)
		return failed(e, fs, err);
	*ret = LINUX_S_ISREG(inode.i_mode) && (inode.i_mode & S_IXUSR) != 0;
	return 0;
}
