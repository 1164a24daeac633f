#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/extract.h"
#include "kernel/initramfs.h"
#include "kernel_fixture.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char record[] = "{\"name\":\"one\",\"kind\":\"package\",\"package\":\"p\",\"version\":"
			     "\"6\",\"release\":\"6\","
			     "\"formats\":[\"elf\"],\"modules\":9,\"size_bytes\":1,\"pulled_at\":"
			     "\"2026-11-22T03:00:00Z\","
			     "\"vmlinux_sha256\":\"" SHA "\"}";

/* --- Reading newc as the kernel does, by its documentation and not by the library that wrote it
 * --- */

static uint32_t hex_field(const char *header, size_t index)
{
	char text[9] = { 0 };
	uint32_t value = 0;

	memcpy(text, header + 6 + index * 8, 8);
	for (size_t i = 0; i < 8; i++) {
		const char digit = text[i];

		value = value * 16 +
			(uint32_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
	}
	return value;
}

/* Lists "mode uid gid mtime size path" by line up to the trailer, whose end it returns. */
static size_t list_newc(const struct buf *cpio, size_t at, struct buf *out)
{
	for (;;) {
		const char *header = cpio->ptr + at;
		const char *name = header + 110;
		uint32_t size;

		CHECK_INT(at % 4, 0);
		CHECK_INT(at + 110 < cpio->len, true);
		CHECK_INT(memcmp(header, "070701", 6), 0);
		size = hex_field(header, 6);
		at = (at + 110 + hex_field(header, 11) + 3) & ~(size_t)3;
		at = (at + size + 3) & ~(size_t)3;
		CHECK_INT(at <= cpio->len, true);
		if (str_eq(name, "TRAILER!!!"))
			return at;
		buf_addf(out, "%o %u %u %u %u %s\n", hex_field(header, 1), hex_field(header, 2),
			 hex_field(header, 3), hex_field(header, 5), size, name);
	}
}

static int add(void *context, struct span bytes, struct err *err)
{
	struct buf *into = context;

	(void)err;
	buf_add(into, bytes);
	return 0;
}

static void unpack(const struct buf *image, struct buf *out)
{
	const struct kernel_sink sink = { add, out, 1 << 20, NULL };
	struct err err = ERR_INIT;

	CHECK_INT(kernel_uncompress(buf_span(image), &sink, &err), 0);
}

static void test_pack(void **state)
{
	char first_name[] = "virtio_ring.ko";
	char second_name[] = "virtio.ko";
	char ring[] = "ring";
	char virtio[] = "virtio!";
	const struct initramfs_module modules[] = {
		{ .file_name = first_name, .bytes = { .ptr = ring, .len = 4 } },
		{ .file_name = second_name, .bytes = { .ptr = virtio, .len = 7 } },
	};
	AUTO_BUF image = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	AUTO_BUF cpio = BUF_INIT;
	AUTO_BUF list = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(initramfs_pack(span_str("agent"), modules, 2, &image, &err), 0);
	CHECK_INT(initramfs_pack(span_str("agent"), modules, 2, &again, &err), 0);
	CHECK_INT(span_eq(buf_span(&image), buf_span(&again)), true);
	CHECK_INT(kernel_compression_of(buf_span(&image)), KERNEL_COMPRESSION_ZSTD);

	unpack(&image, &cpio);
	CHECK_INT(cpio.len % 512, 0);
	(void)list_newc(&cpio, 0, &list);
	CHECK_STR(list.ptr, "100755 0 0 0 5 init\n"
			    "40755 0 0 0 0 banger\n"
			    "100644 0 0 0 25 banger/modules.list\n"
			    "40755 0 0 0 0 banger/modules\n"
			    "100644 0 0 0 4 banger/modules/virtio_ring.ko\n"
			    "100644 0 0 0 7 banger/modules/virtio.ko\n");
	CHECK_INT(memmem(cpio.ptr, cpio.len, "virtio_ring.ko\nvirtio.ko\n", 25) != NULL, true);
}

static void test_identity(void **state)
{
	AUTO_BUF cpio = BUF_INIT;
	AUTO_BUF list = BUF_INIT;
	AUTO_FREE char *large = mem_alloc(1, INITRAMFS_IDENTITY_MAX + 1);
	struct err err = ERR_INIT;
	size_t end;

	(void)state;
	CHECK_INT(initramfs_pack_identity(span_str("{\"hostname\":\"box\"}"), &cpio, &err), 0);
	CHECK_INT(cpio.len % 512, 0);
	end = list_newc(&cpio, 0, &list);
	CHECK_STR(list.ptr, "40755 0 0 0 0 banger\n100600 0 0 0 18 banger/identity.json\n");
	for (; end < cpio.len; end++)
		CHECK_ROW(end, cpio.ptr[end] == '\0');

	CHECK_INT(initramfs_pack_identity(span_of(large, INITRAMFS_IDENTITY_MAX), &cpio, &err), 0);
	CHECK_INT(initramfs_pack_identity(span_of(large, INITRAMFS_IDENTITY_MAX + 1), &cpio, &err) <
			  0,
		  true);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "a VM's identity has 262145 bytes; at most 262144");
}

