/* Images of the user's files: what is taken, what is refused, what a changed file means; bundles.
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
#include "ext4/ext4.h"
#include "image/bundle.h"
#include "image/image.h"
#include "image/register.h"
#include "image/superblock.h"
#include "image/worker.h"

struct folder {
	char path[64];
	char *images; /* owned, as the next two */
	char *root;   /* a file system */
	char *seed;   /* another */
};

static void make_file_system(const char *path, uint64_t size)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct ext4_options options = EXT4_OPTIONS_INIT;
	struct ext4_summary summary;
	struct err err = ERR_INIT;

	options.size_bytes = size;
	options.has_epoch = true;
	assert_true(fd >= 0);
	assert_int_equal(ext4_seed(fd, &options, &summary, &err), 0);
}

static int setup(void **state)
{
	struct folder *folder = mem_alloc(1, sizeof(*folder));

	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-register-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	folder->images = mem_printf("%s/images", folder->path);
	folder->root = mem_printf("%s/my-root.img", folder->path);
	folder->seed = mem_printf("%s/my-seed.img", folder->path);
	make_file_system(folder->root, EXT4_SIZE_MIN * 2);
	make_file_system(folder->seed, EXT4_SIZE_MIN);
	*state = folder;
	return 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;
	const int r = dir_remove_tree(AT_FDCWD, folder->path);

	mem_free(folder->images);
	mem_free(folder->root);
	mem_free(folder->seed);
	mem_free(folder);
	return r;
}

static int collect(void *context, const char *name)
{
	strv_add(context, name);
	return 0;
}

static char *list(const char *path)
{
	AUTO_CLOSE int fd = dir_open(path);
	AUTO_STRV names = { .count = 0 };
	AUTO_BUF text = BUF_INIT;

	if (fd < 0)
		return mem_strdup("");
	assert_int_equal(dir_each(fd, collect, &names), 0);
	strv_sort(&names);
	for (size_t i = 0; i < names.count; i++)
		buf_addf(&text, "%s%s", i > 0 ? " " : "", names.items[i]);
	return buf_detach(&text);
}

static void check_list(const struct folder *folder, const char *below, const char *wanted)
{
	AUTO_FREE char *path = mem_printf("%s%s", folder->images, below);
	AUTO_FREE char *got = list(path);

	CHECK_STR(got, wanted);
}

static struct image_register_request request_of(const struct folder *folder)
{
	return (struct image_register_request){ .images_dir = folder->images,
						.name = "own",
						.rootfs = folder->root,
						.work_seed = folder->seed,
						.kernel = "my-kernel" };
}

static int promote(const struct folder *folder, const struct cancel *cancel,
		   struct image_record *ret, struct err *err)
{
	const struct image_promote_request request = { .images_dir = folder->images,
						       .name = "own" };

	return image_promote(&request, cancel, NULL, ret, err);
}

static void test_register(void **state)
{
	const struct folder *folder = *state;
	struct image_register_request request = request_of(folder);
	AUTO_IMAGE_RECORD image;
	AUTO_IMAGE_RECORD loaded;
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	struct err err = ERR_INIT;

	image_record_init(&image);
	image_record_init(&loaded);
	CHECK_INT(image_register(&request, NULL, &image, &err), 0);
	CHECK_STR(image.kind, "registered");
	CHECK_STR(image.kernel, "my-kernel");
	CHECK_STR(image.source, folder->root);
	CHECK_INT(image.size_bytes, EXT4_SIZE_MIN * 2);
	check_list(folder, "", "own");
	check_list(folder, "/own", "image.json registered.json");
	CHECK_INT(image_load(folder->images, "own", &loaded, &err), 0);
	CHECK_STR(loaded.source, folder->root);
	CHECK_INT(loaded.has_init, false);
	CHECK_INT(image_locate(folder->images, "own", &paths, &err), 0);
	CHECK_STR(paths.root, folder->root);
	CHECK_STR(paths.seed, folder->seed);

	CHECK_INT(image_register(&request, NULL, &image, &err) < 0, true);
	CHECK_STR(err.message, "register image 'own': there is an image 'own' already");
	CHECK_INT(err.kind, ERR_EXISTS);
}

