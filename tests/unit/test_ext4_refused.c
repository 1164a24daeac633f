/* Tars that are refused, with the kind and the words; nothing hostile may do more than that. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "check.h"
#include "ext4/space.h"
#include "ext4_fixture.h"

#define SMALL (32ULL << 20)

enum step_kind { END, FILE_ENTRY, FOLDER, SYMLINK, LINK };

struct step {
	enum step_kind kind;
	const char *path;
	const char *target;
};

static void put_step(struct tar_maker *tar, const struct step *step)
{
	switch (step->kind) {
	case FILE_ENTRY:
		tar_file(tar, step->path, "content");
		break;
	case FOLDER:
		tar_folder(tar, step->path);
		break;
	case SYMLINK:
		tar_symlink(tar, step->path, step->target);
		break;
	case LINK:
		tar_link(tar, step->path, step->target);
		break;
	case END:
		break;
	}
}

/* Expects a refusal whose message has `text` in it. */
static void refuse(struct tar_maker *tar, const struct ext4_options *options, enum err_kind kind,
		   const char *text)
{
	struct ext4_summary summary = { .entries = 77 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int image = make_image(tar, options, &summary, &err);

	if (image >= 0)
		fail_msg("accepted, but should say: %s", text);
	CHECK_STR(err_kind_name(err.kind), err_kind_name(kind));
	CHECK_HAS(err.message, text);
	CHECK_INT(summary.entries, 77);
}

static void test_paths(void **state)
{
	static const struct {
		struct step steps[5];
		const char *text;
	} rows[] = {
		{ { { FILE_ENTRY, "../x", NULL } }, "entry '../x': '..' is not allowed" },
		{ { { FILE_ENTRY, "a/../../x", NULL } }, "entry 'a/../../x': '..' is not allowed" },
		{ { { FOLDER, "a/..", NULL } }, "'..' is not allowed" },
		{ { { FILE_ENTRY, ".", NULL } }, "entry '.': the root must be a folder" },
		{ { { SYMLINK, "/", "x" } }, "the root must be a folder" },
		{ { { FILE_ENTRY, "f", NULL }, { FILE_ENTRY, "f/g", NULL } },
		  "entry 'f/g': a parent is not a folder" },
		{ { { SYMLINK, "a", "b" }, { SYMLINK, "b", "a" }, { FILE_ENTRY, "a/x", NULL } },
		  "entry 'a/x': there are more than 40 symlinks on the way" },
		{ { { SYMLINK, "etc", "/host" },
		    { FILE_ENTRY, "host", NULL },
		    { FILE_ENTRY, "etc/x", NULL } },
		  "entry 'etc/x': a parent is not a folder" },
		{ { { LINK, "l", "missing" } }, "entry 'l': its hard link target does not exist" },
		{ { { LINK, "l", "no/such" } }, "entry 'l': its hard link target does not exist" },
		{ { { LINK, "l", "../x" } },
		  "entry 'l': its hard link target: '..' is not allowed" },
		{ { { FOLDER, "d", NULL }, { LINK, "l", "d" } },
		  "its hard link target is a folder" },
		{ { { FILE_ENTRY, "d/f", NULL }, { LINK, "d", "d/f" } },
		  "in the folder that it replaces" },
		{ { { FILE_ENTRY, "lost+found", NULL } }, "/lost+found must be a folder" },
		{ { { FILE_ENTRY, "x", NULL }, { LINK, "lost+found", "x" } },
		  "/lost+found must be a folder" },
		{ { { SYMLINK, "s", "" } }, "the symlink's target is empty" },
	};
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	size_t i, n;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct tar_maker tar;

		tar_begin(&tar);
		for (n = 0; n < ARRAY_LEN(rows[i].steps); n++)
			put_step(&tar, &rows[i].steps[n]);
		refuse(&tar, &options, ERR_INVALID, rows[i].text);
	}
}

static void test_lengths(void **state)
{
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	AUTO_BUF name = BUF_INIT;
	struct tar_maker tar;
	size_t i;

	(void)state;
	for (i = 0; i < 256; i++)
		buf_add_byte(&name, 'n');
	tar_begin(&tar);
	tar_file(&tar, name.ptr, "");
	refuse(&tar, &options, ERR_INVALID, "a component has 256 bytes, more than 255");

	buf_clear(&name);
	for (i = 0; i < 2048; i++)
		buf_add_str(&name, "d/");
	tar_begin(&tar);
	tar_folder(&tar, name.ptr);
	refuse(&tar, &options, ERR_INVALID, "the name has 4096 bytes, more than 4095");

	buf_clear(&name);
	for (i = 0; i < 4096; i++)
		buf_add_byte(&name, 't');
	tar_begin(&tar);
	tar_symlink(&tar, "s", name.ptr);
	refuse(&tar, &options, ERR_INVALID, "the symlink's target has 4096 bytes, more than 4095");
}

