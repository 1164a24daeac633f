/* Tars that are accepted, and what libext2fs reads from the file systems made of them. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "ext4/writer.h"
#include "ext4_fixture.h"

static const struct ext4_options no_options = { .seed_fd = -1 };

/* Makes the image and opens it; the test fails when either does. */
struct made {
	int fd;
	ext2_filsys fs;
	struct ext4_summary summary;
};

static struct made make(struct tar_maker *tar, const struct ext4_options *options)
{
	struct made made = { .fd = -1 };
	struct err err = ERR_INIT;

	made.fd = make_image(tar, options, &made.summary, &err);
	if (made.fd < 0)
		fail_msg("%s: %s", err_kind_name(err.kind), err.message);
	made.fs = open_image(made.fd);
	return made;
}

static void made_done(struct made *made)
{
	ext2fs_free(made->fs);
	fd_close(made->fd);
}
#define AUTO_MADE CLEANUP(made_done) struct made

static char *filled(size_t size, char byte)
{
	char *text = mem_alloc(size + 1, 1);

	memset(text, byte, size);
	return text;
}

static void check_file(ext2_filsys fs, const char *path, const char *content)
{
	AUTO_BUF got = BUF_INIT;

	read_file(fs, path, &got);
	CHECK_STR(got.ptr, content);
}

static void test_content(void **state)
{
	static const size_t sizes[] = { 0, 1, 511, 512, 4095, 4096, 4097, 65536, 1048577, 5000000 };
	struct tar_maker tar;
	size_t i;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_FREE char *path = mem_printf("./f%zu", sizes[i]);
		AUTO_FREE char *text = filled(sizes[i], (char)('a' + i));

		tar_file(&tar, path, text);
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_FREE char *path = mem_printf("/f%zu", sizes[i]);
		AUTO_FREE char *text = filled(sizes[i], (char)('a' + i));
		struct ext2_inode_large inode = read_inode(made.fs, path);

		check_file(made.fs, path, text);
		CHECK_INT(inode.i_size, sizes[i]);
		CHECK_INT(inode.i_blocks, (sizes[i] + 4095) / 4096 * 8);
		CHECK_INT(inode.i_mode, S_IFREG | 0644);
	}
	CHECK_INT(made.summary.entries, ARRAY_LEN(sizes));
	CHECK_INT(made.summary.size_bytes, EXT4_AUTO_SIZE_MIN);
}