static void test_empty_seed(void **state)
{
	const struct folder *folder = *state;
	struct image_register_request request = request_of(folder);
	AUTO_FREE char *own_seed = mem_printf("%s/own/work-seed.ext4", folder->images);
	AUTO_IMAGE_RECORD image;
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	struct superblock superblock = { .size_bytes = 0 };
	struct err err = ERR_INIT;

	image_record_init(&image);
	request.work_seed = NULL;
	request.kernel = NULL;
	CHECK_INT(image_register(&request, NULL, &image, &err), 0);
	CHECK_INT(image.kernel == NULL, true);
	check_list(folder, "/own", "image.json registered.json work-seed.ext4");
	CHECK_INT(image_locate(folder->images, "own", &paths, &err), 0);
	CHECK_STR(paths.root, folder->root);
	CHECK_STR(paths.seed, own_seed);
	AUTO_CLOSE int fd = open(own_seed, O_RDONLY | O_CLOEXEC);

	CHECK_INT(superblock_read_fd(fd, &superblock, &err), 0);
}

/* Whatever is not the very file that was recorded is not used. */
static void test_changed(void **state)
{
	const struct folder *folder = *state;
	const struct image_register_request request = request_of(folder);
	AUTO_FREE char *aside = mem_printf("%s/aside", folder->path);
	struct timespec times[2];
	AUTO_IMAGE_RECORD image;
	struct stat info;

	image_record_init(&image);
	for (size_t i = 0; i < 6; i++) {
		AUTO_IMAGE_PATHS paths = { .root = NULL };
		AUTO_IMAGE_RECORD_LIST all = { .count = 0 };
		AUTO_IMAGE_RECORD promoted;
		struct err err = ERR_INIT;
		const char *file = i % 2 ? folder->seed : folder->root;

		image_record_init(&promoted);
		image_record_done(&image);
		make_file_system(folder->root, EXT4_SIZE_MIN * 2);
		make_file_system(folder->seed, EXT4_SIZE_MIN);
		CHECK_INT(image_register(&request, NULL, &image, &err), 0);
		assert_int_equal(stat(file, &info), 0);
		times[0] = info.st_atim;
		times[1] = info.st_mtim;
		if (i < 2) { /* gone */
			assert_int_equal(unlink(file), 0);
		} else if (i < 4) { /* touched */
			times[1].tv_nsec = (times[1].tv_nsec + 1) % 1000000000;
			assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
		} else { /* another one, of the same size and time */
			assert_int_equal(rename(file, aside), 0);
			make_file_system(file, (uint64_t)info.st_size);
			assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
		}
		CHECK_ROW(i, image_locate(folder->images, "own", &paths, &err) < 0);
		CHECK_INT(err.kind, ERR_BAD_STATE);
		CHECK_HAS(err.message, file);
		CHECK_HAS(err.message, i < 2 ? "is gone" : "has changed since it was registered");
		CHECK_ROW(i, str_starts(err.hint, "delete the image and register it anew"));
		CHECK_ROW(i, promote(folder, NULL, &promoted, &err) < 0);
		CHECK_INT(err.kind, ERR_BAD_STATE);
		check_list(folder, "", "own");
		/* It is still seen, and can be deleted. */
		CHECK_INT(image_load_all(folder->images, &all, &err), 0);
		CHECK_INT(all.count, 1);
		CHECK_INT(image_remove(folder->images, "own", &err), 0);
		check_list(folder, "", "");
	}
	CHECK_INT(access(folder->root, F_OK), 0);
}

static void check_same(const char *a, const char *b)
{
	AUTO_BUF left = BUF_INIT;
	AUTO_BUF right = BUF_INIT;

	assert_int_equal(file_read(AT_FDCWD, a, 1U << 30, &left), 0);
	assert_int_equal(file_read(AT_FDCWD, b, 1U << 30, &right), 0);
	assert_true(span_eq(buf_span(&left), buf_span(&right)));
}