/* The second archive begins at a multiple of 4 behind nothing but zeros, whatever the first one's
 * length. */
static void test_write_vm(void **state)
{
	(void)state;
	for (size_t len = 1000; len < 1030; len++) {
		AUTO_CLOSE int from = memfd_create("initramfs", MFD_CLOEXEC);
		AUTO_CLOSE int to = memfd_create("initrd", MFD_CLOEXEC);
		AUTO_BUF bytes = BUF_INIT;
		AUTO_BUF made = BUF_INIT;
		AUTO_BUF list = BUF_INIT;
		struct err err = ERR_INIT;
		struct stat info;
		size_t at = len;

		while (bytes.len < len)
			buf_add_byte(&bytes, 'i');
		CHECK_INT(fd_write_all(from, buf_span(&bytes)), 0);
		CHECK_INT(initramfs_write_vm(from, to, span_str("{}"), &err), 0);
		CHECK_INT(fstat(to, &info), 0);
		buf_reserve(&made, (size_t)info.st_size);
		CHECK_INT(pread(to, made.ptr, (size_t)info.st_size, 0), info.st_size);
		buf_advance(&made, (size_t)info.st_size);
		CHECK_ROW(len, memcmp(made.ptr, bytes.ptr, len) == 0);
		while (made.ptr[at] == '\0')
			at++;
		(void)list_newc(&made, at, &list);
		CHECK_HAS(list.ptr, "banger/identity.json");
	}
}

/* --- For a kernel in a folder --- */

struct folder {
	char path[64];
	char agent[128];
	int fd;
	int kernel_fd;
};

static void write_module(const struct folder *folder, const char *path, enum kernel_compression how,
			 struct buf *dep, const char *depends)
{
	AUTO_CLOSE int modules_fd = dir_open_at(folder->kernel_fd, "modules");
	AUTO_BUF ko = BUF_INIT;
	AUTO_BUF file = BUF_INIT;

	fixture_module(span_of(path, strlen(path) + 1), &ko);
	fixture_compress(how, buf_span(&ko), &file);
	CHECK_INT(file_replace(modules_fd, path, buf_span(&file), 0600), 0);
	buf_addf(dep, "%s:%s\n", path, depends);
}

static int setup(void **state)
{
	struct folder *folder = mem_alloc(1, sizeof(*folder));
	AUTO_CLOSE int modules_fd = -1;
	AUTO_BUF dep = BUF_INIT;

	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-initramfs-XXXXXX");
	CHECK_INT(mkdtemp(folder->path) != NULL, true);
	(void)snprintf(folder->agent, sizeof(folder->agent), "%s/agent", folder->path);
	folder->fd = dir_open(folder->path);
	CHECK_INT(file_replace(folder->fd, "agent", span_str("agent 1"), 0755), 0);
	CHECK_INT(mkdirat(folder->fd, "one", 0700), 0);
	folder->kernel_fd = dir_open_at(folder->fd, "one");
	CHECK_INT(mkdirat(folder->kernel_fd, "modules", 0700), 0);
	write_module(folder, "virtio_ring.ko.xz", KERNEL_COMPRESSION_XZ, &dep, "");
	write_module(folder, "virtio.ko.zst", KERNEL_COMPRESSION_ZSTD, &dep, " virtio_ring.ko.xz");
	write_module(folder, "virtio_blk.ko.gz", KERNEL_COMPRESSION_GZIP, &dep,
		     " virtio.ko.zst virtio_ring.ko.xz");
	write_module(folder, "virtio_net.ko", KERNEL_COMPRESSION_NONE, &dep,
		     " virtio.ko.zst virtio_ring.ko.xz");
	write_module(folder, "virtio_mmio.ko", KERNEL_COMPRESSION_NONE, &dep, "");
	write_module(folder, "unused.ko", KERNEL_COMPRESSION_NONE, &dep, "");
	CHECK_INT(file_replace(folder->kernel_fd, "modules.dep", buf_span(&dep), 0600), 0);
	modules_fd = dir_open_at(folder->kernel_fd, "modules");
	CHECK_INT(file_replace(modules_fd, "modules.builtin",
			       span_str("k/virtio_pci.ko\nk/virtio_console.ko\n"
					"k/vmw_vsock_virtio_transport.ko\n"),
			       0600),
		  0);
	CHECK_INT(file_replace(folder->kernel_fd, "kernel.json", span_str(record), 0600), 0);
	*state = folder;
	return 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;

	CHECK_INT(dir_remove_tree(AT_FDCWD, folder->path), 0);
	fd_close(folder->kernel_fd);
	fd_close(folder->fd);
	mem_free(folder);
	return 0;
}