/* Zeros in the middle: short ones keep their blocks, long ones are holes; all read back. */
static void test_zeros(void **state)
{
	static const struct {
		size_t zeros, blocks;
	} rows[] = {
		{ 4096, 3 },
		{ 15 * 4096, 17 },
		{ 16 * 4096, 2 },
		{ 300 * 4096, 2 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		const size_t size = rows[i].zeros + 2 * 4096;
		AUTO_FREE char *content = filled(size, 'x');
		AUTO_BUF got = BUF_INIT;
		struct tar_maker tar;

		memset(content + 4096, 0, rows[i].zeros);
		tar_begin(&tar);
		tar_put(&tar, tar_new("f", AE_IFREG), content, size);
		AUTO_MADE made = make(&tar, &no_options);

		read_file(made.fs, "/f", &got);
		CHECK_ROW(i, span_eq(buf_span(&got), span_of(content, size)));
		CHECK_INT(read_inode(made.fs, "/f").i_blocks, rows[i].blocks * 8);
	}
}

/* GNU's old form of a sparse file: a terabyte with four bytes at its end. libarchive does not write
 * it. */
static void put_sparse(int fd, const char *name, uint64_t size, const char *tail)
{
	uint8_t record[1024] = { 0 };
	const size_t len = strlen(tail);
	unsigned sum = 8 * ' ';
	size_t i;

	memcpy(record, name, strlen(name));
	memcpy(record + 100, "0000644", 7);
	memcpy(record + 108, "0000000", 7);
	memcpy(record + 116, "0000000", 7);
	(void)snprintf((char *)record + 124, 12, "%011zo", len);
	memcpy(record + 136, "00000001750", 11);
	record[156] = 'S';
	memcpy(record + 257, "ustar  ", 7);
	/* Numbers over 11 octal digits are binary, led by 0x80: offset, bytes, and the whole size.
	 */
	record[386] = 0x80;
	record[483] = 0x80;
	for (i = 0; i < 8; i++) {
		record[386 + 11 - i] = (uint8_t)((size - len) >> (8 * i));
		record[483 + 11 - i] = (uint8_t)(size >> (8 * i));
	}
	(void)snprintf((char *)record + 398, 12, "%011zo", len);
	memset(record + 148, 0, 8);
	for (i = 0; i < 512; i++)
		sum += record[i];
	(void)snprintf((char *)record + 148, 8, "%06o", sum);
	record[155] = ' ';
	memcpy(record + 512, tail, len);
	assert_int_equal(fd_write_all(fd, span_of(record, sizeof(record))), 0);
}

static void test_sparse(void **state)
{
	const uint64_t size = 1ULL << 40;
	struct tar_maker tar;
	char tail[4] = { 0 };
	unsigned got = 0;
	ext2_file_t file;

	(void)state;
	tar_begin(&tar);
	put_sparse(tar.fd, "sparse", size, "tail");
	tar_file(&tar, "after", "still in step");
	AUTO_MADE made = make(&tar, &no_options);

	CHECK_INT(read_inode(made.fs, "/sparse").i_blocks, 8);
	CHECK_INT(read_inode(made.fs, "/sparse").i_size_high, size >> 32);
	assert_int_equal(ext2fs_file_open(made.fs, find_inode(made.fs, "/sparse"), 0, &file), 0);
	assert_int_equal(ext2fs_file_llseek(file, size - 4, EXT2_SEEK_SET, NULL), 0);
	assert_int_equal(ext2fs_file_read(file, tail, sizeof(tail), &got), 0);
	assert_memory_equal(tail, "tail", 4);
	assert_int_equal(ext2fs_file_close(file), 0);
	check_file(made.fs, "/after", "still in step");
}

static void test_symlinks(void **state)
{
	static const size_t lengths[] = { 1, 58, 59, 60, 61, 255, 4094, 4095 };
	struct tar_maker tar;
	size_t i;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(lengths); i++) {
		AUTO_FREE char *path = mem_printf("l%zu", lengths[i]);
		AUTO_FREE char *target = filled(lengths[i], 't');

		tar_symlink(&tar, path, target);
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(lengths); i++) {
		AUTO_FREE char *path = mem_printf("/l%zu", lengths[i]);
		AUTO_FREE char *target = filled(lengths[i], 't');
		struct ext2_inode_large inode = read_inode(made.fs, path);

		CHECK_INT(inode.i_size, lengths[i]);
		CHECK_INT(inode.i_mode, S_IFLNK | 0777);
		CHECK_INT(inode.i_blocks, lengths[i] < 60 ? 0 : 8);
		if (lengths[i] < 60)
			CHECK_STR((const char *)inode.i_block, target);
		else
			check_file(made.fs, path, target);
	}
}

