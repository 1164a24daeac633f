/* Disks over images, with the real qemu-img and the file system that is there. */
#include "check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "disk/disk.h"
#include "disk/qcow2.h"

#define MIB	    (1ULL << 20)
#define BASE_BYTES  (8 * MIB)
#define TEST_FOLDER "/tmp/banger-test-disk-XXXXXX"

static char folder[sizeof(TEST_FOLDER)];
static char *vm_folder;
static char *base;

/* An image with data at both ends and a hole between. */
static int make_image(void **state)
{
	AUTO_CLOSE int fd = -1;
	char block[4096];

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s", TEST_FOLDER);
	if (!mkdtemp(folder))
		return -1;
	vm_folder = mem_printf("%s/vm", folder);
	base = mem_printf("%s/root.ext4", folder);
	if (mkdir(vm_folder, 0700) < 0)
		return -1;
	fd = open(base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	memset(block, 'x', sizeof(block));
	if (fd < 0 || ftruncate(fd, BASE_BYTES) < 0 ||
	    fd_pwrite_all(fd, span_of(block, sizeof(block)), 0) < 0 ||
	    fd_pwrite_all(fd, span_of(block, sizeof(block)), BASE_BYTES - sizeof(block)) < 0)
		return -1;
	return 0;
}

static int remove_image(void **state)
{
	(void)state;
	mem_free(vm_folder);
	mem_free(base);
	return dir_remove_tree(AT_FDCWD, folder);
}

static int count_one(void *context, const char *name)
{
	size_t *count = context;

	assert_non_null(name);
	(*count)++;
	return 0;
}

static size_t count_files(const char *path)
{
	AUTO_CLOSE int fd = dir_open(path);
	size_t count = 0;

	assert_true(fd >= 0);
	CHECK_INT(dir_each(fd, count_one, &count), 0);
	return count;
}

static void clear_vm(void)
{
	CHECK_INT(dir_remove_tree(AT_FDCWD, vm_folder), 0);
	CHECK_INT(mkdir(vm_folder, 0700), 0);
}

static struct disk_request request_of(enum disk_kind kind, const char *stem, uint64_t size_bytes)
{
	return (struct disk_request){ .kind = kind,
				      .folder = vm_folder,
				      .stem = stem,
				      .base = base,
				      .size_bytes = size_bytes };
}

/* What qemu-img says of a file, as JSON; its own check first. */
static json_t *qemu_info(const char *path)
{
	AUTO_STRV check = { .items = NULL };
	AUTO_STRV info = { .items = NULL };
	AUTO_BUF out = BUF_INIT;
	struct err err = ERR_INIT;
	json_t *json = NULL;
	struct spawn spawn = { .path = "qemu-img" };

	strv_add(&check, "qemu-img");
	strv_add(&check, "check");
	strv_add(&check, "-f");
	strv_add(&check, "qcow2");
	strv_add(&check, path);
	spawn.argv = strv_argv(&check);
	if (spawn_run(&spawn, NULL, 30000, 65536, NULL, &err) < 0)
		fail_msg("%s", err.message);

	strv_add(&info, "qemu-img");
	strv_add(&info, "info");
	strv_add(&info, "--output=json");
	strv_add(&info, path);
	spawn = (struct spawn){ .path = "qemu-img", .argv = strv_argv(&info) };
	if (spawn_run(&spawn, NULL, 30000, 65536, &out, &err) < 0 ||
	    json_read(buf_span(&out), &json, &err) < 0)
		fail_msg("%s", err.message);
	return json;
}

static void make_with_qemu_img(const char *path, uint64_t size_bytes)
{
	AUTO_STRV argv = { .items = NULL };
	struct spawn spawn = { .path = "qemu-img" };
	struct err err = ERR_INIT;

	strv_add(&argv, "qemu-img");
	strv_add(&argv, "create");
	strv_add(&argv, "-q");
	strv_add(&argv, "-f");
	strv_add(&argv, "qcow2");
	strv_add(&argv, path);
	strv_addf(&argv, "%" PRIu64, size_bytes);
	spawn.argv = strv_argv(&argv);
	if (spawn_run(&spawn, NULL, 30000, 65536, NULL, &err) < 0)
		fail_msg("%s", err.message);
}

/* Something in the disk that is not in its image. */
static void write_with_qemu_io(const char *path)
{
	AUTO_STRV argv = { .items = NULL };
	struct spawn spawn = { .path = "qemu-io" };
	struct err err = ERR_INIT;

	strv_add(&argv, "qemu-io");
	strv_add(&argv, "-f");
	strv_add(&argv, "qcow2");
	strv_add(&argv, "-c");
	strv_add(&argv, "write -P 7 1M 256k");
	strv_add(&argv, path);
	spawn.argv = strv_argv(&argv);
	if (spawn_run(&spawn, NULL, 30000, 65536, NULL, &err) < 0)
		fail_msg("%s", err.message);
}

static void test_kinds(void **state)
{
	(void)state;
	CHECK_STR(disk_kind_name(DISK_REFLINK), "reflink");
	CHECK_STR(disk_kind_name(DISK_QCOW2), "qcow2");
	CHECK_STR(disk_kind_name(DISK_COPY), "copy");
	CHECK_STR(disk_kind_suffix(DISK_REFLINK), "raw");
	CHECK_STR(disk_kind_suffix(DISK_COPY), "raw");
	CHECK_STR(disk_kind_suffix(DISK_QCOW2), "qcow2");
}

static void test_choose(void **state)
{
	char reason[DISK_REASON_SIZE] = "";
	enum disk_kind kind = DISK_KIND_COUNT;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(disk_choose(vm_folder, folder, DISK_ENGINE_QEMU, &kind, reason, &err), 0);
	assert_true(str_starts(reason, disk_kind_name(kind)));
	assert_true(kind == DISK_REFLINK || kind == DISK_QCOW2);
	CHECK_INT(disk_choose(vm_folder, folder, DISK_ENGINE_FIRECRACKER, &kind, reason, &err), 0);
	assert_true(kind == DISK_REFLINK || kind == DISK_COPY);
	assert_true(str_starts(reason, disk_kind_name(kind)));

	/* Shared memory is a tmpfs: another file system, and one without reflinks. */
	CHECK_INT(disk_choose("/dev/shm", folder, DISK_ENGINE_QEMU, &kind, reason, &err), 0);
	CHECK_INT(kind, DISK_QCOW2);
	CHECK_INT(disk_choose("/dev/shm", "/dev/shm", DISK_ENGINE_FIRECRACKER, &kind, reason, &err),
		  0);
	CHECK_INT(kind, DISK_COPY);
	CHECK_STR(reason,
		  "copy: the file system cannot share blocks between files, and Firecracker "
		  "only opens raw files");
	CHECK_INT(count_files(vm_folder), 0);

	assert_true(disk_choose("/nowhere", folder, DISK_ENGINE_QEMU, &kind, reason, &err) < 0);
	CHECK_HAS(err.message, "make a file in '/nowhere'");
}

static void test_raw(void **state)
{
	struct disk_request request = request_of(DISK_COPY, "system", 4 * BASE_BYTES);
	AUTO_DISK_OVERLAY overlay = { .path = NULL };
	struct err err = ERR_INIT;
	AUTO_BUF original = BUF_INIT;
	AUTO_BUF copy = BUF_INIT;
	uint64_t used = 0;
	struct stat status;

	(void)state;
	clear_vm();
	if (disk_create(&request, NULL, NULL, &overlay, &err) < 0)
		fail_msg("%s", err.message);
	assert_true(overlay.kind == DISK_COPY || overlay.kind == DISK_REFLINK);
	assert_true(str_ends(overlay.path, "/vm/system.raw"));
	CHECK_STR(overlay.base, base);
	CHECK_INT(overlay.size_bytes, 4 * BASE_BYTES);
	CHECK_INT(count_files(vm_folder), 1);
	CHECK_INT(stat(overlay.path, &status), 0);
	CHECK_INT(status.st_size, 4 * BASE_BYTES);
	CHECK_INT(status.st_mode & 07777, 0600);

	/* The image's bytes, then zeros; and the holes stayed holes. */
	CHECK_INT(file_read(AT_FDCWD, base, 64 * MIB, &original), 0);
	CHECK_INT(file_read(AT_FDCWD, overlay.path, 64 * MIB, &copy), 0);
	assert_memory_equal(original.ptr, copy.ptr, BASE_BYTES);
	for (size_t i = BASE_BYTES; i < copy.len; i++)
		assert_int_equal(copy.ptr[i], 0);
	CHECK_INT(disk_used_bytes(vm_folder, &used, &err), 0);
	assert_true(used >= 8192 && used <= MIB);

	/* Once more is refused, and what is there stays. */
	assert_true(disk_create(&request, NULL, NULL, &overlay, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_HAS(err.message, "/vm/system.raw' exists already");
	CHECK_INT(count_files(vm_folder), 1);

	CHECK_INT(disk_grow(&overlay, 5 * BASE_BYTES, NULL, &err), 0);
	CHECK_INT(overlay.size_bytes, 5 * BASE_BYTES);
	CHECK_INT(stat(overlay.path, &status), 0);
	CHECK_INT(status.st_size, 5 * BASE_BYTES);
	assert_true(disk_grow(&overlay, 4 * BASE_BYTES, NULL, &err) < 0);
	CHECK_HAS(err.message, "disks only grow");
	assert_true(disk_grow(&overlay, 6 * BASE_BYTES + 1, NULL, &err) < 0);

	/* A wrong record of the size does not make the file smaller either. */
	overlay.size_bytes = BASE_BYTES;
	assert_true(disk_grow(&overlay, 2 * BASE_BYTES, NULL, &err) < 0);
	CHECK_HAS(err.message, "has 41943040 bytes: disks only grow");
	CHECK_INT(stat(overlay.path, &status), 0);
	CHECK_INT(status.st_size, 5 * BASE_BYTES);

	CHECK_INT(unlink(overlay.path), 0);
	CHECK_INT(count_files(vm_folder), 0);
}

/* Smaller than the image is the image's size; odd sizes become whole blocks. */
static void test_raw_sizes(void **state)
{
	static const struct {
		uint64_t asked;
		uint64_t made;
	} rows[] = {
		{ 0, BASE_BYTES },
		{ BASE_BYTES - 4096, BASE_BYTES },
		{ BASE_BYTES, BASE_BYTES },
		{ BASE_BYTES + 1, BASE_BYTES + 4096 },
		{ 16ULL << 30, 16ULL << 30 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct disk_request request = request_of(DISK_COPY, "work", rows[i].asked);
		AUTO_DISK_OVERLAY overlay = { .path = NULL };
		struct err err = ERR_INIT;
		struct stat status;

		clear_vm();
		CHECK_INT(disk_create(&request, NULL, NULL, &overlay, &err), 0);
		CHECK_INT(overlay.size_bytes, rows[i].made);
		CHECK_INT(stat(overlay.path, &status), 0);
		CHECK_INT(status.st_size, rows[i].made);
		CHECK_ROW(i, status.st_blocks * 512 <= (off_t)MIB);
	}
}

static void test_qcow2(void **state)
{
	const struct disk_request request = request_of(DISK_QCOW2, "system", 64 * MIB);
	AUTO_DISK_OVERLAY overlay = { .path = NULL };
	struct err err = ERR_INIT;
	struct stat status;

	(void)state;
	clear_vm();
	if (disk_create(&request, NULL, NULL, &overlay, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(overlay.kind, DISK_QCOW2);
	assert_true(str_ends(overlay.path, "/vm/system.qcow2"));
	CHECK_INT(count_files(vm_folder), 1);
	CHECK_INT(stat(overlay.path, &status), 0);
	CHECK_INT(status.st_mode & 07777, 0600);
	{
		AUTO_JSON *info = qemu_info(overlay.path);

		CHECK_STR(json_get_str(info, "format"), "qcow2");
		CHECK_INT(json_get_u64(info, "virtual-size"), 64 * MIB);
		assert_null(json_object_get(info, "backing-filename"));
		assert_null(json_object_get(info, "full-backing-filename"));
	}

	CHECK_INT(disk_grow(&overlay, 96 * MIB, NULL, &err), 0);
	{
		AUTO_JSON *info = qemu_info(overlay.path);

		CHECK_INT(json_get_u64(info, "virtual-size"), 96 * MIB);
	}
	/* A wrong record of the size does not make it smaller. */
	overlay.size_bytes = MIB;
	assert_true(disk_grow(&overlay, 2 * MIB, NULL, &err) < 0);
	CHECK_HAS(err.message, "is larger: disks only grow");
	{
		AUTO_JSON *info = qemu_info(overlay.path);

		CHECK_INT(json_get_u64(info, "virtual-size"), 96 * MIB);
	}
}

/* Every size: QEMU's own check finds nothing wrong, and it reads like the one that QEMU makes. */
static void test_qcow2_sizes(void **state)
{
	static const uint64_t sizes[] = {
		512,
		4096,
		(512 * MIB) - 512,
		512 * MIB,
		(512 * MIB) + 512,
		1024 * MIB,
		10000 * MIB,
		4194304 * MIB,
		4194816 * MIB,
		16777216 * MIB,
		QCOW2_SIZE_MAX,
	};
	AUTO_FREE char *ours = mem_printf("%s/ours.qcow2", folder);
	AUTO_FREE char *theirs = mem_printf("%s/theirs.qcow2", folder);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_CLOSE int fd = open(ours, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		AUTO_JSON *info = NULL;
		AUTO_JSON *wanted = NULL;
		struct stat status, wanted_status;

		assert_true(fd >= 0);
		CHECK_INT(qcow2_write_empty(fd, sizes[i]), 0);
		make_with_qemu_img(theirs, sizes[i]);
		info = qemu_info(ours);
		wanted = qemu_info(theirs);
		CHECK_INT(json_get_u64(info, "virtual-size"), sizes[i]);
		CHECK_ROW(i, json_equal(json_object_get(info, "format-specific"),
					json_object_get(wanted, "format-specific")));
		assert_int_equal(stat(ours, &status) + stat(theirs, &wanted_status), 0);
		/* The table has its last cluster for itself. */
		CHECK_ROW(i, status.st_size >= wanted_status.st_size &&
				     status.st_size < wanted_status.st_size + 65536);
	}
	(void)unlink(ours);
	(void)unlink(theirs);
}

/* Each step from one size to the next: as long as the table has room, without QEMU. */
static void test_qcow2_growing(void **state)
{
	static const struct {
		uint64_t from;
		uint64_t to;
		int result;
	} rows[] = {
		{ 512, 512, 0 },
		{ 512, 1024, 0 },
		{ 64 * MIB, 512 * MIB, 0 },
		{ 64 * MIB, 1024 * MIB, 0 },
		{ 64 * MIB, 4194304 * MIB, 0 },
		{ 64 * MIB, (4194304 * MIB) + 512, -ENOTSUP },
		{ (4194304 * MIB) + 512, 8388608 * MIB, 0 },
		{ 64 * MIB, 32 * MIB, -EINVAL },
		{ 64 * MIB, 0, -ENOTSUP },
	};
	AUTO_FREE char *path = mem_printf("%s/growing.qcow2", folder);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		AUTO_JSON *info = NULL;

		assert_true(fd >= 0);
		CHECK_INT(qcow2_write_empty(fd, rows[i].from), 0);
		CHECK_ROW(i, qcow2_grow(fd, rows[i].to) == rows[i].result);
		info = qemu_info(path);
		CHECK_ROW(i, json_get_u64(info, "virtual-size") ==
				     (rows[i].result == 0 ? rows[i].to : rows[i].from));
	}
	(void)unlink(path);
}

/* Headers that are not to be changed in place. */
static void test_qcow2_headers(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {
		{ 0, 'q' }, /* another magic */
		{ 7, 2 },   /* version */
		{ 23, 12 }, /* size of clusters */
		{ 35, 1 },  /* encrypted */
		{ 63, 1 },  /* with a snapshot */
		{ 79, 1 },  /* dirty */
		{ 38, 0 },  /* no table to map anything */
	};
	AUTO_FREE char *path = mem_printf("%s/header.qcow2", folder);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t header[QCOW2_HEADER_BYTES];
	uint64_t now = 0;

	(void)state;
	assert_true(fd >= 0);
	CHECK_INT(qcow2_write_empty(fd, 64 * MIB), 0);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	assert_true(qcow2_has_room(span_of(header, sizeof(header)), 128 * MIB, &now));
	CHECK_INT(now, 64 * MIB);
	for (size_t len = 0; len < sizeof(header); len++)
		CHECK_ROW(len, !qcow2_has_room(span_of(header, len), 128 * MIB, &now));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t other[QCOW2_HEADER_BYTES];

		memcpy(other, header, sizeof(other));
		other[rows[i].at] = rows[i].value;
		CHECK_ROW(i, !qcow2_has_room(span_of(other, sizeof(other)), 128 * MIB, &now));
	}
	(void)unlink(path);
}

/* A copy has the content of its source, is as large as was asked for, and leaves the source alone.
 */
static void test_copies(void **state)
{
	static const enum disk_kind kinds[] = { DISK_COPY, DISK_QCOW2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct disk_request request = request_of(kinds[i], "system", 4 * BASE_BYTES);
		AUTO_DISK_OVERLAY first = { .path = NULL };
		AUTO_DISK_OVERLAY copy = { .path = NULL };
		AUTO_DISK_OVERLAY refused = { .path = NULL };
		AUTO_BUF before = BUF_INIT;
		AUTO_BUF after = BUF_INIT;
		AUTO_BUF copied = BUF_INIT;
		struct err err = ERR_INIT;

		clear_vm();
		CHECK_INT(disk_create(&request, NULL, NULL, &first, &err), 0);
		if (kinds[i] == DISK_QCOW2)
			write_with_qemu_io(first.path);
		CHECK_INT(file_read(AT_FDCWD, first.path, 64 * MIB, &before), 0);
		request.source = first.path;
		request.stem = "work";
		request.size_bytes = 6 * BASE_BYTES;
		if (disk_create(&request, NULL, NULL, &copy, &err) < 0)
			fail_msg("%s", err.message);
		CHECK_INT(copy.size_bytes, 6 * BASE_BYTES);
		CHECK_STR(copy.base, base);
		CHECK_INT(file_read(AT_FDCWD, first.path, 64 * MIB, &after), 0);
		assert_true(span_eq(buf_span(&before), buf_span(&after)));
		CHECK_INT(file_read(AT_FDCWD, copy.path, 64 * MIB, &copied), 0);
		if (kinds[i] == DISK_QCOW2) {
			AUTO_JSON *info = qemu_info(copy.path);

			CHECK_INT(json_get_u64(info, "virtual-size"), 6 * BASE_BYTES);
			CHECK_INT(copied.len, before.len);
			assert_memory_equal(copied.ptr + 32, before.ptr + 32, before.len - 32);
		} else {
			CHECK_INT(copied.len, 6 * BASE_BYTES);
			assert_memory_equal(copied.ptr, before.ptr, before.len);
		}

		/* What would be cut off is refused, and nothing is left of the attempt. */
		request.stem = "other";
		request.size_bytes = 2 * BASE_BYTES;
		assert_true(disk_create(&request, NULL, NULL, &refused, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_HAS(err.message, "less than what it is copied from");
		CHECK_INT(count_files(vm_folder), 2);
	}
}

/* The explicit chain: over the image, the empty layer reads as the image grown by zeros. */
static void test_qcow2_chain(void **state)
{
	const struct disk_request request = request_of(DISK_QCOW2, "system", 4 * BASE_BYTES);
	AUTO_FREE char *out = mem_printf("%s/out.raw", vm_folder);
	AUTO_FREE char *source = NULL;
	AUTO_DISK_OVERLAY overlay = { .path = NULL };
	AUTO_BUF original = BUF_INIT;
	AUTO_BUF seen = BUF_INIT;
	struct err err = ERR_INIT;
	AUTO_STRV argv = { .items = NULL };
	struct spawn spawn = { .path = "qemu-img" };

	(void)state;
	clear_vm();
	CHECK_INT(disk_create(&request, NULL, NULL, &overlay, &err), 0);
	source = mem_printf(
		"json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
		"\"backing\":{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
		"\"filename\":\"%s\"}}}",
		overlay.path, overlay.base);
	strv_add(&argv, "qemu-img");
	strv_add(&argv, "convert");
	strv_add(&argv, "-O");
	strv_add(&argv, "raw");
	strv_add(&argv, source);
	strv_add(&argv, out);
	spawn.argv = strv_argv(&argv);
	if (spawn_run(&spawn, NULL, 30000, 65536, NULL, &err) < 0)
		fail_msg("%s", err.message);

	CHECK_INT(file_read(AT_FDCWD, base, 64 * MIB, &original), 0);
	CHECK_INT(file_read(AT_FDCWD, out, 64 * MIB, &seen), 0);
	CHECK_INT(seen.len, 4 * BASE_BYTES);
	assert_memory_equal(original.ptr, seen.ptr, BASE_BYTES);
	for (size_t i = BASE_BYTES; i < seen.len; i++)
		assert_int_equal(seen.ptr[i], 0);
}

static void test_failures(void **state)
{
	static const enum disk_kind kinds[] = { DISK_COPY, DISK_QCOW2 };
	AUTO_FREE char *missing = mem_printf("%s/missing", folder);
	AUTO_FREE char *leftover = NULL;
	AUTO_FREE char *target = mem_printf("%s/target", folder);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct disk_request request = request_of(kinds[i], "system", BASE_BYTES);
		AUTO_DISK_OVERLAY overlay = { .path = NULL };
		struct err err = ERR_INIT;
		struct cancel cancel = CANCEL_INIT;

		clear_vm();
		request.base = missing;
		assert_true(disk_create(&request, NULL, NULL, &overlay, &err) < 0);
		CHECK_HAS(err.message, "open the image '");
		request.base = folder;
		assert_true(disk_create(&request, NULL, NULL, &overlay, &err) < 0);
		CHECK_HAS(err.message, "is no file with a file system in it");
		request.base = base;
		request.folder = missing;
		assert_true(disk_create(&request, NULL, NULL, &overlay, &err) < 0);
		CHECK_HAS(err.message, "open the VM's folder '");
		request.folder = vm_folder;
		CHECK_INT(count_files(vm_folder), 0);

		CHECK_INT(cancel_init(&cancel), 0);
		cancel_fire(&cancel);
		err = ERR_INIT;
		assert_true(disk_create(&request, &cancel, NULL, &overlay, &err) < 0);
		CHECK_INT(err.kind, ERR_CANCELLED);
		CHECK_INT(count_files(vm_folder), 0);
		cancel_done(&cancel);
	}

	/* A link in the staging place is removed, not followed. */
	leftover = mem_printf("%s/.new-system.raw", vm_folder);
	CHECK_INT(symlink(target, leftover), 0);
	{
		const struct disk_request request = request_of(DISK_COPY, "system", 0);
		AUTO_DISK_OVERLAY overlay = { .path = NULL };
		struct err err = ERR_INIT;
		struct stat status;

		CHECK_INT(disk_create(&request, NULL, NULL, &overlay, &err), 0);
		CHECK_INT(count_files(vm_folder), 1);
		assert_int_equal(lstat(target, &status), -1);
	}
}

/* A file that may not grow stands for a disk that is full. */
static void test_full(void **state)
{
	struct rlimit before, small = { 0, 0 };
	const struct disk_request request = request_of(DISK_COPY, "system", 64 * MIB);
	AUTO_DISK_OVERLAY overlay = { .path = NULL };
	struct err err = ERR_INIT;
	int r;

	(void)state;
	clear_vm();
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ .rlim_cur = 4 * MIB, .rlim_max = before.rlim_max };
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = disk_create(&request, NULL, NULL, &overlay, &err);
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_true(r < 0);
	CHECK_INT(err.errnum, EFBIG);
	CHECK_HAS(err.message, "/vm/.new-system.raw': File too large");
	CHECK_INT(count_files(vm_folder), 0);
}

static void test_used(void **state)
{
	AUTO_FREE char *nowhere = mem_printf("%s/nowhere", folder);
	struct err err = ERR_INIT;
	uint64_t used = 7;

	(void)state;
	CHECK_INT(disk_used_bytes(nowhere, &used, &err), 0);
	CHECK_INT(used, 0);
	assert_true(disk_used_bytes(base, &used, &err) < 0);
	CHECK_HAS(err.message, "Not a directory");
}

/* On a file system with reflinks, which tests/integration/disk.bats mounts: clones share blocks. */
static void test_reflink(void **state)
{
	const char *place = getenv("BANGER_TEST_REFLINK_DIR");
	AUTO_FREE char *image = NULL;
	char reason[DISK_REASON_SIZE] = "";
	enum disk_kind kind = DISK_KIND_COUNT;
	AUTO_DISK_OVERLAY overlay = { .path = NULL };
	AUTO_BUF original = BUF_INIT;
	AUTO_BUF copy = BUF_INIT;
	AUTO_CLOSE int from = -1;
	AUTO_CLOSE int to = -1;
	struct err err = ERR_INIT;
	bool is_reflinked = true;
	struct disk_request request;

	(void)state;
	assert_non_null(place);
	image = mem_printf("%s/image", place);
	from = open(base, O_RDONLY | O_CLOEXEC);
	to = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(from >= 0 && to >= 0);
	CHECK_INT(file_clone(from, to, NULL, &is_reflinked), 0);
	assert_false(is_reflinked);

	CHECK_INT(disk_choose(place, place, DISK_ENGINE_FIRECRACKER, &kind, reason, &err), 0);
	CHECK_INT(kind, DISK_REFLINK);
	request = (struct disk_request){ .kind = kind,
					 .folder = place,
					 .stem = "system",
					 .base = image,
					 .size_bytes = 2 * BASE_BYTES };
	if (disk_create(&request, NULL, NULL, &overlay, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(overlay.kind, DISK_REFLINK);
	CHECK_INT(file_read(AT_FDCWD, image, 64 * MIB, &original), 0);
	CHECK_INT(file_read(AT_FDCWD, overlay.path, 64 * MIB, &copy), 0);
	CHECK_INT(copy.len, 2 * BASE_BYTES);
	assert_memory_equal(original.ptr, copy.ptr, BASE_BYTES);
	CHECK_INT(unlink(overlay.path), 0);
	CHECK_INT(unlink(image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),	      cmocka_unit_test(test_choose),
		cmocka_unit_test(test_raw),	      cmocka_unit_test(test_raw_sizes),
		cmocka_unit_test(test_qcow2),	      cmocka_unit_test(test_qcow2_sizes),
		cmocka_unit_test(test_qcow2_growing), cmocka_unit_test(test_qcow2_headers),
		cmocka_unit_test(test_copies),	      cmocka_unit_test(test_qcow2_chain),
		cmocka_unit_test(test_failures),      cmocka_unit_test(test_full),
		cmocka_unit_test(test_used),
	};
	const struct CMUnitTest reflink_tests[] = {
		cmocka_unit_test(test_reflink),
	};
	int failed;

	failed = cmocka_run_group_tests(tests, make_image, remove_image);
	if (failed == 0 && getenv("BANGER_TEST_REFLINK_DIR"))
		failed = cmocka_run_group_tests(reflink_tests, make_image, remove_image);
	return failed;
}
