/*
 * Everything that is in an ext4 file system, one line each, for tests that compare it:
 *
 *     ext4_walk IMAGE
 *
 *     PATH TYPE MODE UID GID [links=N] [size=N] [mtime=N] [rdev=A:B] [target=T] [sha256=H] [xattr
 * NAME=HEX]...
 *
 * Bytes in names that are no plain characters are \xNN. layers.py prints folders of the host like
 * this.
 */
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "ext4/acl.h"
#include "ext4/space.h"

#define PIECE 65536U

struct walk {
	ext2_filsys fs;
	const char *at;	     /* the folder's path, with a slash at its end */
	struct strv folders; /* still to be listed: paths */
	ext2_ino_t *numbers; /* theirs */
	size_t done;
	struct strv lines;
};

static void must(errcode_t e, const char *what)
{
	if (e == 0)
		return;
	(void)fprintf(stderr, "%s: error %ld\n", what, (long)e);
	exit(1);
}

static void add_escaped(struct buf *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c > ' ' && c < 0x7f && c != '\\' && c != '=')
			buf_add_byte(out, c);
		else
			buf_addf(out, "\\x%02x", c);
	}
}

static void add_content(struct walk *walk, ext2_ino_t number, struct buf *line)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	static uint8_t piece[PIECE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ext2_file_t file;
	unsigned got = 0;

	must(ext2fs_file_open(walk->fs, number, 0, &file), "open a file");
	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		exit(1);
	do {
		must(ext2fs_file_read(file, piece, PIECE, &got), "read a file");
		if (EVP_DigestUpdate(ctx, piece, got) != 1)
			exit(1);
	} while (got > 0);
	if (EVP_DigestFinal_ex(ctx, digest, &got) != 1)
		exit(1);
	buf_add_str(line, " sha256=");
	text_hex(line, span_of(digest, got));
	EVP_MD_CTX_free(ctx);
	must(ext2fs_file_close(file), "close a file");
}

static void add_target(struct walk *walk, ext2_ino_t number, const struct ext2_inode_large *inode,
		       struct buf *line)
{
	char block[SPACE_BLOCK_SIZE + 1] = { 0 };
	blk64_t physical = 0;

	if (inode->i_size < 60) {
		memcpy(block, inode->i_block, inode->i_size);
	} else {
		must(ext2fs_bmap2(walk->fs, number, NULL, NULL, 0, 0, NULL, &physical), "map");
		must(io_channel_read_blk64(walk->fs->io, physical, 1, block), "read a symlink");
	}
	buf_add_str(line, " target=");
	add_escaped(line, block, strlen(block));
}

static int collect_name(char *name, char *value, size_t size, void *context)
{
	(void)value;
	(void)size;
	strv_add(context, name);
	return 0;
}

/* The kernel gives the entries that are for no certain user or group an id of -1, libext2fs 0. */
static void complete_acl(uint8_t *acl, size_t size)
{
	size_t at;

	for (at = 4; at + 8 <= size; at += 8) {
		if (acl[at] != ACL_TAG_USER && acl[at] != ACL_TAG_GROUP)
			memset(acl + at + 4, 0xff, 4);
	}
}

/* libext2fs gives ACLs in the form of getxattr(2) only when asked for them by name. */
static void add_xattr(struct ext2_xattr_handle *handle, const char *name, struct buf *line)
{
	void *value = NULL;
	size_t size = 0;

	must(ext2fs_xattr_get(handle, name, &value, &size), name);
	if (str_starts(name, "system.posix_acl_"))
		complete_acl(value, size);
	buf_add_str(line, " xattr ");
	add_escaped(line, name, strlen(name));
	buf_add_byte(line, '=');
	text_hex(line, span_of(value, size));
	(void)ext2fs_free_mem(&value);
}

static void add_xattrs(struct walk *walk, ext2_ino_t number, struct buf *line)
{
	struct ext2_xattr_handle *handle;
	AUTO_STRV names = { .count = 0 };
	size_t i;

	must(ext2fs_xattrs_open(walk->fs, number, &handle), "open attributes");
	must(ext2fs_xattrs_read(handle), "read attributes");
	must(ext2fs_xattrs_iterate(handle, collect_name, &names), "list attributes");
	strv_sort(&names);
	for (i = 0; i < names.count; i++)
		add_xattr(handle, names.items[i], line);
	must(ext2fs_xattrs_close(&handle), "close attributes");
}

