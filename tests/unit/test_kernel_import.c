/* Kernels from folders and files of the user: what is found, what is refused, what is left. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "check.h"
#include "kernel/banner.h"
#include "kernel/copy.h"
#include "kernel/import.h"
#include "kernel/import_find.h"
#include "kernel_fixture.h"

#define RELEASE "6.1.0-1-test" /* the bzImage fixture's */

struct folder {
	char path[64];
	char *from;    /* owned: what is imported from, as the next */
	char *kernels; /* owned: what is imported into */
	int from_fd;   /* owned */
};

static int setup(void **state)
{
	struct folder *folder = mem_alloc(1, sizeof(*folder));

	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-import-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	folder->from = mem_printf("%s/from", folder->path);
	folder->kernels = mem_printf("%s/kernels", folder->path);
	assert_int_equal(mkdir(folder->from, 0700), 0);
	folder->from_fd = dir_open(folder->from);
	*state = folder;
	return 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;
	const int r = dir_remove_tree(AT_FDCWD, folder->path);

	fd_close(folder->from_fd);
	mem_free(folder->from);
	mem_free(folder->kernels);
	mem_free(folder);
	return r;
}

/* Empties what is imported from. */
static void clear(struct folder *folder)
{
	assert_int_equal(dir_remove_tree(AT_FDCWD, folder->from), 0);
	assert_int_equal(mkdir(folder->from, 0700), 0);
	fd_assign(&folder->from_fd, dir_open(folder->from));
}

static void put(const struct folder *folder, const char *path, struct span content)
{
	AUTO_FREE char *whole = mem_printf("%s/%s", folder->from, path);
	char *slash = strrchr(whole, '/');
	AUTO_CLOSE int fd = -1;

	*slash = '\0';
	assert_int_equal(dir_make_path(whole, 0700), 0);
	*slash = '/';
	fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, content), 0);
}

static void put_elf(const struct folder *folder, const char *path, const char *banner)
{
	AUTO_BUF elf = BUF_INIT;

	fixture_elf(&elf);
	buf_add_str(&elf, banner);
	put(folder, path, buf_span(&elf));
}

static void put_bzimage(const struct folder *folder, const char *path)
{
	AUTO_BUF elf = BUF_INIT;
	AUTO_BUF payload = BUF_INIT;
	AUTO_BUF image = BUF_INIT;

	fixture_elf(&elf);
	fixture_compress(KERNEL_COMPRESSION_GZIP, buf_span(&elf), &payload);
	fixture_bzimage(buf_span(&payload), &image);
	put(folder, path, buf_span(&image));
}

static void put_module(const struct folder *folder, const char *path, const char *name)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF module = BUF_INIT;

	buf_addf(&text, "name=%s", name);
	buf_add_byte(&text, 0);
	fixture_module(buf_span(&text), &module);
	put(folder, path, buf_span(&module));
}

