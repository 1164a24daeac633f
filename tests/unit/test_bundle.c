/* What is refused in a bundle, and that nothing of it is left: tars, lists of digests, zstd frames.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "bundle_fixture.h"
#include "check.h"
#include "kernel/bundle.h"
#include "kernel/sums.h"
#include "kernel/unpack.h"
#include "kernel/ustar.h"
#include "kernel_fixture.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* --- SHA256SUMS (TAR2) --- */

static void test_sums(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} rows[] = {
		{ DIGEST "  one", "line 1 has no newline" },
		{ DIGEST " one\n", "line 1 is not of the form" },
		{ DIGEST " *one\n", "line 1 is not of the form" },
		{ DIGEST "   one\n", "line 1 is not of the form" },
		{ DIGEST "  one\r\n", "line 1 is not of the form" },
		{ DIGEST "  one \n", "line 1 is not of the form" },
		{ DIGEST "  \n", "line 1 is not of the form" },
		{ DIGEST "\n", "line 1 is not of the form" },
		{ "\n", "line 1 is not of the form" },
		{ "# comment\n", "line 1 is not of the form" },
		{ DIGEST "  one\n\n", "line 2 is not of the form" },
		{ DIGEST "0  one\n", "line 1 is not of the form" },
		{ DIGEST "01234567  one\n", "line 1 is not of the form" },
		{ "0123456789abcdef0123456789abcdef  one\n", "line 1 is not of the form" },
		{ "0123456789abcdef0123456789abcdef01234567  one\n", "line 1 is not of the form" },
		{ "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef  one\n",
		  "line 1 is not of the form" },
		{ "g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  one\n",
		  "line 1 is not of the form" },
		{ "SHA256 (one) = " DIGEST "\n", "line 1 is not of the form" },
		{ "\\" DIGEST "  a\\nb\n", "line 1 is not of the form" },
		{ DIGEST "  a\tb\n", "line 1 is not of the form" },
		{ DIGEST "  \xc3\xa9\n", "line 1 is not of the form" },
		{ DIGEST "  one\n" DIGEST "  two\n" DIGEST "  one\n", "'one' is there twice" },
		{ DIGEST "  a\n" DIGEST "  b\n" DIGEST "  c\n" DIGEST "  d\n",
		  "more than 3 lines" },
	};
	AUTO_SUMS good = { .items = NULL };
	AUTO_SUMS none = { .items = NULL };
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sums got = { .count = 77 };

		CHECK_ROW(i, sums_parse(span_str(rows[i].text), 3, &got, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, got.count == 77);
	}
	CHECK_INT(sums_parse(span_str(DIGEST "  two words\n" DIGEST "  a/b\n"), 2, &good, &err), 0);
	CHECK_INT(good.count, 2);
	CHECK_STR(good.items[0].name, "a/b");
	CHECK_STR(good.items[0].sha256, DIGEST);
	CHECK_INT(sums_find(&good, "two words") == &good.items[1], true);
	CHECK_INT(sums_find(&good, "two") == NULL, true);
	CHECK_INT(sums_parse(span_str(""), 2, &none, &err), 0);
	CHECK_INT(none.count, 0);
	CHECK_INT(sums_find(&none, "x") == NULL, true);
}

/* --- headers --- */

struct edit {
	size_t at;
	size_t size;
	const char *bytes;
	const char *message; /* NULL: it is taken */
	uint64_t wanted_size;
};