static void test_promote(void **state)
{
	const struct folder *folder = *state;
	struct image_register_request request = request_of(folder);
	AUTO_FREE char *root = mem_printf("%s/own/root.ext4", folder->images);
	AUTO_FREE char *seed = mem_printf("%s/own/work-seed.ext4", folder->images);
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	for (size_t i = 0; i < 2; i++) {
		AUTO_IMAGE_PATHS paths = { .root = NULL };
		struct stat info;

		image_record_done(&image);
		request.work_seed = i == 0 ? folder->seed : NULL;
		CHECK_INT(image_register(&request, NULL, &image, &err), 0);
		image_record_done(&image);
		CHECK_INT(promote(folder, NULL, &image, &err), 0);
		CHECK_STR(image.kind, "managed");
		CHECK_STR(image.kernel, "my-kernel");
		CHECK_INT(image.size_bytes, EXT4_SIZE_MIN * 2);
		check_list(folder, "", "own");
		check_list(folder, "/own", "image.json root.ext4 work-seed.ext4");
		check_same(root, folder->root);
		if (i == 0)
			check_same(seed, folder->seed);
		/* Holes stay holes. */
		assert_int_equal(stat(root, &info), 0);
		assert_true((uint64_t)info.st_blocks * 512 < EXT4_SIZE_MIN);
		CHECK_INT(image_locate(folder->images, "own", &paths, &err), 0);
		CHECK_STR(paths.root, root);
		CHECK_STR(paths.seed, seed);
		image_record_done(&image);
		CHECK_INT(promote(folder, NULL, &image, &err) < 0, true);
		CHECK_INT(err.kind, ERR_BAD_STATE);
		CHECK_HAS(err.message, "promote image 'own': it is no registered image");
		CHECK_INT(image_remove(folder->images, "own", &err), 0);
	}
	CHECK_INT(promote(folder, NULL, &image, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

static void test_promote_cancelled(void **state)
{
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	const struct folder *folder = *state;
	const struct image_register_request request = request_of(folder);
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	CHECK_INT(cancel_init(&cancel), 0);
	CHECK_INT(image_register(&request, NULL, &image, &err), 0);
	image_record_done(&image);
	cancel_fire(&cancel);
	CHECK_INT(promote(folder, &cancel, &image, &err) < 0, true);
	CHECK_INT(err.kind, ERR_CANCELLED);
	check_list(folder, "", "own");
	CHECK_INT(image_locate(folder->images, "own", &paths, &err), 0);
	CHECK_STR(paths.root, folder->root);
}

struct refusal {
	size_t calls;
	const struct folder *folder;
};

static int refuse(void *context, const struct image_record *image, struct err *err)
{
	struct refusal *refusal = context;
	AUTO_IMAGE_RECORD now;

	image_record_init(&now);
	refusal->calls++;
	CHECK_STR(image->kind, "managed");
	/* It is asked before anything has changed. */
	CHECK_INT(image_load(refusal->folder->images, "own", &now, err), 0);
	CHECK_STR(now.kind, "registered");
	return err_set(err, ERR_BUSY, "not now");
}

static void test_promote_refused(void **state)
{
	const struct folder *folder = *state;
	const struct image_register_request request = request_of(folder);
	struct refusal refusal = { .folder = folder };
	const struct image_promote_request promotion = {
		.images_dir = folder->images, .name = "own", .begin = refuse, .context = &refusal
	};
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	CHECK_INT(image_register(&request, NULL, &image, &err), 0);
	image_record_done(&image);
	CHECK_INT(image_promote(&promotion, NULL, NULL, &image, &err) < 0, true);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "promote image 'own': not now");
	CHECK_INT(refusal.calls, 1);
	check_list(folder, "", "own");
	CHECK_INT(image_locate(folder->images, "own", &paths, &err), 0);
	CHECK_STR(paths.root, folder->root);
}

/* What it takes for an ext4 file system is not readable: the worker says so. */
static void test_damaged(void **state)
{
	const struct folder *folder = *state;
	const struct image_register_request request = request_of(folder);
	AUTO_FREE uint8_t *garbage = mem_alloc(1, 1U << 20);
	AUTO_CLOSE int fd = open(folder->root, O_WRONLY | O_CLOEXEC);
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	memset(garbage, 0xa5, 1U << 20);
	/* Descriptors and all that follows them; the superblock stays. */
	assert_int_equal(fd_pwrite_all(fd, span_of(garbage, 1U << 20), 4096), 0);
	CHECK_INT(image_register(&request, NULL, &image, &err) < 0, true);
	CHECK_INT(err.kind, ERR_INVALID);
	CHECK_HAS(err.message, "the file system cannot be read: ");
	CHECK_HAS(err.message, folder->root);
	CHECK_STR(err.hint, "unmount it, then: e2fsck -f FILE");
	check_list(folder, "", "");
}

static void test_refused_files(void **state)
{
	const struct folder *folder = *state;
	AUTO_FREE char *fifo = mem_printf("%s/fifo", folder->path);
	AUTO_FREE char *link = mem_printf("%s/link", folder->path);
	AUTO_FREE char *text = mem_printf("%s/text", folder->path);
	const struct {
		const char *path;
		const char *message;
	} rows[] = {
		{ "relative", "'relative' is no absolute path" },
		{ "/nonexistent/file", "there is no '/nonexistent/file'" },
		{ "/dev/null", "'/dev/null' is a device, no regular file" },
		{ fifo, "is a FIFO, no regular file" },
		{ link, "is, or is behind, a symbolic link" },
		{ folder->path, "is a folder, no regular file" },
		{ text, "this is no ext4 file system" },
	};
	AUTO_CLOSE int fd = open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(fd_write_all(fd, span_str("text")), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink(folder->root, link), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		struct image_register_request request = request_of(folder);
		AUTO_IMAGE_RECORD image;
		struct err err = ERR_INIT;

		image_record_init(&image);
		if (i % 2)
			request.work_seed = rows[i / 2].path;
		else
			request.rootfs = rows[i / 2].path;
		CHECK_ROW(i, image_register(&request, NULL, &image, &err) < 0);
		CHECK_HAS(err.message, "register image 'own': ");
		CHECK_HAS(err.message, rows[i / 2].message);
		check_list(folder, "", "");
	}
}

/* --- superblocks --- */

static void test_superblocks(void **state)
{
	static const struct {
		size_t at;
		const char *bytes;
		size_t size;
		const char *message; /* NULL: it is taken */
	} rows[] = {
		{ 0, "", 0, NULL },
		{ 0, "\x1f\x8b", 2, NULL }, /* boot code may look like anything */
		{ 1024 + 0x38, "\0\0", 2, "this is no ext4 file system" },
		{ 1024 + 0x3a, "\0\0", 2, "the file system was not unmounted, or still is in use" },
		{ 1024 + 0x3a, "\3\0", 2, "the file system is marked as damaged" },
		{ 1024 + 0x60, "\xc6\2", 2, "the file system was not unmounted" },
		{ 1024 + 0x60, "\x0a\0", 2, "this is the journal of another file system" },
		{ 1024 + 0x60, "\xc2\x12", 2, "features that Linux does not know: 0x1000" },
		{ 1024 + 0x18, "\7\0\0\0", 4, "the file system has an impossible size" },
		{ 1024 + 0x18, "\xff\xff\xff\xff", 4, "the file system has an impossible size" },
		{ 1024 + 0x04, "\0\0\0\0", 4, "the file system has an impossible size" },
		{ 1024 + 0x150, "\xff\xff\xff\xff", 4, "the file system has an impossible size" },
		{ 1024 + 0x150, "\1\0\0\0", 4, "it is cut short" },
		{ 1024 + 0x04, "\xff\xff\xff\xff", 4, "it is cut short" },
	};
	const struct folder *folder = *state;
	AUTO_CLOSE int fd = open(folder->root, O_RDONLY | O_CLOEXEC);
	uint8_t good[SUPERBLOCK_HEAD_SIZE];

	CHECK_INT(fd_read_exact(fd, good, sizeof(good)), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct superblock got = { .size_bytes = 77 };
		uint8_t head[SUPERBLOCK_HEAD_SIZE];
		struct err err = ERR_INIT;
		int r;

		memcpy(head, good, sizeof(head));
		memcpy(head + rows[i].at, rows[i].bytes, rows[i].size);
		r = superblock_read(span_of(head, sizeof(head)), EXT4_SIZE_MIN * 2, &got, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].message == NULL));
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(got.size_bytes, rows[i].message ? 77 : EXT4_SIZE_MIN * 2);
	}
	struct superblock got;
	struct err err = ERR_INIT;

	CHECK_INT(superblock_read(span_of(good, sizeof(good)), EXT4_SIZE_MIN * 2 - 1, &got, &err) <
			  0,
		  true);
	CHECK_HAS(err.message, "it is cut short");
}