static void test_links(void **state)
{
	struct tar_maker tar;

	(void)state;
	tar_begin(&tar);
	tar_file(&tar, "a/one", "same");
	tar_link(&tar, "b/two", "./a/one");
	tar_link(&tar, "c/d/three", "/b/two");
	tar_symlink(&tar, "sym", "nowhere");
	tar_link(&tar, "sym2", "sym");
	tar_link(&tar, "b/two", "a/one"); /* once more: nothing changes */
	AUTO_MADE made = make(&tar, &no_options);

	CHECK_INT(find_inode(made.fs, "/a/one"), find_inode(made.fs, "/b/two"));
	CHECK_INT(find_inode(made.fs, "/a/one"), find_inode(made.fs, "/c/d/three"));
	CHECK_INT(read_inode(made.fs, "/a/one").i_links_count, 3);
	CHECK_INT(find_inode(made.fs, "/sym"), find_inode(made.fs, "/sym2"));
	check_file(made.fs, "/c/d/three", "same");
	/* a, b, c and lost+found */
	CHECK_INT(read_inode(made.fs, "/").i_links_count, 6);
	CHECK_INT(read_inode(made.fs, "/c").i_links_count, 3);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *path;
		unsigned type, perm, mode, major, minor, block, value;
	} rows[] = {
		{ "fifo", AE_IFIFO, 0600, S_IFIFO | 0600, 0, 0, 0, 0 },
		{ "null", AE_IFCHR, 0666, S_IFCHR | 0666, 1, 3, 0, 0x103 },
		{ "disk", AE_IFBLK, 0660, S_IFBLK | 0660, 8, 300, 1, 0x10082c },
		{ "far", AE_IFCHR, 0600, S_IFCHR | 0600, 4095, 1048575, 1, 0xffffffff },
		{ "suid", AE_IFREG, 06755, S_IFREG | 06755, 0, 0, 0, 0 },
		{ "tmp", AE_IFDIR, 01777, S_IFDIR | 01777, 0, 0, 0, 0 },
	};
	struct tar_maker tar;
	size_t i;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct archive_entry *entry = tar_new(rows[i].path, rows[i].type);

		archive_entry_set_perm(entry, (uint16_t)rows[i].perm);
		archive_entry_set_rdevmajor(entry, rows[i].major);
		archive_entry_set_rdevminor(entry, rows[i].minor);
		archive_entry_set_uid(entry, (la_int64_t)UINT32_MAX - (la_int64_t)i);
		archive_entry_set_gid(entry, 70000 + (la_int64_t)i);
		tar_put(&tar, entry, NULL, 0);
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *path = mem_printf("/%s", rows[i].path);
		struct ext2_inode_large inode = read_inode(made.fs, path);

		CHECK_INT(inode.i_mode, rows[i].mode);
		if (rows[i].value != 0)
			CHECK_INT(inode.i_block[rows[i].block], rows[i].value);
		CHECK_INT(inode.i_uid | (uint32_t)inode.osd2.linux2.l_i_uid_high << 16,
			  UINT32_MAX - i);
		CHECK_INT(inode.i_gid | (uint32_t)inode.osd2.linux2.l_i_gid_high << 16, 70000 + i);
	}
}

static void test_times(void **state)
{
	static const struct {
		int64_t seconds;
		uint32_t nsec;
		int64_t want;
		uint32_t want_nsec;
	} rows[] = {
		{ 0, 0, 0, 0 },
		{ 1700000000, 123456789, 1700000000, 123456789 },
		{ -1, 0, -1, 0 },
		{ -2147483648LL, 0, -2147483648LL, 0 },
		{ -2147483649LL, 5, -2147483648LL, 0 },
		{ 2147483648LL, 7, 2147483648LL, 7 },
		{ 4294967296LL, 0, 4294967296LL, 0 },
		{ EXT4_TIME_MAX, 9, EXT4_TIME_MAX, 9 },
		{ EXT4_TIME_MAX + 1, 9, EXT4_TIME_MAX, 0 },
		{ 1000000000000000000LL, 0, EXT4_TIME_MAX, 0 },
	};
	struct tar_maker tar;
	size_t i;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *path = mem_printf("t%zu", i);
		struct archive_entry *entry = tar_new(path, AE_IFREG);

		archive_entry_set_mtime(entry, rows[i].seconds, rows[i].nsec);
		tar_put(&tar, entry, NULL, 0);
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *path = mem_printf("/t%zu", i);
		struct ext2_inode_large inode = read_inode(made.fs, path);
		const int64_t got =
			(int32_t)inode.i_mtime + ((int64_t)(inode.i_mtime_extra & 3) << 32);

		CHECK_INT(got, rows[i].want);
		CHECK_INT(inode.i_mtime_extra >> 2, rows[i].want_nsec);
		CHECK_INT(inode.i_ctime, inode.i_mtime);
	}
}

static void check_xattr(ext2_filsys fs, const char *path, const char *name, const void *value,
			size_t size)
{
	struct ext2_xattr_handle *handle = NULL;
	void *got = NULL;
	size_t got_size = 0;
	errcode_t e;

	assert_int_equal(ext2fs_xattrs_open(fs, find_inode(fs, path), &handle), 0);
	e = ext2fs_xattrs_read(handle);
	if (e != 0)
		fail_msg("%s: %s", path, error_message(e));
	e = ext2fs_xattr_get(handle, name, &got, &got_size);
	if (e != 0)
		fail_msg("%s of %s: %s", name, path, error_message(e));
	CHECK_INT(got_size, size);
	assert_memory_equal(got, value, size);
	ext2fs_free_mem(&got);
	assert_int_equal(ext2fs_xattrs_close(&handle), 0);
}