static int import(const struct folder *folder, struct kernel *ret, struct err *err)
{
	const struct kernel_import_request request = { .kernels_dir = folder->kernels,
						       .name = "own",
						       .from = folder->from };

	*err = ERR_INIT;
	return kernel_import(&request, NULL, NULL, ret, err);
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

static void check_files(const struct folder *folder, const char *wanted)
{
	AUTO_FREE char *path = mem_printf("%s/own", folder->kernels);
	AUTO_FREE char *got = list(path);

	CHECK_STR(got, wanted);
}

static void test_distribution(void **state)
{
	struct folder *folder = *state;
	AUTO_KERNEL kernel;
	struct err err;

	kernel_init(&kernel);
	put_bzimage(folder, "boot/vmlinuz-" RELEASE);
	put(folder, "boot/initrd.img-" RELEASE, span_str("initrd"));
	put(folder, "boot/System.map-" RELEASE, span_str("map"));
	put_module(folder, "lib/modules/" RELEASE "/kernel/fs/one.ko", "one");
	put_module(folder, "lib/modules/" RELEASE "/updates/dkms/two.ko", "two");
	put(folder, "lib/modules/" RELEASE "/modules.builtin", span_str("kernel/three.ko\n"));
	put(folder, "lib/modules/" RELEASE "/modules.dep.bin", span_str("depmod's"));
	assert_int_equal(symlinkat("/usr/src", folder->from_fd, "lib/modules/" RELEASE "/build"),
			 0);
	/* As a root file system has them. */
	assert_int_equal(symlinkat("boot/vmlinuz-" RELEASE, folder->from_fd, "vmlinuz"), 0);

	CHECK_INT(import(folder, &kernel, &err), 0);
	CHECK_STR(kernel.record.kind, "imported");
	CHECK_STR(kernel.record.release, RELEASE);
	CHECK_STR(kernel.record.version, "6.1.2-3");
	CHECK_INT(kernel.record.module_count, 2);
	CHECK_INT(kernel.record.has_bzimage, true);
	CHECK_INT(kernel.record.has_elf, true);
	CHECK_INT(strlen(kernel.vmlinuz_sha256), 64);
	check_files(folder, "initrd kernel.json modules modules.dep vmlinux vmlinuz");
}

static void test_build(void **state)
{
	struct folder *folder = *state;
	AUTO_KERNEL kernel;
	struct err err;

	kernel_init(&kernel);
	put_elf(folder, "vmlinux", "Linux version 6.6.1 (x@y) #1");
	CHECK_INT(import(folder, &kernel, &err), 0);
	CHECK_STR(kernel.record.release, "6.6.1");
	CHECK_STR(kernel.record.version, "6.6.1");
	CHECK_INT(kernel.record.module_count, 0);
	check_files(folder, "kernel.json modules.dep vmlinux");

	/* The second one takes the place of the first. */
	clear(folder);
	put_bzimage(folder, "bzImage");
	put_elf(folder, "vmlinux", "Linux version " RELEASE " (x@y) #1");
	CHECK_INT(import(folder, &kernel, &err), 0);
	CHECK_STR(kernel.record.release, RELEASE);
	check_files(folder, "kernel.json modules.dep vmlinux vmlinuz");
	CHECK_INT(strlen(kernel.vmlinuz_sha256), 64);

	AUTO_FREE char *kernels = list(folder->kernels);

	CHECK_STR(kernels, "own");
}

static void test_metadata(void **state)
{
	struct folder *folder = *state;
	AUTO_KERNEL kernel;
	struct err err;

	kernel_init(&kernel);
	put_elf(folder, "out/Image.elf", "");
	put_bzimage(folder, "vmlinuz");
	put_module(folder, "mods/one.ko", "one");
	put(folder, "ramdisk", span_str("r"));
	put(folder, "metadata.json",
	    span_str("{\"vmlinux\":\"out/Image.elf\",\"initrd\":\"ramdisk\",\"modules\":\"mods\","
		     "\"version\":\"today's\"}"));
	CHECK_INT(import(folder, &kernel, &err), 0);
	CHECK_STR(kernel.record.version, "today's");
	CHECK_STR(kernel.record.release, "unknown");
	CHECK_INT(kernel.record.module_count, 1);
	CHECK_INT(kernel.record.has_bzimage, false);
	check_files(folder, "initrd kernel.json modules modules.dep vmlinux");
}

static void test_wrong_metadata(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} rows[] = {
		{ "", "metadata.json': JSON" },
		{ "[]", "metadata.json': " },
		{ "{\"vmlinux\":1}", "vmlinux" },
		{ "{\"kernel\":\"x\"}", "kernel" },
		{ "{\"vmlinux\":\"x\",\"vmlinux\":\"x\"}", "vmlinux" },
		{ "{\"vmlinux\":\"\"}", "vmlinux: '' is no path relative to the folder" },
		{ "{\"vmlinux\":\"/etc/passwd\"}",
		  "vmlinux: '/etc/passwd' is no path relative to the folder" },
		{ "{\"vmlinux\":\"vmlinux\",\"initrd\":\"/x\"}", "initrd: '/x' is no path" },
		{ "{\"vmlinux\":\"vmlinux\",\"modules\":\"/x\"}", "modules: '/x' is no path" },
		{ "{\"vmlinux\":\"../from/vmlinux\"}", "leads out of the folder" },
		{ "{\"vmlinux\":\"sub/../../x\"}", "leads out of the folder" },
		{ "{\"vmlinux\":\"link/vmlinux\"}", "is, or is behind, a symbolic link" },
		{ "{\"vmlinux\":\"missing\"}", "there is no '" },
		{ "{\"vmlinux\":\"sub\"}", "/sub' is a folder, no regular file" },
		{ "{\"vmlinux\":\"vmlinux\",\"vmlinuz\":\"vmlinux\"}",
		  "is a second kernel of the format elf" },
		{ "{\"vmlinux\":\"vmlinux\",\"modules\":\"vmlinux\"}", "is no folder" },
		{ "{\"vmlinux\":\"vmlinux\",\"modules\":\"..\"}", "leads out of the folder" },
		{ "{\"vmlinux\":\"vmlinux\",\"modules\":\"link\"}", "/link' is " },
		{ "{\"vmlinux\":\"vmlinux\",\"version\":\"\"}", "version: 1 to 127 bytes" },
		{ "{\"vmlinux\":\"vmlinux\",\"version\":\"a\\nb\"}", "visible ASCII" },
	};
	struct folder *folder = *state;
	struct err err;

	put_elf(folder, "vmlinux", "");
	put(folder, "sub/file", span_str(""));
	assert_int_equal(symlinkat(".", folder->from_fd, "link"), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_KERNEL kernel;

		kernel_init(&kernel);
		put(folder, "metadata.json", span_str(rows[i].text));
		CHECK_ROW(i, import(folder, &kernel, &err) < 0);
		CHECK_HAS(err.message, "import kernel 'own': ");
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, kernel.record.name == NULL);

		AUTO_FREE char *left = list(folder->kernels);

		CHECK_STR(left, "");
	}
}