static struct archive_entry *new_file(void)
{
	return tar_new("f", AE_IFREG);
}

static void test_attributes(void **state)
{
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	AUTO_FREE char *value = mem_alloc(70000, 1);
	struct archive_entry *entry;
	struct tar_maker tar;
	int i;

	(void)state;
	entry = new_file();
	archive_entry_set_uid(entry, 1LL << 32);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_INVALID, "entry 'f': the user id 4294967296 does not fit");

	entry = new_file();
	archive_entry_set_gid(entry, 1LL << 40);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_INVALID, "the group id 1099511627776 does not fit");

	entry = tar_new("dev", AE_IFCHR);
	archive_entry_set_rdevmajor(entry, 4096);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_INVALID, "ext4 cannot hold the device number 4096:0");

	entry = new_file();
	archive_entry_xattr_add_entry(entry, "com.example.x", "1", 1);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_INVALID,
	       "entry 'f': ext4 cannot hold the attribute 'com.example.x'");

	memset(value, 'v', 70000);
	entry = new_file();
	archive_entry_xattr_add_entry(entry, "user.big", value, 65536);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_LIMIT, "entry 'f': the attribute 'user.big' has 65536 bytes");

	entry = new_file();
	for (i = 0; i < 3; i++) {
		const char name[] = { 'u', 's', 'e', 'r', '.', (char)('a' + i), '\0' };

		archive_entry_xattr_add_entry(entry, name, value, 2000);
	}
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_LIMIT, "entry 'f': its attributes are too large");

	entry = new_file();
	archive_entry_xattr_add_entry(entry, "system.posix_acl_access", "garbage", 7);
	tar_begin(&tar);
	tar_put(&tar, entry, NULL, 0);
	refuse(&tar, &options, ERR_INVALID, "the attribute 'system.posix_acl_access' is malformed");
}

static void test_limits(void **state)
{
	struct ext4_options options = { .size_bytes = SMALL,
					.seed_fd = -1,
					.limits = { .entries = 2 } };
	struct ext4_summary summary;
	struct err err = ERR_INIT;
	struct tar_maker tar;
	int n;

	(void)state;
	for (n = 2; n <= 3; n++) {
		int i;

		tar_begin(&tar);
		for (i = 0; i < n; i++) {
			const char name[] = { (char)('a' + i), '\0' };

			tar_file(&tar, name, "");
		}
		if (n == 3) {
			refuse(&tar, &options, ERR_LIMIT,
			       "there are more than 2 entries (limits.entries)");
		} else {
			AUTO_CLOSE int fd = make_image(&tar, &options, &summary, &err);

			assert_true(fd >= 0);
		}
	}
	options.limits.entries = 0;
	for (n = 7; n >= 6; n--) {
		options.limits.bytes = (uint64_t)n;
		tar_begin(&tar);
		tar_file(&tar, "f", "content");
		if (n == 6) {
			refuse(&tar, &options, ERR_LIMIT,
			       "entry 'f': there are more than 6 bytes of content "
			       "(limits.image_bytes)");
		} else {
			AUTO_CLOSE int fd = make_image(&tar, &options, &summary, &err);

			assert_true(fd >= 0);
		}
	}
}

/* lost+found counts, too. */
static void test_name_limit(void **state)
{
	const struct ext4_options options = { .seed_fd = -1, .limits = { .name_bytes = 16 } };
	struct ext4_summary summary;
	struct err err = ERR_INIT;
	struct tar_maker tar;
	AUTO_CLOSE int fd = -1;

	(void)state;
	tar_begin(&tar);
	tar_file(&tar, "abc", "");
	tar_symlink(&tar, "l", "to");
	fd = make_image(&tar, &options, &summary, &err);
	assert_true(fd >= 0);
	tar_begin(&tar);
	tar_file(&tar, "abc", "");
	tar_symlink(&tar, "l", "two");
	refuse(&tar, &options, ERR_LIMIT,
	       "entry 'l': there are more than 16 bytes of names and symbolic links "
	       "(limits.name_bytes)");
}

/* Sets that differ are kept each, the same ones once. */
static void test_xattr_limit(void **state)
{
	const struct ext4_options options = { .seed_fd = -1, .limits = { .xattr_bytes = 1000 } };
	struct ext4_summary summary;
	struct err err = ERR_INIT;

	(void)state;
	for (int differ = 0; differ < 2; differ++) {
		struct tar_maker tar;
		AUTO_CLOSE int fd = -1;

		tar_begin(&tar);
		for (int i = 0; i < 10; i++) {
			const char name[] = { 'a', (char)('0' + i), '\0' };
			struct archive_entry *entry = tar_new(name, AE_IFREG);

			archive_entry_xattr_add_entry(entry, "user.a", differ ? name : "a9", 2);
			tar_put(&tar, entry, NULL, 0);
		}
		if (differ) {
			refuse(&tar, &options, ERR_LIMIT,
			       "there are more than 1000 bytes of extended attributes "
			       "(limits.xattr_bytes)");
		} else {
			fd = make_image(&tar, &options, &summary, &err);
			assert_true(fd >= 0);
		}
	}
}