static void test_xattrs(void **state)
{
	static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 4 };
	static const size_t sizes[] = { 0, 1, 20, 60, 100, 1000, 3900 };
	AUTO_FREE char *text = filled(4000, 'v');
	struct archive_entry *entry;
	struct tar_maker tar;
	size_t i;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_FREE char *path = mem_printf("x%zu", i);

		entry = tar_new(path, AE_IFREG);
		archive_entry_xattr_add_entry(entry, "security.capability", capability,
					      sizeof(capability));
		archive_entry_xattr_add_entry(entry, "user.long.name", text, sizes[i]);
		archive_entry_xattr_add_entry(entry, "trusted.overlay.opaque", "y", 1);
		tar_put(&tar, entry, NULL, 0);
	}
	/* 1025 files with one set: two blocks. */
	for (i = 0; i < 1025; i++) {
		AUTO_FREE char *path = mem_printf("shared/%zu", i);

		entry = tar_new(path, AE_IFREG);
		archive_entry_xattr_add_entry(entry, "user.shared", text, 2000);
		tar_put(&tar, entry, NULL, 0);
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_FREE char *path = mem_printf("/x%zu", i);

		check_xattr(made.fs, path, "security.capability", capability, sizeof(capability));
		check_xattr(made.fs, path, "user.long.name", text, sizes[i]);
		CHECK_INT(read_inode(made.fs, path).i_file_acl != 0, i >= 2);
	}
	check_xattr(made.fs, "/shared/1024", "user.shared", text, 2000);
	CHECK_INT(read_inode(made.fs, "/shared/0").i_file_acl,
		  read_inode(made.fs, "/shared/1023").i_file_acl);
	assert_true(read_inode(made.fs, "/shared/0").i_file_acl !=
		    read_inode(made.fs, "/shared/1024").i_file_acl);
}

static void test_acl(void **state)
{
	/* As getxattr(2) would give it: rwx, user 1000 rw-, group r-x, mask rwx, others ---. */
	static const uint8_t wanted[] = { 2, 0,	  0, 0, 1, 0, 7,  0, 0, 0, 0, 0, 2, 0,	6,
					  0, 232, 3, 0, 0, 4, 0,  5, 0, 0, 0, 0, 0, 16, 0,
					  7, 0,	  0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0 };
	struct archive_entry *entry = tar_new("acl", AE_IFREG);
	struct tar_maker tar;

	(void)state;
	archive_entry_set_perm(entry, 0770);
	archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 7,
				    ARCHIVE_ENTRY_ACL_USER_OBJ, -1, "");
	archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 6, ARCHIVE_ENTRY_ACL_USER,
				    1000, "u");
	archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 5,
				    ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, "");
	archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 7, ARCHIVE_ENTRY_ACL_MASK,
				    -1, "");
	archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 0,
				    ARCHIVE_ENTRY_ACL_OTHER, -1, "");
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	AUTO_MADE made = make(&tar, &no_options);

	check_xattr(made.fs, "/acl", "system.posix_acl_access", wanted, sizeof(wanted));
}