static const char *type_of(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "folder";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFIFO:
		return "fifo";
	default:
		return "unknown";
	}
}

static uint64_t device_of(const struct ext2_inode_large *inode)
{
	const uint32_t word = inode->i_block[1];

	if (inode->i_block[0] != 0)
		return makedev(inode->i_block[0] >> 8 & 0xff, inode->i_block[0] & 0xff);
	return makedev(word >> 8 & 0xfff, (word & 0xff) | (word >> 12 & 0xfff00));
}

static int64_t mtime_of(const struct ext2_inode_large *inode)
{
	return (int64_t)(int32_t)inode->i_mtime + ((int64_t)(inode->i_mtime_extra & 3) << 32);
}

static void describe(struct walk *walk, ext2_ino_t number, struct buf *line)
{
	struct ext2_inode_large inode;
	unsigned mode;

	must(ext2fs_read_inode_full(walk->fs, number, (struct ext2_inode *)&inode, sizeof(inode)),
	     "read an inode");
	mode = inode.i_mode;
	buf_addf(line, " %s %04o %u %u", type_of(mode), mode & 07777U,
		 inode.i_uid | (unsigned)inode.osd2.linux2.l_i_uid_high << 16,
		 inode.i_gid | (unsigned)inode.osd2.linux2.l_i_gid_high << 16);
	if (!S_ISDIR(mode))
		buf_addf(line, " links=%u mtime=%lld", (unsigned)inode.i_links_count,
			 (long long)mtime_of(&inode));
	if (S_ISREG(mode)) {
		buf_addf(line, " size=%llu", (unsigned long long)EXT2_I_SIZE(&inode));
		add_content(walk, number, line);
	} else if (S_ISLNK(mode)) {
		add_target(walk, number, &inode, line);
	} else if (S_ISCHR(mode) || S_ISBLK(mode)) {
		buf_addf(line, " rdev=%u:%u", major(device_of(&inode)), minor(device_of(&inode)));
	}
	add_xattrs(walk, number, line);
}

static int visit(ext2_ino_t folder, int entry, struct ext2_dir_entry *dirent, int offset,
		 int block_size, char *buf, void *context)
{
	struct walk *walk = context;
	const int len = ext2fs_dirent_name_len(dirent);
	AUTO_BUF line = BUF_INIT;

	(void)folder;
	(void)offset;
	(void)block_size;
	(void)buf;
	if (entry != DIRENT_OTHER_FILE)
		return 0;
	buf_add_str(&line, walk->at);
	add_escaped(&line, dirent->name, (size_t)len);
	if (str_eq(line.ptr, "/lost+found"))
		return 0;
	if (ext2fs_dirent_file_type(dirent) == EXT2_FT_DIR) {
		strv_addf(&walk->folders, "%s/", line.ptr);
		walk->numbers =
			mem_grow(walk->numbers, walk->folders.count, sizeof(*walk->numbers));
		walk->numbers[walk->folders.count - 1] = dirent->inode;
	}
	describe(walk, dirent->inode, &line);
	strv_add(&walk->lines, line.ptr);
	return 0;
}

int main(int argc, char **argv)
{
	struct walk walk = { .at = "/" };
	AUTO_BUF root = BUF_INIT;
	size_t i;

	if (argc != 2)
		return 2;
	must(ext2fs_open(argv[1], EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &walk.fs), argv[1]);
	buf_add_str(&root, "/");
	describe(&walk, EXT2_ROOT_INO, &root);
	strv_add(&walk.lines, root.ptr);
	must(ext2fs_dir_iterate2(walk.fs, EXT2_ROOT_INO, 0, NULL, visit, &walk), "list the root");
	for (; walk.done < walk.folders.count; walk.done++) {
		AUTO_FREE char *path = mem_strdup(walk.folders.items[walk.done]);

		walk.at = path;
		must(ext2fs_dir_iterate2(walk.fs, walk.numbers[walk.done], 0, NULL, visit, &walk),
		     path);
	}
	strv_sort(&walk.lines);
	for (i = 0; i < walk.lines.count; i++)
		(void)puts(walk.lines.items[i]);
	ext2fs_free(walk.fs);
	strv_done(&walk.lines);
	strv_done(&walk.folders);
	mem_free(walk.numbers);
	return 0;
}