static void take_note(void *context, const struct progress_event *event)
{
	bool *is_built = context;

	CHECK_STR(event->stage, "initramfs");
	*is_built = true;
}

/* Whether it was built, which who only looks has foreseen, and not done. */
static bool ensure(const struct folder *folder)
{
	struct err err = ERR_INIT;
	bool is_built = false;
	const struct progress progress = { .report = take_note, .context = &is_built };
	const int is_current = initramfs_check(folder->path, "one", folder->agent, &err);

	CHECK_INT(initramfs_ensure(folder->path, "one", folder->agent, NULL, &progress, &err), 0);
	CHECK_INT(is_current, !is_built);
	return is_built;
}

static void test_ensure(void **state)
{
	const struct folder *folder = *state;
	AUTO_BUF image = BUF_INIT;
	AUTO_BUF cpio = BUF_INIT;
	AUTO_BUF list = BUF_INIT;

	CHECK_INT(ensure(folder), true);
	CHECK_INT(file_read(folder->kernel_fd, INITRAMFS_FILE, 1 << 20, &image), 0);
	unpack(&image, &cpio);
	(void)list_newc(&cpio, 0, &list);
	CHECK_INT(
		memmem(cpio.ptr, cpio.len,
		       "virtio_mmio.ko\nvirtio_ring.ko\nvirtio.ko\nvirtio_blk.ko\nvirtio_net.ko\n",
		       68) != NULL,
		true);
	CHECK_HAS(list.ptr, "banger/modules/virtio_blk.ko\n"); /* uncompressed, by its name ... */
	CHECK_INT(memmem(cpio.ptr, cpio.len, "virtio_blk.ko.gz", 16) != NULL,
		  true); /* ... and bytes */
	CHECK_INT(strstr(list.ptr, "unused") == NULL, true);
	CHECK_INT(strstr(list.ptr, "virtio_pci") == NULL, true);
}

static void test_rebuilds(void **state)
{
	const struct folder *folder = *state;
	AUTO_FREE char *other = mem_strdup(record);

	CHECK_INT(ensure(folder), true);
	CHECK_INT(ensure(folder), false);
	/* Another agent. */
	CHECK_INT(file_replace(folder->fd, "agent", span_str("agent 2"), 0755), 0);
	CHECK_INT(ensure(folder), true);
	CHECK_INT(ensure(folder), false);
	/* The image or its key lost. */
	CHECK_INT(unlinkat(folder->kernel_fd, INITRAMFS_FILE, 0), 0);
	CHECK_INT(ensure(folder), true);
	CHECK_INT(unlinkat(folder->kernel_fd, "initramfs.json", 0), 0);
	CHECK_INT(ensure(folder), true);
	/* Another kernel. */
	memcpy(strstr(other, "0123"), "3210", 4);
	CHECK_INT(file_replace(folder->kernel_fd, "kernel.json", span_str(other), 0600), 0);
	CHECK_INT(ensure(folder), true);
	CHECK_INT(ensure(folder), false);
}

static void test_failures(void **state)
{
	const struct folder *folder = *state;
	struct err err = ERR_INIT;

	CHECK_INT(initramfs_check(folder->path, "one", "/no/agent", &err) < 0, true);
	CHECK_INT(initramfs_ensure(folder->path, "one", "/no/agent", NULL, NULL, &err) < 0, true);
	CHECK_STR(err.message, "the initramfs of kernel 'one': read the guest agent '/no/agent': "
			       "No such file or directory");
	CHECK_INT(initramfs_ensure(folder->path, "two", folder->agent, NULL, NULL, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);

	CHECK_INT(unlinkat(folder->kernel_fd, "modules/virtio_net.ko", 0), 0);
	CHECK_INT(initramfs_ensure(folder->path, "one", folder->agent, NULL, NULL, &err) < 0, true);
	CHECK_HAS(err.message, "read module 'virtio_net.ko': No such file");
	CHECK_INT(file_replace(folder->kernel_fd, "modules.dep", span_str("a.ko:\n"), 0600), 0);
	CHECK_INT(initramfs_ensure(folder->path, "one", folder->agent, NULL, NULL, &err) < 0, true);
	CHECK_STR(err.message,
		  "the initramfs of kernel 'one': the kernel has no module 'virtio_mmio'");
	CHECK_INT(faccessat(folder->kernel_fd, INITRAMFS_FILE, F_OK, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pack),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_write_vm),
		cmocka_unit_test_setup_teardown(test_ensure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rebuilds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
	};

	return cmocka_run_group_tests_name("initramfs", tests, NULL, NULL);
}