static void test_places(void **state)
{
	AUTO_FREE char *longest = filled(255, 'n');
	AUTO_FREE char *longest_path = mem_printf("/%s", longest);
	struct tar_maker tar;

	(void)state;
	tar_begin(&tar);
	tar_folder(&tar, "./");
	tar_folder(&tar, "usr/bin/");
	tar_symlink(&tar, "bin", "usr/bin");
	tar_symlink(&tar, "abs", "/usr");
	tar_symlink(&tar, "up", "../../../usr/./bin/..");
	tar_symlink(&tar, "dangling", "made/here");
	tar_file(&tar, "/bin/through-link", "1");
	tar_file(&tar, "abs/bin/through-absolute", "2");
	tar_file(&tar, "up/through-parents", "3");
	tar_file(&tar, "dangling/now", "4");
	tar_file(&tar, "./a//b/./c", "5");
	tar_file(&tar, "caf\xc3\xa9", "6");
	tar_file(&tar, "bad\xff\xfe", "7");
	tar_file(&tar, "new\nline\\", "8");
	tar_file(&tar, longest, "9");
	AUTO_MADE made = make(&tar, &no_options);

	check_file(made.fs, "/usr/bin/through-link", "1");
	check_file(made.fs, "/usr/bin/through-absolute", "2");
	check_file(made.fs, "/usr/through-parents", "3");
	check_file(made.fs, "/made/here/now", "4");
	check_file(made.fs, "/a/b/c", "5");
	check_file(made.fs, "/caf\xc3\xa9", "6");
	check_file(made.fs, "/bad\xff\xfe", "7");
	check_file(made.fs, "/new\nline\\", "8");
	check_file(made.fs, longest_path, "9");
}

static void test_replacing(void **state)
{
	struct tar_maker tar;

	(void)state;
	tar_begin(&tar);
	tar_file(&tar, "file", "first");
	tar_file(&tar, "file", "second");
	tar_file(&tar, "folder/in/it", "gone");
	tar_file(&tar, "folder/two", "gone");
	tar_link(&tar, "kept", "folder/two");
	tar_file(&tar, "folder", "now a file");
	tar_file(&tar, "dir/stays", "here");
	tar_folder(&tar, "dir");
	tar_symlink(&tar, "link", "dir");
	tar_folder(&tar, "link");
	AUTO_MADE made = make(&tar, &no_options);

	check_file(made.fs, "/file", "second");
	check_file(made.fs, "/folder", "now a file");
	check_file(made.fs, "/kept", "gone");
	CHECK_INT(read_inode(made.fs, "/kept").i_links_count, 1);
	check_file(made.fs, "/dir/stays", "here");
	CHECK_INT(read_inode(made.fs, "/link").i_mode, S_IFDIR | 0755);
	CHECK_INT(read_inode(made.fs, "/").i_links_count, 5);
	/* root, lost+found, file, folder, kept, dir, stays, link: and the reserved ones. */
	CHECK_INT(made.summary.inodes, 8 + 9);
}

static void test_init_and_seed(void **state)
{
	struct ext4_options options = no_options;
	AUTO_CLOSE int seed = new_image();
	AUTO_FREE char *big = filled(300000, 'b');
	struct archive_entry *entry = tar_new("usr/lib/systemd/systemd", AE_IFREG);
	struct tar_maker tar;
	ext2_filsys fs;

	(void)state;
	options.seed_fd = seed;
	options.seed_size_bytes = 64ULL << 20;
	tar_begin(&tar);
	archive_entry_set_perm(entry, 0755);
	tar_put(&tar, entry, "elf", 3);
	tar_symlink(&tar, "lib", "usr/lib");
	tar_symlink(&tar, "sbin/init", "/lib/systemd/systemd");
	entry = tar_new("root", AE_IFDIR);
	archive_entry_set_perm(entry, 0710);
	tar_put(&tar, entry, NULL, 0);
	tar_file(&tar, "root/.profile", "echo hi");
	tar_file(&tar, "root/deep/big", big);
	tar_link(&tar, "root/hard", "root/.profile");
	tar_symlink(&tar, "root/soft", big + 300000 - 200);
	AUTO_MADE made = make(&tar, &options);

	assert_true(made.summary.has_init);
	CHECK_INT(made.summary.seed_size_bytes, options.seed_size_bytes);
	fs = open_image(seed);
	check_file(fs, "/.profile", "echo hi");
	check_file(fs, "/deep/big", big);
	check_file(fs, "/soft", big + 300000 - 200);
	CHECK_INT(find_inode(fs, "/hard"), find_inode(fs, "/.profile"));
	CHECK_INT(read_inode(fs, "/").i_mode, S_IFDIR | 0710);
	ext2fs_free(fs);
}