static void test_headers(void **state)
{
	static const struct edit rows[] = {
		{ 0, 0, "", NULL, 5 },
		{ 156, 1, "\0", NULL, 5 },
		{ 257, 8, "ustar  \0", NULL, 5 },
		{ 124, 12, "\x80\0\0\0\0\0\0\x10\0\0\0\1", NULL, 0x1000000001ULL },
		{ 124, 12, "     000017 ", NULL, 15 },
		{ 345, 4, "sub", NULL, 5 },
		{ 156, 1, "1", "'name' is a hard link; only regular files are allowed", 0 },
		{ 156, 1, "2", "'name' is a symbolic link", 0 },
		{ 156, 1, "3", "'name' is a device", 0 },
		{ 156, 1, "4", "'name' is a device", 0 },
		{ 156, 1, "5", "'name' is a folder", 0 },
		{ 156, 1, "6", "'name' is a FIFO", 0 },
		{ 156, 1, "7", "'name' is of an unknown type", 0 },
		{ 156, 1, "x", "'name' is a pax header", 0 },
		{ 156, 1, "g", "'name' is a pax header", 0 },
		{ 156, 1, "L", "'name' is a long name", 0 },
		{ 156, 1, "K", "'name' is a long name", 0 },
		{ 156, 1, "S", "'name' is a sparse file", 0 },
		{ 156, 1, "\n", "'name' is of an unknown type", 0 },
		{ 257, 8,
		  "ustar\0"
		  "01",
		  "the tar has an unknown format", 0 },
		{ 257, 8, "\0\0\0\0\0\0\0\0", "the tar has an unknown format", 0 },
		{ 124, 12, "\x80\0\0\0\xff\0\0\0\0\0\0\1", "'name' has no readable size", 0 },
		{ 124, 12, "\x80\0\1\0\0\0\0\0\0\0\0\1", "'name' has no readable size", 0 },
		{ 124, 12, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		  "'name' has no readable size", 0 },
		{ 124, 12, "\0\0\0\0\0\0\0\0\0\0\0\0", "'name' has no readable size", 0 },
		{ 124, 12, "00000000008\0", "'name' has no readable size", 0 },
		{ 124, 12, "-0000000005\0", "'name' has no readable size", 0 },
		{ 5, 1, "x", "a name in the tar has strange bytes", 0 },
		{ 157, 1, "x", "'name' has strange bytes in its header", 0 },
		{ 511, 1, "x", "'name' has strange bytes in its header", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ustar_member got = { .size = 77 };
		struct err err = ERR_INIT;
		AUTO_BUF block = BUF_INIT;
		int r;

		fixture_tar_header(&block, "name", '0', 5);
		memcpy(block.ptr + rows[i].at, rows[i].bytes, rows[i].size);
		fixture_tar_seal((uint8_t *)block.ptr);
		r = ustar_read(buf_span(&block), &got, &err);
		CHECK_ROW(i, (r == 1) == (rows[i].message == NULL));
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, got.size == (rows[i].message ? 77 : rows[i].wanted_size));
	}
}

static void test_header_damage(void **state)
{
	AUTO_BUF block = BUF_INIT;
	struct ustar_member got = { .size = 77 };
	struct err err = ERR_INIT;

	(void)state;
	fixture_tar_header(&block, "name", '0', 5);
	/* Each byte counts, but for the checksum's own two last. */
	for (size_t i = 0; i < USTAR_BLOCK_SIZE; i++) {
		if (i == 154 || i == 155)
			continue;
		block.ptr[i] = (char)(block.ptr[i] ^ 1);
		CHECK_ROW(i, ustar_read(buf_span(&block), &got, &err) < 0);
		block.ptr[i] = (char)(block.ptr[i] ^ 1);
	}
	memset(block.ptr, 0, USTAR_BLOCK_SIZE);
	CHECK_INT(ustar_read(buf_span(&block), &got, &err), 0);
	CHECK_INT(got.size, 77);
}

/* --- whole bundles --- */

static const struct bundle_name names[] = {
	{ .name = "one", .is_required = true, .size_max = 100000, .limit_key = "ones" },
	{ .name = "two", .size_max = 100 },
};

static const struct bundle_rules rules = {
	.stage = "test", .names = names, .name_count = ARRAY_LEN(names), .total_max = 100050
};

