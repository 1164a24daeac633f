#include "check.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/package.h"
#include "kernel_fixture.h"

/* --- A tar in memory, and a source that gives it in small pieces --- */

struct tar {
	struct archive *archive;
	struct buf bytes;
	size_t given;
	size_t fail_at; /* the source fails here; 0 for never */
};

static la_ssize_t append(struct archive *archive, void *context, const void *bytes, size_t size)
{
	struct tar *tar = context;

	(void)archive;
	buf_add(&tar->bytes, span_of(bytes, size));
	return (la_ssize_t)size;
}

static void tar_begin(struct tar *tar)
{
	*tar = (struct tar){ .archive = archive_write_new(), .bytes = BUF_INIT };
	CHECK_INT(archive_write_set_format_pax(tar->archive), ARCHIVE_OK);
	CHECK_INT(archive_write_open2(tar->archive, tar, NULL, append, NULL, NULL), ARCHIVE_OK);
}

static void tar_add(struct tar *tar, const char *path, unsigned int type, struct span content,
		    const char *link)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, type == AE_IFREG ? (la_int64_t)content.len : 0);
	if (link && type == AE_IFLNK)
		archive_entry_set_symlink(entry, link);
	else if (link)
		archive_entry_set_hardlink(entry, link);
	CHECK_INT(archive_write_header(tar->archive, entry), ARCHIVE_OK);
	if (type == AE_IFREG && content.len > 0)
		CHECK_INT(archive_write_data(tar->archive, content.ptr, content.len), content.len);
	archive_entry_free(entry);
}

static void tar_end(struct tar *tar)
{
	CHECK_INT(archive_write_free(tar->archive), ARCHIVE_OK);
	tar->archive = NULL;
}

static void tar_done(struct tar *tar)
{
	buf_done(&tar->bytes);
}

static ssize_t give(void *context, void *into, size_t size, struct err *err)
{
	struct tar *tar = context;
	const size_t left = tar->bytes.len - tar->given;
	const size_t count = left < 1000 ? left : 1000;

	if (tar->fail_at > 0 && tar->given >= tar->fail_at)
		return err_set(err, ERR_TIMEOUT, "the mirror went away");
	CHECK_INT(size >= count, true);
	memcpy(into, tar->bytes.ptr + tar->given, count);
	tar->given += count;
	return (ssize_t)count;
}

static void add_module(struct tar *tar, const char *path, const char *depends)
{
	AUTO_FREE char *modinfo = mem_printf("depends=%s", depends);
	AUTO_BUF ko = BUF_INIT;

	fixture_module(span_of(modinfo, strlen(modinfo) + 1), &ko);
	tar_add(tar, path, AE_IFREG, buf_span(&ko), NULL);
}

static void add_good(struct tar *tar)
{
	tar_add(tar, "./dev/null", AE_IFCHR, span_str(""), NULL);
	tar_add(tar, "./boot/", AE_IFDIR, span_str(""), NULL);
	tar_add(tar, "./boot/vmlinuz-6.1.0-1-test", AE_IFREG, span_str("the kernel"), NULL);
	tar_add(tar, "./boot/config-6.1.0-1-test", AE_IFREG, span_str("CONFIG"), NULL);
	tar_add(tar, "./lib/modules/6.1.0-1-test/kernel/", AE_IFDIR, span_str(""), NULL);
	add_module(tar, "./lib/modules/6.1.0-1-test/kernel/d/virtio.ko", "virtio_ring");
	add_module(tar, "./lib/modules/6.1.0-1-test/kernel/d/virtio_ring.ko", "");
	tar_add(tar, "./lib/modules/6.1.0-1-test/modules.builtin", AE_IFREG,
		span_str("kernel/fs/ext4/ext4.ko\n"), NULL);
	tar_add(tar, "./lib/modules/6.1.0-1-test/build", AE_IFLNK, span_str(""), "/usr/src/x");
}

/* --- A folder of its own --- */

struct folder {
	char path[64];
	int fd;
};