static int count_names(struct ext2_dir_entry *entry, int offset, int block_size, char *buf,
		       void *context)
{
	(void)entry;
	(void)offset;
	(void)block_size;
	(void)buf;
	(*(size_t *)context)++;
	return 0;
}

/* One name before and after each size at which a folder changes its form. */
static void test_folder_sizes(void **state)
{
	static const struct {
		size_t count;
		bool is_indexed;
	} rows[] = { { 0, false },  { 1, false }, { 14, false },
		     { 15, false }, { 16, true }, { 9000, true } };
	AUTO_FREE char *stem = filled(248, 'n');
	struct tar_maker tar;
	size_t i, n;

	(void)state;
	tar_begin(&tar);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *folder = mem_printf("d%zu", i);

		tar_folder(&tar, folder);
		for (n = 0; n < rows[i].count; n++) {
			AUTO_FREE char *path = mem_printf("d%zu/%s%05zu", i, stem, n);

			tar_file(&tar, path, "");
		}
	}
	AUTO_MADE made = make(&tar, &no_options);

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *folder = mem_printf("/d%zu", i);
		AUTO_BUF buf = BUF_INIT;
		size_t count = 0;

		buf_reserve(&buf, 4096);
		assert_int_equal(ext2fs_dir_iterate(made.fs, find_inode(made.fs, folder), 0,
						    buf.ptr, count_names, &count),
				 0);
		CHECK_INT(count, rows[i].count + 2);
		CHECK_INT((read_inode(made.fs, folder).i_flags & EXT2_INDEX_FL) != 0,
			  rows[i].is_indexed);
	}
}

static void test_reproducible(void **state)
{
	struct buf bytes[2] = { BUF_INIT, BUF_INIT };
	struct ext4_options options = no_options;
	size_t i;

	(void)state;
	options.size_bytes = 64ULL << 20;
	options.has_epoch = true;
	options.epoch = 500;
	for (i = 0; i < 2; i++) {
		struct tar_maker tar;

		tar_begin(&tar);
		tar_file(&tar, "a/b", "content");
		tar_symlink(&tar, "l", "a");
		AUTO_MADE made = make(&tar, &options);

		/* The tar has 1000, SOURCE_DATE_EPOCH is before that. */
		CHECK_INT(read_inode(made.fs, "/a/b").i_mtime, 500);
		CHECK_INT(read_inode(made.fs, "/a").i_mtime, 500);
		CHECK_INT(made.fs->super->s_mkfs_time, 500);
		buf_reserve(&bytes[i], options.size_bytes);
		assert_true(pread(made.fd, bytes[i].ptr, options.size_bytes, 0) ==
			    (ssize_t)options.size_bytes);
		buf_advance(&bytes[i], options.size_bytes);
	}
	assert_true(span_eq(buf_span(&bytes[0]), buf_span(&bytes[1])));
	buf_done(&bytes[0]);
	buf_done(&bytes[1]);
}

static void test_empty_seed(void **state)
{
	static const uint64_t sizes[] = { EXT4_SIZE_MIN, 64ULL << 20, 100ULL << 20, 129ULL << 20,
					  1ULL << 30,	 3ULL << 30,  2ULL << 40 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		const struct ext4_options options = { .size_bytes = sizes[i], .seed_fd = -1 };
		AUTO_CLOSE int fd = new_image();
		struct ext4_summary summary;
		struct err err = ERR_INIT;
		ext2_filsys fs;

		if (ext4_seed(fd, &options, &summary, &err) < 0)
			fail_msg("%zu: %s", i, err.message);
		CHECK_INT(summary.size_bytes, sizes[i]);
		fs = open_image(fd);
		CHECK_INT(read_inode(fs, "/").i_mode, S_IFDIR | 0700);
		assert_true(find_inode(fs, "/lost+found") == 11);
		ext2fs_free(fs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content),	     cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_sparse),	     cmocka_unit_test(test_symlinks),
		cmocka_unit_test(test_links),	     cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_times),	     cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_acl),	     cmocka_unit_test(test_places),
		cmocka_unit_test(test_replacing),    cmocka_unit_test(test_init_and_seed),
		cmocka_unit_test(test_folder_sizes), cmocka_unit_test(test_reproducible),
		cmocka_unit_test(test_empty_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