/* Too much for the size: the size that the message names is enough, and it is read to the end for
 * that. */
static void test_too_small(void **state)
{
	const size_t size = 40UL << 20;
	AUTO_FREE char *content = mem_alloc(size, 1);
	struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	struct ext4_summary summary;
	struct err err = ERR_INIT;
	struct tar_maker tar;
	int i;

	(void)state;
	memset(content, 'c', size);
	tar_begin(&tar);
	tar_put(&tar, tar_new("big", AE_IFREG), content, size);
	refuse(&tar, &options, ERR_LIMIT,
	       "the size of 32 MiB (33554432 bytes) is too small: the content with its 12 inodes "
	       "needs 128 MiB (134217728 bytes)");
	options.size_bytes = 134217728;
	tar_begin(&tar);
	tar_put(&tar, tar_new("big", AE_IFREG), content, size);
	AUTO_CLOSE int fd = make_image(&tar, &options, &summary, &err);
	assert_true(fd >= 0);

	/* Inodes alone: 40000 do not fit into one group of 32768. */
	tar_begin(&tar);
	for (i = 0; i < 40000; i++) {
		AUTO_FREE char *path = mem_printf("f%d", i);

		tar_file(&tar, path, "");
	}
	refuse(&tar, &options, ERR_LIMIT, "40011 inodes needs 256 MiB");
}

static void test_options(void **state)
{
	static const struct {
		uint64_t size;
		const char *label;
		const char *text;
	} rows[] = {
		{ EXT4_SIZE_MIN - 1, NULL,
		  "cannot be made: the size must be from 32 MiB to 4 TiB" },
		{ EXT4_SIZE_MAX + 1, NULL,
		  "cannot be made: the size must be from 32 MiB to 4 TiB" },
		{ SMALL, "seventeen bytes ..", "has more than 16 bytes" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		const struct ext4_options options = { .size_bytes = rows[i].size,
						      .label = rows[i].label,
						      .seed_fd = -1 };
		struct tar_maker tar;

		tar_begin(&tar);
		tar_file(&tar, "f", "x");
		refuse(&tar, &options, ERR_INVALID, rows[i].text);
	}
}

/* What is no tar, or is cut off at any place. */
static void test_damaged(void **state)
{
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	struct tar_maker tar;
	off_t size, at;
	int fd;

	(void)state;
	tar_begin(&tar);
	tar_file(&tar, "f", "a content of some length");
	fd = tar_end(&tar);
	size = lseek(fd, 0, SEEK_END);
	assert_true(size > 1536);
	for (at = 0; at < 1024; at += 61) {
		AUTO_CLOSE int image = new_image();
		AUTO_CLOSE int cut = memfd_create("cut", MFD_CLOEXEC);
		struct ext4_summary summary = { 0 };
		struct err err = ERR_INIT;
		const struct ext4_input input = { .tar_fd = cut };
		char bytes[1024];

		assert_true(pread(fd, bytes, (size_t)at, 0) == at);
		assert_int_equal(fd_pwrite_all(cut, span_of(bytes, (size_t)at), 0), 0);
		assert_true(ext4_from_tar(&input, image, &options, &summary, &err) < 0);
		CHECK_STR(err_kind_name(err.kind), "protocol");
	}
	fd_close(fd);
}

static void test_cancelled(void **state)
{
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	struct cancel cancel = CANCEL_INIT;
	AUTO_CLOSE int image = new_image();
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	int ends[2];

	(void)state;
	assert_int_equal(fd_pipe(ends), 0);
	assert_int_equal(cancel_init(&cancel), 0);
	const struct ext4_input input = { .tar_fd = ends[0], .cancel = &cancel };

	cancel_fire(&cancel);
	/* The pipe never says anything. */
	assert_true(ext4_from_tar(&input, image, &options, &summary, &err) < 0);
	CHECK_STR(err_kind_name(err.kind), "cancelled");
	cancel_done(&cancel);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

static void test_file_not_empty(void **state)
{
	const struct ext4_options options = { .size_bytes = SMALL, .seed_fd = -1 };
	AUTO_CLOSE int image = new_image();
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(fd_pwrite_all(image, span_str("x"), 0), 0);
	assert_true(ext4_seed(image, &options, &summary, &err) < 0);
	CHECK_HAS(err.message, "not an empty regular file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),	       cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_attributes),     cmocka_unit_test(test_limits),
		cmocka_unit_test(test_too_small),      cmocka_unit_test(test_options),
		cmocka_unit_test(test_damaged),	       cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_file_not_empty), cmocka_unit_test(test_name_limit),
		cmocka_unit_test(test_xattr_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
