/* Tars made by libarchive in memory, and file systems read back by libext2fs. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include "base/buf.h"
#include "ext4/ext4.h"

struct tar_maker {
	struct archive *archive;
	int fd; /* a memfd */
};

void tar_begin(struct tar_maker *tar);
/* An entry with defaults: mode 0644 or 0755, owner 0, time 1000. Not written yet. */
struct archive_entry *tar_new(const char *path, unsigned type);
/* Writes it with `content` (may be NULL) and frees it. */
void tar_put(struct tar_maker *tar, struct archive_entry *entry, const void *content, size_t size);

/* The usual ones in one call. */
void tar_file(struct tar_maker *tar, const char *path, const char *content);
void tar_folder(struct tar_maker *tar, const char *path);
void tar_symlink(struct tar_maker *tar, const char *path, const char *target);
void tar_link(struct tar_maker *tar, const char *path, const char *target);

/* Ends the tar; the fd is at its beginning. */
int tar_end(struct tar_maker *tar);

/* An empty file. */
int new_image(void);

/* From a finished tar; closes its fd. The image's fd, or -errno. */
int make_image(struct tar_maker *tar, const struct ext4_options *options, struct ext4_summary *ret,
	       struct err *err);

/* Opens what was made; fails the test when libext2fs does not like it. */
ext2_filsys open_image(int fd);

/* 0 when there is none. The last component is not followed. */
ext2_ino_t find_inode(ext2_filsys fs, const char *path);
struct ext2_inode_large read_inode(ext2_filsys fs, const char *path);
void read_file(ext2_filsys fs, const char *path, struct buf *ret);