static void test_ambiguous(void **state)
{
	struct folder *folder = *state;
	AUTO_KERNEL kernel;
	struct err err;

	kernel_init(&kernel);
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_HAS(err.message, "has no vmlinux, vmlinuz or bzImage");

	put_bzimage(folder, "boot/vmlinuz-1");
	put_bzimage(folder, "boot/vmlinuz-2");
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "has both 'boot/vmlinuz-1' and 'boot/vmlinuz-2'");
	CHECK_STR(err.hint, "name the right one in metadata.json");
	assert_int_equal(unlinkat(folder->from_fd, "boot/vmlinuz-2", 0), 0);

	put_module(folder, "lib/modules/1/a.ko", "a");
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "the kernel calls itself '" RELEASE "', its modules are for '1'");
	put_module(folder, "lib/modules/2/a.ko", "a");
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "has both 'lib/modules/1' and 'lib/modules/2'");
	assert_int_equal(dir_remove_tree(folder->from_fd, "lib"), 0);

	put_elf(folder, "vmlinux", "Linux version 7.0 (x@y) #1");
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "the kernel calls itself '" RELEASE "', its vmlinux is '7.0'");
}

/* KER1 */
static void test_no_kernels(void **state)
{
	struct folder *folder = *state;
	AUTO_FREE char *huge = mem_printf("%s/vmlinux", folder->from);
	struct err err;
	AUTO_BUF arm = BUF_INIT;
	AUTO_BUF no_pvh = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO_BUF stub = BUF_INIT;

	fixture_elf(&arm);
	put16(&arm, 18, 183); /* e_machine: aarch64 */
	fixture_elf(&no_pvh);
	memset(no_pvh.ptr + 0x180, 0, 40);
	fixture_compress(KERNEL_COMPRESSION_GZIP, buf_span(&arm), &packed);
	pad_to(&stub, 1024);
	memcpy(stub.ptr, "MZ", 2);
	memcpy(stub.ptr + 0x3c, "\x40\0\0\0", 4);
	memcpy(stub.ptr + 0x40, "PE\0\0", 4);
	const struct {
		struct span bytes;
		const char *message;
	} rows[] = {
		{ span_str(""), "this is an empty file" },
		{ span_str("#!/bin/sh\n"),
		  "a kernel is an x86-64 ELF file (vmlinux) or a bzImage" },
		{ buf_span(&packed), "this is gzip data" },
		{ buf_span(&stub), "this is " },
		{ buf_span(&arm), "this is " },
		{ buf_span(&no_pvh), "the kernel has no PVH entry point, which QEMU needs" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_KERNEL kernel;

		kernel_init(&kernel);
		put(folder, "vmlinux", rows[i].bytes);
		CHECK_ROW(i, import(folder, &kernel, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
	}
	assert_int_equal(truncate(huge, 5LL << 30), 0);
	AUTO_KERNEL kernel;

	kernel_init(&kernel);
	CHECK_INT(import(folder, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "this file has 5368709120 bytes; a kernel has at most 1073741824");
	CHECK_INT(err.kind, ERR_LIMIT);

	const struct kernel_import_request named = { .kernels_dir = folder->kernels,
						     .name = "../x",
						     .from = folder->from };

	CHECK_INT(kernel_import(&named, NULL, NULL, &kernel, &err) < 0, true);
	CHECK_INT(err.kind, ERR_INVALID);
}

/* KER2 */
static void test_odd_files(void **state)
{
	static const char *const names[] = { "vmlinux", "initrd", "modules/x.ko" };
	static const char *const messages[] = {
		"is, or is behind, a symbolic link; name the file itself",
		"is a FIFO, no regular file",
		"is a socket or a device, no regular file",
		"is a folder, no regular file",
	};
	struct folder *folder = *state;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (size_t kind = 0; kind < ARRAY_LEN(messages); kind++) {
			AUTO_FREE char *path = mem_printf("%s/%s", folder->from, names[i]);
			AUTO_KERNEL kernel;
			int r = 0;

			/* A folder called x.ko is a folder. */
			if (kind == 3 && i == 2)
				continue;
			kernel_init(&kernel);
			clear(folder);
			put_elf(folder, "real/vmlinux", "");
			put_elf(folder, i == 0 ? "modules/y" : "vmlinux", "");
			put(folder, "modules/modules.order", span_str(""));
			if (kind == 0)
				r = symlink("real/vmlinux", path);
			else if (kind == 1)
				r = mkfifo(path, 0600);
			else if (kind == 2)
				r = mknod(path, S_IFSOCK | 0600, 0);
			else
				r = mkdir(path, 0700);
			assert_int_equal(r, 0);
			CHECK_ROW(kind, import(folder, &kernel, &err) < 0);
			CHECK_HAS(err.message, messages[kind]);
			CHECK_HAS(err.message, names[i]);
		}
}

static void test_named_files(void **state)
{
	struct folder *folder = *state;
	AUTO_FREE char *image = mem_printf("%s/Image", folder->from);
	AUTO_FREE char *modules = mem_printf("%s/lib/modules/" RELEASE "/", folder->from);
	struct kernel_import_request request = {
		.kernels_dir = folder->kernels,
		.name = "own",
		.kernel_file = image,
		.initrd_file = image,
		.modules_dir = modules,
	};
	AUTO_KERNEL kernel;
	struct err err = ERR_INIT;

	kernel_init(&kernel);
	put_bzimage(folder, "Image");
	put_module(folder, "lib/modules/" RELEASE "/a.ko", "a");
	CHECK_INT(kernel_import(&request, NULL, NULL, &kernel, &err), 0);
	CHECK_STR(kernel.record.release, RELEASE);
	check_files(folder, "initrd kernel.json modules modules.dep vmlinux vmlinuz");

	request.kernel_file = "/dev/null";
	CHECK_INT(kernel_import(&request, NULL, NULL, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "'/dev/null' is a device, no regular file");
	request.kernel_file = image;
	request.modules_dir = "/nonexistent/modules";
	CHECK_INT(kernel_import(&request, NULL, NULL, &kernel, &err) < 0, true);
	CHECK_HAS(err.message, "there is no '/nonexistent/modules'");
	/* What was there is still there. */
	check_files(folder, "initrd kernel.json modules modules.dep vmlinux vmlinuz");
}

struct toucher {
	int fd;
	atomic_bool is_over;
};

static void *touch(void *context)
{
	struct toucher *toucher = context;

	for (uint8_t i = 0; !atomic_load(&toucher->is_over); i++)
		if (fd_pwrite_all(toucher->fd, span_of(&i, 1), 0) < 0)
			break;
	return NULL;
}

/* KER2: somebody writes to the file all the time. */
static void test_changing(void **state)
{
	struct folder *folder = *state;
	AUTO_FREE char *path = mem_printf("%s/changing", folder->from);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct toucher toucher = { .fd = fd };
	char sha256[SHA256_TEXT_SIZE] = "";
	struct err err = ERR_INIT;
	AUTO_BUF bytes = BUF_INIT;
	pthread_t thread;

	assert_int_equal(ftruncate(fd, 128 << 20), 0);
	assert_int_equal(pthread_create(&thread, NULL, touch, &toucher), 0);
	CHECK_INT(copy_file(fd, "it",
			    &(struct copy_target){ folder->from_fd, "copy", 1 << 30, NULL }, sha256,
			    &err) < 0,
		  true);
	CHECK_STR(err.message, "'it' changed while it was copied");
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_INT(copy_read(fd, "it", 1 << 30, &bytes, &err) < 0, true);
	CHECK_STR(err.message, "'it' changed while it was copied");
	atomic_store(&toucher.is_over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	CHECK_INT(copy_file(fd, "it",
			    &(struct copy_target){ folder->from_fd, "small", 1 << 20, NULL },
			    sha256, &err) < 0,
		  true);
	CHECK_INT(err.kind, ERR_LIMIT);
	buf_clear(&bytes);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	CHECK_INT(copy_read(fd, "it", 1 << 20, &bytes, &err) < 0, true);
	CHECK_INT(err.kind, ERR_LIMIT);
}

static void test_banners(void **state)
{
	static const struct {
		const char *text;
		const char *release; /* NULL: none */
	} rows[] = {
		{ "Linux version 6.1.0-56-cloud-amd64 (x)", "6.1.0-56-cloud-amd64" },
		{ "Linux version %s (%s)\nLinux version 5.10.1 x", "5.10.1" },
		{ "Linux version 6.1", NULL },
		{ "Linux version  6.1 ", NULL },
		{ "Linux version 6/1 ", NULL },
		{ "linux version 6.1 ", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char got[KERNEL_RELEASE_MAX + 1] = "untouched";

		CHECK_ROW(i, kernel_banner_find(span_str(rows[i].text), got) == !!rows[i].release);
		CHECK_STR(got, rows[i].release ? rows[i].release : "untouched");
	}
}

static void test_releases_of_paths(void **state)
{
	static const struct {
		const char *path;
		const char *release;
	} rows[] = {
		{ "/lib/modules/6.1", "6.1" },
		{ "lib/modules/6.1//", "6.1" },
		{ "modules/6.1", "6.1" },
		{ "/home/me/mods", "" },
		{ "modules", "" },
		{ "/lib/modules/", "" },
		{ "/", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char got[KERNEL_RELEASE_MAX + 1] = "x";

		import_release_of_path(rows[i].path, got);
		CHECK_STR(got, rows[i].release);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_distribution, setup, teardown),
		cmocka_unit_test_setup_teardown(test_build, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ambiguous, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_kernels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_named_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changing, setup, teardown),
		cmocka_unit_test(test_banners),
		cmocka_unit_test(test_releases_of_paths),
	};

	return cmocka_run_group_tests_name("kernel_import", tests, NULL, NULL);
}