static void folder_begin(struct folder *folder)
{
	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-package-XXXXXX");
	CHECK_INT(mkdtemp(folder->path) != NULL, true);
	folder->fd = dir_open(folder->path);
	CHECK_INT(folder->fd >= 0, true);
}

static void folder_end(struct folder *folder)
{
	fd_closep(&folder->fd);
	CHECK_INT(dir_remove_tree(AT_FDCWD, folder->path), 0);
}

static int unpack(struct tar *tar, const struct folder *folder, struct package *package,
		  struct err *err)
{
	const struct package_source source = { .read = give, .context = tar };

	return package_unpack(&source, folder->fd, package, err);
}

static void test_good(void **state)
{
	CLEANUP(tar_done) struct tar tar;
	CLEANUP(package_done) struct package package = { .modules = NULL };
	AUTO_BUF kernel = BUF_INIT;
	AUTO_BUF dep = BUF_INIT;
	struct folder folder;
	struct err err = ERR_INIT;

	(void)state;
	folder_begin(&folder);
	tar_begin(&tar);
	add_good(&tar);
	tar_end(&tar);
	CHECK_INT(unpack(&tar, &folder, &package, &err), 0);
	CHECK_STR(package.release, "6.1.0-1-test");
	CHECK_INT(module_set_count(package.modules), 2);
	CHECK_INT(module_set_has(package.modules, "ext4"), true);
	CHECK_INT(file_read(folder.fd, "vmlinuz", 100, &kernel), 0);
	CHECK_STR(kernel.ptr, "the kernel");
	CHECK_INT(module_set_write_dep(package.modules, &dep, &err), 0);
	CHECK_STR(dep.ptr, "kernel/d/virtio.ko: kernel/d/virtio_ring.ko\n"
			   "kernel/d/virtio_ring.ko:\n");
	CHECK_INT(faccessat(folder.fd, "modules/kernel/d/virtio.ko", F_OK, 0), 0);
	CHECK_INT(faccessat(folder.fd, "modules/modules.builtin", F_OK, 0), 0);
	/* Nothing else. */
	CHECK_INT(faccessat(folder.fd, "dev", F_OK, 0), -1);
	CHECK_INT(faccessat(folder.fd, "boot", F_OK, 0), -1);
	CHECK_INT(faccessat(folder.fd, "modules/build", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	folder_end(&folder);
}

static void test_bad_members(void **state)
{
	static const struct {
		const char *path;
		unsigned int type;
		const char *link;
		const char *message;
	} rows[] = {
		{ "boot/vmlinuz-6.1.0-1-test", AE_IFREG, NULL, "the package has 'vmlinuz' twice" },
		{ "boot/vmlinuz-6.9", AE_IFREG, NULL, "two kernels: '6.1.0-1-test' and '6.9'" },
		{ "boot/vmlinuz-../x", AE_IFREG, NULL, "strange path: 'boot/vmlinuz-../x'" },
		{ "boot/vmlinuz-", AE_IFREG, NULL, "strange path: 'boot/vmlinuz-'" },
		{ "boot/vmlinuz-6.1.0-1-test", AE_IFLNK, "/etc/shadow", "is no regular file" },
		{ "lib/modules/6.1.0-1-test/a.ko", AE_IFLNK, "/etc/shadow", "is no regular file" },
		{ "lib/modules/6.1.0-1-test/a.ko", AE_IFREG, "boot/vmlinuz-6.1.0-1-test",
		  "is no regular file" },
		{ "lib/modules/6.1.0-1-test/a.ko", AE_IFIFO, NULL, "is no regular file" },
		{ "lib/modules/6.1.0-1-test/../../a.ko", AE_IFREG, NULL,
		  "the package has a strange path" },
		{ "lib/modules/6.1.0-1-test//a.ko", AE_IFREG, NULL,
		  "the package has a strange path" },
		{ "lib/modules/6.1.0-1-test/x y/a.ko", AE_IFREG, NULL,
		  "the package has a strange path" },
		{ "usr/lib/modules/../a.ko", AE_IFREG, NULL, "the package has a strange path" },
		{ "lib/modules/6.1.0-1-test/a.ko", AE_IFREG, NULL,
		  "'a.ko': this is no kernel module for x86-64: not an ELF file" },
		{ "lib/modules/6.1.0-1-test/modules.builtin", AE_IFREG, NULL,
		  "'text' is no path of a kernel module" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(tar_done) struct tar tar;
		struct package package = { .modules = NULL };
		struct folder folder;
		struct err err = ERR_INIT;

		folder_begin(&folder);
		tar_begin(&tar);
		add_good(&tar);
		tar_add(&tar, rows[i].path, rows[i].type, span_str(rows[i].link ? "" : "text"),
			rows[i].link);
		tar_end(&tar);
		CHECK_ROW(i, unpack(&tar, &folder, &package, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_ROW(i, package.modules == NULL);
		folder_end(&folder);
	}
}

/* A path so deep or long that it is not taken; one level less is. */
static void test_path_limits(void **state)
{
	(void)state;
	for (size_t depth = PACKAGE_DEPTH_MAX - 1; depth <= PACKAGE_DEPTH_MAX; depth++) {
		CLEANUP(tar_done) struct tar tar;
		CLEANUP(package_done) struct package package = { .modules = NULL };
		AUTO_BUF path = BUF_INIT;
		struct folder folder;
		struct err err = ERR_INIT;

		buf_add_str(&path, "lib/modules/6.1.0-1-test/");
		for (size_t i = 0; i < depth; i++)
			buf_add_str(&path, "d/");
		buf_add_str(&path, "a.ko");
		folder_begin(&folder);
		tar_begin(&tar);
		add_good(&tar);
		add_module(&tar, path.ptr, "");
		tar_end(&tar);
		CHECK_ROW(depth, (unpack(&tar, &folder, &package, &err) == 0) ==
					 (depth < PACKAGE_DEPTH_MAX));
		folder_end(&folder);
	}
}

static void test_incomplete(void **state)
{
	static const char *const messages[] = {
		"the package has no boot/vmlinuz-RELEASE",
		"the package has no kernel modules",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		CLEANUP(tar_done) struct tar tar;
		struct package package = { .modules = NULL };
		struct folder folder;
		struct err err = ERR_INIT;

		folder_begin(&folder);
		tar_begin(&tar);
		if (i == 0)
			add_module(&tar, "lib/modules/6.1/a.ko", "");
		else
			tar_add(&tar, "boot/vmlinuz-6.1", AE_IFREG, span_str("x"), NULL);
		tar_end(&tar);
		CHECK_ROW(i, unpack(&tar, &folder, &package, &err) < 0);
		CHECK_STR(err.message, messages[i]);
		folder_end(&folder);
	}
}

static void test_damage(void **state)
{
	CLEANUP(tar_done) struct tar tar;
	struct package package = { .modules = NULL };
	struct folder folder;
	struct err err = ERR_INIT;

	(void)state;
	folder_begin(&folder);
	tar_begin(&tar);
	add_good(&tar);
	tar_end(&tar);

	/* The source's own error is passed on as it is. */
	tar.fail_at = 2000;
	CHECK_INT(unpack(&tar, &folder, &package, &err) < 0, true);
	CHECK_STR(err.message, "the mirror went away");
	CHECK_INT(err.kind, ERR_TIMEOUT);

	tar.fail_at = 0;
	tar.given = 0;
	memset(tar.bytes.ptr, 'x', 512);
	folder_end(&folder);
	folder_begin(&folder);
	CHECK_INT(unpack(&tar, &folder, &package, &err) < 0, true);
	CHECK_HAS(err.message, "the package's tar is damaged: ");
	folder_end(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	    cmocka_unit_test(test_bad_members),
		cmocka_unit_test(test_path_limits), cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests_name("kernel_package", tests, NULL, NULL);
}
