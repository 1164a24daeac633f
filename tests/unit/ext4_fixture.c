#include "ext4_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "check.h"
#include "ext4/io.h"

#define TIME_DEFAULT 1000

void tar_begin(struct tar_maker *tar)
{
	tar->fd = memfd_create("tar", MFD_CLOEXEC);
	assert_true(tar->fd >= 0);
	tar->archive = archive_write_new();
	assert_non_null(tar->archive);
	assert_int_equal(archive_write_set_format_pax(tar->archive), ARCHIVE_OK);
	/* Names are bytes. */
	assert_int_equal(archive_write_set_options(tar->archive, "hdrcharset=BINARY"), ARCHIVE_OK);
	assert_int_equal(archive_write_open_fd(tar->archive, tar->fd), ARCHIVE_OK);
}

struct archive_entry *tar_new(const char *path, unsigned type)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, type == AE_IFDIR ? 0755 : 0644);
	archive_entry_set_mtime(entry, TIME_DEFAULT, 0);
	archive_entry_set_size(entry, 0);
	return entry;
}

void tar_put(struct tar_maker *tar, struct archive_entry *entry, const void *content, size_t size)
{
	if (size > 0)
		archive_entry_set_size(entry, (la_int64_t)size);
	if (archive_write_header(tar->archive, entry) < ARCHIVE_WARN)
		fail_msg("%s", archive_error_string(tar->archive));
	if (size > 0)
		assert_true(archive_write_data(tar->archive, content, size) == (la_ssize_t)size);
	archive_entry_free(entry);
}

void tar_file(struct tar_maker *tar, const char *path, const char *content)
{
	tar_put(tar, tar_new(path, AE_IFREG), content, strlen(content));
}

void tar_folder(struct tar_maker *tar, const char *path)
{
	tar_put(tar, tar_new(path, AE_IFDIR), NULL, 0);
}

void tar_symlink(struct tar_maker *tar, const char *path, const char *target)
{
	struct archive_entry *entry = tar_new(path, AE_IFLNK);

	archive_entry_set_symlink(entry, target);
	tar_put(tar, entry, NULL, 0);
}

void tar_link(struct tar_maker *tar, const char *path, const char *target)
{
	struct archive_entry *entry = tar_new(path, AE_IFREG);

	archive_entry_set_hardlink(entry, target);
	tar_put(tar, entry, NULL, 0);
}

int tar_end(struct tar_maker *tar)
{
	assert_int_equal(archive_write_close(tar->archive), ARCHIVE_OK);
	assert_int_equal(archive_write_free(tar->archive), ARCHIVE_OK);
	assert_true(lseek(tar->fd, 0, SEEK_SET) == 0);
	return tar->fd;
}

int new_image(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

int make_image(struct tar_maker *tar, const struct ext4_options *options, struct ext4_summary *ret,
	       struct err *err)
{
	AUTO_CLOSE int tar_fd = tar_end(tar);
	AUTO_CLOSE int image = new_image();
	const struct ext4_input input = { .tar_fd = tar_fd };
	int r = ext4_from_tar(&input, image, options, ret, err);

	return r < 0 ? r : TAKE_FD(image);
}

ext2_filsys open_image(int fd)
{
	ext2_filsys fs = NULL;
	char name[16];
	errcode_t e;

	(void)snprintf(name, sizeof(name), "%d", fd);
	e = ext2fs_open(name, EXT2_FLAG_64BITS, 0, 0, io_fd_manager(), &fs);
	if (e != 0)
		fail_msg("open: %s", error_message(e));
	e = ext2fs_read_bitmaps(fs);
	if (e != 0)
		fail_msg("bitmaps: %s", error_message(e));
	return fs;
}

ext2_ino_t find_inode(ext2_filsys fs, const char *path)
{
	ext2_ino_t inode = 0;

	return ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &inode) == 0 ? inode : 0;
}

struct ext2_inode_large read_inode(ext2_filsys fs, const char *path)
{
	struct ext2_inode_large inode = { .i_mode = 0 };
	ext2_ino_t number = find_inode(fs, path);
	errcode_t e;

	if (number == 0)
		fail_msg("there is no %s", path);
	e = ext2fs_read_inode_full(fs, number, (struct ext2_inode *)(void *)&inode, sizeof(inode));
	if (e != 0)
		fail_msg("inode of %s: %s", path, error_message(e));
	return inode;
}

void read_file(ext2_filsys fs, const char *path, struct buf *ret)
{
	ext2_ino_t number = find_inode(fs, path);
	ext2_file_t file = NULL;
	unsigned got = 0;
	errcode_t e;

	if (number == 0)
		fail_msg("there is no %s", path);
	e = ext2fs_file_open(fs, number, 0, &file);
	if (e != 0)
		fail_msg("open %s: %s", path, error_message(e));
	do {
		buf_reserve(ret, 65536);
		e = ext2fs_file_read(file, ret->ptr + ret->len, 65536, &got);
		if (e != 0)
			fail_msg("read %s: %s", path, error_message(e));
		buf_advance(ret, got);
	} while (got > 0);
	assert_int_equal(ext2fs_file_close(file), 0);
}