static void test_other_formats(void **state)
{
	static const struct {
		size_t at;
		const char *bytes;
		const char *what;
	} rows[] = {
		{ 0, "QFI\xfb", "a qcow2 disk image" },
		{ 0, "\x1f\x8b", "gzip data" },
		{ 0, "\x28\xb5\x2f\xfd", "zstd data" },
		{ 0, "BZh9", "bzip2 data" },
		{ 0, "hsqs", "a squashfs file system" },
		{ 0, "XFSB", "an XFS file system" },
		{ 0,
		  "\x7f"
		  "ELF",
		  "an ELF file" },
		{ 257, "ustar", "a tar file" },
		{ 510, "\x55\xaa", "a disk with partitions" },
		{ 512, "EFI PART", "a disk with partitions" },
	};
	struct superblock got = { .size_bytes = 77 };
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t head[SUPERBLOCK_HEAD_SIZE] = { 0 };
		AUTO_FREE char *wanted =
			mem_printf("this is %s, no ext4 file system", rows[i].what);

		memcpy(head + rows[i].at, rows[i].bytes, strlen(rows[i].bytes));
		CHECK_ROW(i,
			  superblock_read(span_of(head, sizeof(head)), 1ULL << 30, &got, &err) < 0);
		CHECK_STR(err.message, wanted);
		CHECK_ROW(i, superblock_read(span_of(head, 1024), 1024, &got, &err) < 0);
	}
	CHECK_INT(superblock_read(span_of("", 0), 0, &got, &err) < 0, true);
	CHECK_STR(err.message, "this is an empty file, no ext4 file system");
}