struct folder {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct folder *folder = mem_alloc(1, sizeof(*folder));

	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-bundle-XXXXXX");
	CHECK_INT(mkdtemp(folder->path) != NULL, true);
	folder->fd = dir_open(folder->path);
	*state = folder;
	return folder->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;
	const int r = dir_remove_tree(AT_FDCWD, folder->path);

	fd_close(folder->fd);
	mem_free(folder);
	return r;
}

static int collect(void *context, const char *name)
{
	strv_add(context, name);
	return 0;
}

/* Unpacks these bytes into a new folder below `folder`, which is then removed. */
static int unpack(const struct folder *folder, struct span bytes, const struct bundle_rules *by,
		  struct err *err)
{
	AUTO_CLOSE int fd = fixture_file(bytes);
	AUTO_CLOSE int into = -1;
	int r;

	*err = ERR_INIT;
	CHECK_INT(mkdirat(folder->fd, "into", 0700), 0);
	into = dir_open_at(folder->fd, "into");
	r = bundle_unpack(fd, by, into, NULL, NULL, err);
	CHECK_INT(dir_remove_tree(folder->fd, "into"), 0);
	return r;
}

static int unpack_tar(const struct folder *folder, const struct buf *tar, struct err *err)
{
	AUTO_BUF bytes = BUF_INIT;

	fixture_zstd(&bytes, buf_span(tar), 0);
	return unpack(folder, buf_span(&bytes), &rules, err);
}

/* TAR1: what is in it, beside what may be. */
static void test_members(void **state)
{
	static const struct {
		struct fixture_member members[3];
		const char *message; /* NULL: it is taken */
	} rows[] = {
		{ { { "one", { (const uint8_t *)"1", 1 }, 0 } }, NULL },
		{ { { "one", { (const uint8_t *)"", 0 }, 0 } }, NULL },
		{ { { "two", { (const uint8_t *)"2", 1 }, 0 }, { "one", { NULL, 0 }, 0 } }, NULL },
		{ { { "two", { NULL, 0 }, 0 } }, "SHA256SUMS: 'one' is missing" },
		{ { { "one", { NULL, 0 }, 0 }, { "three", { NULL, 0 }, 0 } },
		  "SHA256SUMS: 'three' may not be in a bundle of this kind" },
		{ { { "/one", { NULL, 0 }, 0 } }, "'/one' may not be in a bundle" },
		{ { { "./one", { NULL, 0 }, 0 } }, "'./one' may not be in a bundle" },
		{ { { "../one", { NULL, 0 }, 0 } }, "'../one' may not be in a bundle" },
		{ { { "sub/one", { NULL, 0 }, 0 } }, "'sub/one' may not be in a bundle" },
		{ { { "ONE", { NULL, 0 }, 0 } }, "'ONE' may not be in a bundle" },
		{ { { "SHA256SUMS", { NULL, 0 }, 0 } }, "'SHA256SUMS' may not be in a bundle" },
		{ { { "one", { NULL, 0 }, '1' } }, "'one' is a hard link; only regular files" },
		{ { { "one", { NULL, 0 }, '2' } }, "'one' is a symbolic link" },
		{ { { "one", { NULL, 0 }, '5' } }, "'one' is a folder" },
		{ { { "one", { NULL, 0 }, '3' } }, "'one' is a device" },
		{ { { "one", { NULL, 0 }, 'x' } }, "'one' is a pax header" },
	};
	const struct folder *folder = *state;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF tar = BUF_INIT;
		size_t count = 0;
		int r;

		while (count < 3 && rows[i].members[count].name)
			count++;
		fixture_bundle_tar(&tar, rows[i].members, count);
		r = unpack_tar(folder, &tar, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].message == NULL));
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