/* --- bundles --- */

static int install(const struct folder *folder, const struct fixture_member *members, size_t count,
		   uint64_t bytes_max, struct image_record *ret, struct err *err)
{
	struct image_bundle_request request = { .images_dir = folder->images,
						.name = "own",
						.source = "https://example.org/own.tar.zst",
						.digest = "sha256:0123",
						.kernel = "catalog-kernel",
						.bytes_max = bytes_max };
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO_CLOSE int fd = -1;

	*err = ERR_INIT;
	fixture_bundle_tar(&tar, members, count);
	fixture_zstd(&packed, buf_span(&tar), 0);
	fd = fixture_file(buf_span(&packed));
	request.fd = fd;
	return image_bundle_install(&request, NULL, NULL, ret, err);
}

static void test_bundle(void **state)
{
	const struct folder *folder = *state;
	AUTO_FREE char *root = mem_printf("%s/own/root.ext4", folder->images);
	AUTO_FREE char *seed = mem_printf("%s/own/work-seed.ext4", folder->images);
	AUTO_BUF root_bytes = BUF_INIT;
	AUTO_BUF seed_bytes = BUF_INIT;
	AUTO_IMAGE_RECORD loaded;
	struct err err;

	image_record_init(&loaded);
	assert_int_equal(file_read(AT_FDCWD, folder->root, 1U << 30, &root_bytes), 0);
	assert_int_equal(file_read(AT_FDCWD, folder->seed, 1U << 30, &seed_bytes), 0);
	const struct fixture_member members[] = {
		{ "root.ext4", buf_span(&root_bytes), 0 },
		{ "work-seed.ext4", buf_span(&seed_bytes), 0 },
		{ "image.json", span_str("{\"kernel\":\"its-own\"}"), 0 },
	};

	/* All of it, then without what is optional; the second takes the place of the first. */
	for (size_t i = 0; i < 2; i++) {
		const size_t count = i == 0 ? ARRAY_LEN(members) : 1;
		AUTO_IMAGE_RECORD image;

		image_record_init(&image);
		CHECK_INT(install(folder, members, count, 0, &image, &err), 0);
		CHECK_STR(image.kind, "managed");
		CHECK_STR(image.kernel, count > 1 ? "its-own" : "catalog-kernel");
		CHECK_STR(image.source, "https://example.org/own.tar.zst");
		CHECK_STR(image.digest, "sha256:0123");
		CHECK_INT(image.has_init, false);
		CHECK_INT(image.size_bytes, EXT4_SIZE_MIN * 2);
		check_list(folder, "", "own");
		check_list(folder, "/own", "image.json root.ext4 work-seed.ext4");
		check_same(root, folder->root);
		if (count > 1)
			check_same(seed, folder->seed);
	}
	CHECK_INT(image_load(folder->images, "own", &loaded, &err), 0);
	CHECK_STR(loaded.digest, "sha256:0123");
}