/* TAR1 and TAR2: the list and the members say different things. */
static void test_lists(void **state)
{
	const struct span one = span_str("1");
	const struct folder *folder = *state;
	AUTO_BUF sums = BUF_INIT;
	AUTO_BUF both = BUF_INIT;
	struct err err;

	fixture_sum(&sums, "one", one);
	buf_add(&both, buf_span(&sums));
	fixture_sum(&both, "two", one);

	/* The same member twice, one too many, one too few, wrong content, no list, list last. */
	for (size_t i = 0; i < 7; i++) {
		static const char *const messages[] = {
			"'one' is there twice",
			"'two' is not in SHA256SUMS",
			"'two' is in SHA256SUMS, but not in the bundle",
			"'one' is not what SHA256SUMS says",
			"the first member is not SHA256SUMS",
			"the first member is not SHA256SUMS",
			"'three' may not be in a bundle of this kind",
		};
		AUTO_BUF tar = BUF_INIT;

		if (i != 4 && i != 5)
			fixture_tar_file(&tar, "SHA256SUMS", buf_span(i == 2 ? &both : &sums));
		if (i != 5)
			fixture_tar_file(&tar, "one", i == 3 ? span_str("2") : one);
		if (i == 0)
			fixture_tar_file(&tar, "one", one);
		if (i == 1)
			fixture_tar_file(&tar, "two", one);
		if (i == 4)
			fixture_tar_file(&tar, "SHA256SUMS", buf_span(&sums));
		if (i == 6)
			fixture_tar_file(&tar, "three", one);
		fixture_tar_end(&tar);
		CHECK_ROW(i, unpack_tar(folder, &tar, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_HAS(err.message, messages[i]);
	}
}

static void good_tar(struct buf *tar)
{
	const struct fixture_member member = { "one", span_str("0123456789"), 0 };

	fixture_bundle_tar(tar, &member, 1);
}

/* The end of a tar, and what is between its members. */
static void test_ends(void **state)
{
	const struct folder *folder = *state;
	AUTO_BUF tar = BUF_INIT;
	struct err err;
	size_t whole;

	good_tar(&tar);
	whole = tar.len;
	CHECK_INT(unpack_tar(folder, &tar, &err), 0);
	for (size_t len = 0; len < whole; len += 256) {
		buf_truncate(&tar, len);
		CHECK_ROW(len, unpack_tar(folder, &tar, &err) < 0);
		CHECK_HAS(err.message, "the tar is cut short");
		buf_clear(&tar);
		good_tar(&tar);
	}
	/* tar fills up to 10 KiB; a MiB is too much. */
	for (size_t i = 0; i < 9216; i++)
		buf_add_byte(&tar, 0);
	CHECK_INT(unpack_tar(folder, &tar, &err), 0);
	buf_reserve(&tar, BUNDLE_TRAILER_MAX);
	memset(tar.ptr + tar.len, 0, BUNDLE_TRAILER_MAX);
	buf_advance(&tar, BUNDLE_TRAILER_MAX);
	CHECK_INT(unpack_tar(folder, &tar, &err) < 0, true);
	CHECK_HAS(err.message, "zeros at its end");
	CHECK_INT(err.kind, ERR_LIMIT);

	buf_truncate(&tar, whole + 512);
	tar.ptr[whole + 17] = 'x';
	CHECK_INT(unpack_tar(folder, &tar, &err) < 0, true);
	CHECK_HAS(err.message, "the tar goes on behind its end");
	buf_truncate(&tar, whole);
	tar.ptr[whole - 1024 - 1] = 'x';
	CHECK_INT(unpack_tar(folder, &tar, &err) < 0, true);
	CHECK_HAS(err.message, "the tar has bytes between its members");
}

/* TAR3: what is around the tar. */
static void test_frames(void **state)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8, 0 };
	const struct folder *folder = *state;
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF good = BUF_INIT;
	AUTO_BUF bad = BUF_INIT;
	struct err err;

	good_tar(&tar);
	fixture_zstd(&good, buf_span(&tar), 0);
	CHECK_INT(unpack(folder, buf_span(&good), &rules, &err), 0);

	for (size_t len = 0; len < good.len; len++) {
		CHECK_ROW(len, unpack(folder, span_of(good.ptr, len), &rules, &err) < 0);
		CHECK_HAS(err.message,
			  len < 4 ? "does not begin with a zstd frame" : "the bundle is cut short");
	}
	/* Every bit counts for the digest in the catalog; here, nothing may crash or be taken for
	 * more than it is. */
	for (size_t i = 0; i < good.len * 8; i++) {
		good.ptr[i / 8] = (char)(good.ptr[i / 8] ^ 1 << i % 8);
		(void)!unpack(folder, buf_span(&good), &rules, &err);
		good.ptr[i / 8] = (char)(good.ptr[i / 8] ^ 1 << i % 8);
	}

	buf_add(&bad, span_of(skippable, sizeof(skippable)));
	buf_add(&bad, buf_span(&good));
	CHECK_INT(unpack(folder, buf_span(&bad), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "does not begin with a zstd frame");
	buf_clear(&bad);
	buf_add(&bad, buf_span(&good));
	buf_add(&bad, span_of(skippable, sizeof(skippable)));
	CHECK_INT(unpack(folder, buf_span(&bad), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "the bundle has bytes behind its zstd frame");
	buf_clear(&bad);
	buf_add(&bad, buf_span(&good));
	buf_add(&bad, buf_span(&good));
	CHECK_INT(unpack(folder, buf_span(&bad), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "the bundle has bytes behind its zstd frame");
	buf_clear(&bad);
	buf_add(&bad, buf_span(&good));
	buf_add_byte(&bad, 0);
	CHECK_INT(unpack(folder, buf_span(&bad), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "the bundle has bytes behind its zstd frame");
	CHECK_INT(unpack(folder, span_of(gzip, sizeof(gzip)), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "does not begin with a zstd frame");
	CHECK_INT(unpack(folder, buf_span(&tar), &rules, &err) < 0, true);
	CHECK_HAS(err.message, "does not begin with a zstd frame");
}

static void test_windows(void **state)
{
	const struct folder *folder = *state;
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF bytes = BUF_INIT;
	struct err err;

	good_tar(&tar);
	fixture_zstd(&bytes, buf_span(&tar), BUNDLE_WINDOW_LOG_MAX);
	CHECK_INT(unpack(folder, buf_span(&bytes), &rules, &err), 0);
	for (int log = BUNDLE_WINDOW_LOG_MAX + 1; log <= 31; log++) {
		/* The window's size is in the byte behind magic and descriptor. */
		bytes.ptr[5] = (char)((log - 10) << 3);
		CHECK_ROW(log, unpack(folder, buf_span(&bytes), &rules, &err) < 0);
		CHECK_INT(err.kind, ERR_LIMIT);
		CHECK_HAS(err.message, "a window of more than 128 MiB");
	}
}

static void test_limits(void **state)
{
	const struct folder *folder = *state;
	AUTO_FREE char *bytes = mem_alloc(1, 100001);
	struct err err;

	for (size_t i = 0; i < 4; i++) {
		static const struct {
			size_t one;
			size_t two;
			const char *message;
		} rows[] = {
			{ 100000, 50, NULL },
			{ 100001, 0, "'one' has 100001 bytes; at most 100000 (limits.ones)" },
			{ 1, 101, "'two' has 101 bytes; at most 100" },
			{ 100000, 51, "the members have more than 100050 bytes together" },
		};
		const struct fixture_member members[] = {
			{ "one", { (const uint8_t *)bytes, rows[i].one }, 0 },
			{ "two", { (const uint8_t *)bytes, rows[i].two }, 0 },
		};
		AUTO_BUF tar = BUF_INIT;
		int r;

		fixture_bundle_tar(&tar, members, 2);
		r = unpack_tar(folder, &tar, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].message == NULL));
		if (rows[i].message) {
			CHECK_STR(err.message, rows[i].message);
			CHECK_INT(err.kind, ERR_LIMIT);
		}
	}
}

/* TAR3: zeros are not written, but they count. */
static void test_zeros(void **state)
{
	static const struct bundle_name big[] = { { .name = "one", .size_max = 1ULL << 30 } };
	static const struct bundle_rules big_rules = {
		.stage = "test", .names = big, .name_count = 1, .total_max = 1ULL << 30
	};
	const struct folder *folder = *state;
	const size_t size = (64U << 20) + 4096 + 1;
	AUTO_FREE uint8_t *bytes = mem_alloc(1, size);
	struct fixture_member member = { "one", span_of(bytes, size), 0 };
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int got = -1;
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO_FREE uint8_t *back = mem_alloc(1, size);
	struct err err = ERR_INIT;
	struct stat info;

	bytes[4096] = 'a';
	bytes[20U << 20] = 'b';
	bytes[size - 1] = 'c';
	fixture_bundle_tar(&tar, &member, 1);
	fixture_zstd(&packed, buf_span(&tar), 0);
	assert_true(packed.len < 20000);
	fd = fixture_file(buf_span(&packed));
	CHECK_INT(bundle_unpack(fd, &big_rules, folder->fd, NULL, NULL, &err), 0);
	got = openat(folder->fd, "one", O_RDONLY | O_CLOEXEC);
	CHECK_INT(fstat(got, &info), 0);
	CHECK_INT(info.st_size, size);
	assert_true(info.st_blocks * 512 <= 64 * 1024);
	CHECK_INT(fd_read_exact(got, back, size), 0);
	CHECK_INT(memcmp(back, bytes, size), 0);
}

static void test_cancelled(void **state)
{
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	const struct folder *folder = *state;
	AUTO_CLOSE int fd = -1;
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	struct err err = ERR_INIT;

	good_tar(&tar);
	fixture_zstd(&packed, buf_span(&tar), 0);
	fd = fixture_file(buf_span(&packed));
	CHECK_INT(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	CHECK_INT(bundle_unpack(fd, &rules, folder->fd, &cancel, NULL, &err) < 0, true);
	CHECK_INT(err.kind, ERR_CANCELLED);
}

/* --- kernels in bundles --- */

static int install(const struct folder *folder, const struct fixture_member *members, size_t count,
		   struct kernel *ret, struct err *err)
{
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO_CLOSE int fd = -1;
	struct kernel_bundle_request request = { .kernels_dir = folder->path, .name = "own" };

	*err = ERR_INIT;
	fixture_bundle_tar(&tar, members, count);
	fixture_zstd(&packed, buf_span(&tar), 0);
	fd = fixture_file(buf_span(&packed));
	request.fd = fd;
	return kernel_bundle_install(&request, NULL, NULL, ret, err);
}

static void test_kernel(void **state)
{
	const struct folder *folder = *state;
	static const char modinfo[] = "name=virtio_x\0depends=virtio";
	AUTO_BUF elf = BUF_INIT;
	AUTO_BUF module = BUF_INIT;
	AUTO_BUF dep = BUF_INIT;
	AUTO_STRV names_there = { .count = 0 };
	AUTO_KERNEL kernel;
	AUTO_KERNEL loaded;
	struct err err;

	kernel_init(&kernel);
	kernel_init(&loaded);
	fixture_elf(&elf);
	buf_add_str(&elf, "Linux version %s (%s)\nLinux version 6.9.1-own (me@here) #1 SMP\n");
	fixture_module(span_of(modinfo, sizeof(modinfo)), &module);
	const struct fixture_member members[] = {
		{ "metadata.json", span_str("{\"version\":\"6.9-3\"}"), 0 },
		{ "vmlinux", buf_span(&elf), 0 },
		{ "initrd", span_str("cpio"), 0 },
		{ "modules/kernel/virtio-x.ko", buf_span(&module), 0 },
		{ "modules/modules.builtin", span_str("kernel/virtio.ko\n"), 0 },
	};

	CHECK_INT(install(folder, members, ARRAY_LEN(members), &kernel, &err), 0);
	CHECK_STR(kernel.record.name, "own");
	CHECK_STR(kernel.record.kind, "bundle");
	CHECK_STR(kernel.record.version, "6.9-3");
	CHECK_STR(kernel.record.release, "6.9.1-own");
	CHECK_INT(kernel.record.module_count, 1);
	CHECK_INT(kernel.record.has_bzimage, false);
	CHECK_INT(strlen(kernel.initrd_sha256), 64);
	CHECK_INT(kernel_load(folder->path, "own", &loaded, &err), 0);
	CHECK_STR(loaded.vmlinux_sha256, kernel.vmlinux_sha256);
	CHECK_STR(loaded.initrd_sha256, kernel.initrd_sha256);
	CHECK_INT(loaded.record.package == NULL, true);
	CHECK_INT(file_read(folder->fd, "own/modules.dep", 1000, &dep), 0);
	CHECK_STR(dep.ptr, "kernel/virtio-x.ko:\n");
	CHECK_INT(dir_each(folder->fd, collect, &names_there), 0);
	CHECK_INT(names_there.count, 1);
}

static void test_kernel_refused(void **state)
{
	const struct folder *folder = *state;
	AUTO_BUF elf = BUF_INIT;
	struct err err;

	fixture_elf(&elf);
	const struct {
		struct fixture_member members[2];
		const char *message;
	} rows[] = {
		{ { { "metadata.json", span_str("{}"), 0 } },
		  "the bundle of kernel 'own': there is neither 'vmlinux' nor 'vmlinuz'" },
		{ { { "vmlinux", span_str("text"), 0 } }, "'vmlinux': this is " },
		{ { { "vmlinuz", buf_span(&elf), 0 } },
		  "'vmlinuz' has the format elf, not bzimage" },
		{ { { "vmlinux", buf_span(&elf), 0 },
		    { "metadata.json", span_str("{\"vmlinux\":\"x\"}"), 0 } },
		  "'metadata.json': in a bundle, 'version' is the only member" },
		{ { { "vmlinux", buf_span(&elf), 0 },
		    { "metadata.json", span_str("{\"Version\":\"x\"}"), 0 } },
		  "'metadata.json': " },
		{ { { "vmlinux", buf_span(&elf), 0 }, { "modules/../x.ko", { NULL, 0 }, 0 } },
		  "'modules/../x.ko' may not be in a bundle" },
		{ { { "vmlinux", buf_span(&elf), 0 }, { "modules/x", { NULL, 0 }, 0 } },
		  "'modules/x' may not be in a bundle" },
		{ { { "vmlinux", buf_span(&elf), 0 }, { "modules//x.ko", { NULL, 0 }, 0 } },
		  "'modules//x.ko' may not be in a bundle" },
		{ { { "vmlinux", buf_span(&elf), 0 }, { "modules/x.ko", span_str("x"), 0 } },
		  "'x.ko'" },
		{ { { "vmlinux", buf_span(&elf), 0 }, { "kernel.json", { NULL, 0 }, 0 } },
		  "'kernel.json' may not be in a bundle" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_STRV left = { .count = 0 };
		AUTO_KERNEL kernel;

		kernel_init(&kernel);
		CHECK_ROW(i, install(folder, rows[i].members, rows[i].members[1].name ? 2 : 1,
				     &kernel, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, kernel.record.name == NULL);
		CHECK_INT(dir_each(folder->fd, collect, &left), 0);
		CHECK_ROW(i, left.count == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_header_damage),
		cmocka_unit_test_setup_teardown(test_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_refused, setup, teardown),
	};

	return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