static void test_refused_bundles(void **state)
{
	const struct folder *folder = *state;
	AUTO_BUF root = BUF_INIT;
	AUTO_FREE uint8_t *zeros = mem_alloc(1, 64U << 20);
	struct err err;

	assert_int_equal(file_read(AT_FDCWD, folder->root, 1U << 30, &root), 0);
	const struct fixture_member good = { "root.ext4", buf_span(&root), 0 };
	const struct {
		struct fixture_member members[2];
		uint64_t bytes_max;
		const char *message;
	} rows[] = {
		{ { { "image.json", span_str("{}"), 0 } },
		  0,
		  "SHA256SUMS: 'root.ext4' is missing" },
		{ { good, { "registered.json", span_str("{}"), 0 } },
		  0,
		  "'registered.json' may not be in a bundle" },
		{ { good, { "image.json", span_str("{"), 0 } }, 0, "'image.json': JSON" },
		{ { good, { "image.json", span_str("{\"kernel\":\"../x\"}"), 0 } },
		  0,
		  "'image.json': " },
		{ { good, { "image.json", span_str("{\"name\":\"x\"}"), 0 } }, 0, "name" },
		{ { good, { "image.json", span_str("{\"has_init\":true}"), 0 } }, 0, "has_init" },
		{ { good, { "work-seed.ext4", span_str("text"), 0 } },
		  0,
		  "'work-seed.ext4': this is no ext4 file system" },
		{ { { "root.ext4", span_of(zeros, 64U << 20), 0 } },
		  0,
		  "'root.ext4': this is no ext4 file system" },
		{ { { "root.ext4", span_of(root.ptr, root.len - 4096), 0 } },
		  0,
		  "'root.ext4': the file system has 67108864 bytes, but the file only 67104768" },
		{ { good },
		  EXT4_SIZE_MIN,
		  "'root.ext4' has 67108864 bytes; at most 33554432 (limits.image_bytes)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_IMAGE_RECORD image;

		image_record_init(&image);
		CHECK_ROW(i, install(folder, rows[i].members, rows[i].members[1].name ? 2 : 1,
				     rows[i].bytes_max, &image, &err) < 0);
		CHECK_HAS(err.message, "the bundle of image 'own': ");
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, image.name == NULL);
		check_list(folder, "", "");
	}
}

/* This program is its own worker. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_register, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_seed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_promote, setup, teardown),
		cmocka_unit_test_setup_teardown(test_promote_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_promote_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_superblocks, setup, teardown),
		cmocka_unit_test(test_other_formats),
		cmocka_unit_test_setup_teardown(test_bundle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_bundles, setup, teardown),
	};

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	return cmocka_run_group_tests_name("image_register", tests, NULL, NULL);
}
