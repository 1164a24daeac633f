#include "check.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kernel/args.h"
#include "kernel/image.h"
#include "kernel_fixture.h"

static int parse(const struct buf *file, struct kernel_image *image, struct err *err)
{
	return kernel_image_parse(buf_span(file), file->len, image, err);
}

static void test_good_elf(void **state)
{
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image;
	struct err err = ERR_INIT;

	(void)state;
	fixture_elf(&file);
	CHECK_INT(parse(&file, &image, &err), 0);
	CHECK_INT(image.format, KERNEL_FORMAT_ELF);
	CHECK_INT(image.entry, 0x1000010);
	CHECK_INT(image.note_offset, 0x180);
	CHECK_INT(image.note_size, 40);
	CHECK_STR(kernel_format_name(image.format), "elf");

	put16(&file, offsetof(Elf64_Ehdr, e_type), ET_DYN);
	CHECK_INT(parse(&file, &image, &err), 0);
	/* A virtual entry is as good. */
	put64(&file, offsetof(Elf64_Ehdr, e_entry), 0xffffffff81000010ULL);
	CHECK_INT(parse(&file, &image, &err), 0);
}

static void test_good_bzimage(void **state)
{
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image;
	struct err err = ERR_INIT;

	(void)state;
	fixture_bzimage(span_str("payload"), &file);
	CHECK_INT(parse(&file, &image, &err), 0);
	CHECK_INT(image.format, KERNEL_FORMAT_BZIMAGE);
	CHECK_INT(image.boot_protocol, 0x020f);
	CHECK_INT(image.payload_offset, 1024 + 16);
	CHECK_INT(image.payload_size, 7);
	CHECK_STR(image.release, "6.1.0-1-test");
	CHECK_STR(image.version, "6.1.2-3");
	CHECK_STR(kernel_format_name(image.format), "bzimage");

	/* Without a banner, or with one that leads outside, there is no release. */
	put16(&file, 0x20e, 0);
	CHECK_INT(parse(&file, &image, &err), 0);
	CHECK_STR(image.release, "");
	put16(&file, 0x20e, 0xffff);
	CHECK_INT(parse(&file, &image, &err), 0);
	CHECK_STR(image.release, "");
}

static void test_notes(void **state)
{
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image = { .format = KERNEL_FORMAT_ELF };

	(void)state;
	fixture_elf(&file);
	kernel_image_notes(span_of(file.ptr + 0x180, 40), &image);
	CHECK_INT(image.has_pvh, true);
	CHECK_INT(image.pvh_entry, 0x1000040);

	/* Cut anywhere, damaged in its sizes, or another owner's: no entry, and no crash. */
	for (size_t len = 0; len < 40; len++) {
		image.has_pvh = false;
		kernel_image_notes(span_of(file.ptr + 0x180, len), &image);
		CHECK_ROW(len, !image.has_pvh);
	}
	memcpy(file.ptr + 0x1a0, "Xem", 3);
	kernel_image_notes(span_of(file.ptr + 0x180, 40), &image);
	CHECK_INT(image.has_pvh, false);
	put32(&file, 0x180, UINT32_MAX);
	kernel_image_notes(span_of(file.ptr + 0x180, 40), &image);
	CHECK_INT(image.has_pvh, false);
}

struct elf_row {
	size_t at;
	int width;
	uint64_t value;
	const char *message;
};

#define SEGMENT(index, field) (FIXTURE_SEGMENT_0 + (index)*56 + offsetof(Elf64_Phdr, field))

static void test_bad_elf(void **state)
{
	static const struct elf_row rows[] = {
		{ EI_CLASS, 1, ELFCLASS32, "this is a 32-bit ELF file; a kernel is" },
		{ EI_DATA, 1, ELFDATA2MSB, "a big-endian ELF file" },
		{ offsetof(Elf64_Ehdr, e_machine), 2, EM_AARCH64,
		  "this is an ELF file for arm64; a kernel for x86-64" },
		{ offsetof(Elf64_Ehdr, e_machine), 2, EM_386, "an ELF file for 32-bit x86" },
		{ offsetof(Elf64_Ehdr, e_machine), 2, 4711, "an ELF file for machine 4711" },
		{ offsetof(Elf64_Ehdr, e_type), 2, ET_REL,
		  "an ELF object file (a kernel module?)" },
		{ offsetof(Elf64_Ehdr, e_type), 2, ET_CORE, "an ELF core dump" },
		{ offsetof(Elf64_Ehdr, e_type), 2, 77, "an ELF file of unknown type" },
		{ offsetof(Elf64_Ehdr, e_phnum), 2, 0, "an ELF file without program headers" },
		{ offsetof(Elf64_Ehdr, e_phnum), 2, 65,
		  "ELF file with 65 program headers; at most 64" },
		{ offsetof(Elf64_Ehdr, e_phnum), 2, 64,
		  "program headers are damaged or not near the start" },
		{ offsetof(Elf64_Ehdr, e_phentsize), 2, 55, "program headers are damaged" },
		{ offsetof(Elf64_Ehdr, e_phoff), 8, 1024, "program headers are damaged" },
		{ offsetof(Elf64_Ehdr, e_phoff), 8, UINT64_MAX, "program headers are damaged" },
		{ offsetof(Elf64_Ehdr, e_entry), 8, 0x1000100,
		  "entry point 0x1000100 is in no loaded segment" },
		{ offsetof(Elf64_Ehdr, e_entry), 8, 0, "entry point 0x0 is in no loaded segment" },
		{ SEGMENT(2, p_type), 2, PT_INTERP, "an ELF program that runs on a kernel" },
		{ SEGMENT(0, p_offset), 8, 1000, "segment 0 reaches past the end of the file" },
		{ SEGMENT(1, p_offset), 8, UINT64_MAX,
		  "segment 1 reaches past the end of the file" },
		{ SEGMENT(1, p_filesz), 8, UINT64_MAX,
		  "segment 1 reaches past the end of the file" },
		{ SEGMENT(2, p_filesz), 8, 4096, "segment 2 reaches past the end of the file" },
		{ SEGMENT(1, p_memsz), 8, 255, "segment 1 is larger in the file than in memory" },
		{ SEGMENT(1, p_memsz), 8, (1ULL << 30) + 1, "segment 1 is huge: 0x40000001 bytes" },
		{ SEGMENT(1, p_memsz), 8, UINT64_MAX, "segment 1 is huge" },
		{ SEGMENT(1, p_paddr), 8, UINT64_MAX, "segment 1 is loaded at 0xffffffffffffffff" },
		{ SEGMENT(1, p_paddr), 8, 0x10000ff, "segments 0 and 1 overlap in memory" },
		{ SEGMENT(1, p_paddr), 8, 0x1000000, "segments 0 and 1 overlap in memory" },
		{ SEGMENT(0, p_memsz), 8, 0x1001, "segments 0 and 1 overlap in memory" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF file = BUF_INIT;
		struct kernel_image image = { .entry = 4711 };
		struct err err = ERR_INIT;

		fixture_elf(&file);
		if (rows[i].width == 1)
			file.ptr[rows[i].at] = (char)rows[i].value;
		else if (rows[i].width == 2)
			put16(&file, rows[i].at, (uint16_t)rows[i].value);
		else
			put64(&file, rows[i].at, rows[i].value);
		CHECK_ROW(i, parse(&file, &image, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_INT(image.entry, 4711); /* untouched */
	}
}

static void test_segment_limits(void **state)
{
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image;
	struct err err = ERR_INIT;

	(void)state;
	fixture_elf(&file);
	put64(&file, SEGMENT(1, p_paddr), 0x1000100); /* side by side */
	CHECK_INT(parse(&file, &image, &err), 0);
	put64(&file, SEGMENT(1, p_memsz), 1ULL << 30); /* the largest */
	CHECK_INT(parse(&file, &image, &err), 0);
	put64(&file, SEGMENT(1, p_paddr), 1ULL << 40); /* the highest */
	CHECK_INT(parse(&file, &image, &err), 0);
}

static void test_bad_bzimage(void **state)
{
	static const struct elf_row rows[] = {
		{ 0x206, 2, 0x0207, "a bzImage of boot protocol 2.07; 2.08 or newer" },
		{ 0x211, 1, 0, "this is a zImage" },
		{ 0x236, 2, 0, "a bzImage for 32-bit x86" },
		{ 0x206, 2, 0x020b, "a bzImage for 32-bit x86" },
		{ 0x24c, 4, 0, "a bzImage without a compressed kernel in it" },
		{ 0x24c, 4, 8, "a bzImage cut short" },
		{ 0x24c, 4, UINT32_MAX, "a bzImage cut short" },
		{ 0x248, 4, UINT32_MAX, "a bzImage cut short" },
		{ 0x1f1, 1, 255, "a bzImage cut short" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF file = BUF_INIT;
		struct kernel_image image;
		struct err err = ERR_INIT;

		fixture_bzimage(span_str("payload"), &file);
		if (rows[i].width == 1)
			file.ptr[rows[i].at] = (char)rows[i].value;
		else if (rows[i].width == 2)
			put16(&file, rows[i].at, (uint16_t)rows[i].value);
		else
			put32(&file, rows[i].at, (uint32_t)rows[i].value);
		CHECK_ROW(i, parse(&file, &image, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_INVALID);
	}
}

/* Each file begins with zeros, and has `magic` at `at`. */
static void test_strangers(void **state)
{
	static const struct {
		size_t at;
		size_t len;
		const char *magic;
		const char *message;
	} rows[] = {
		{ 0, 2, "\x1f\x8b",
		  "this is gzip data (a compressed vmlinux has to be unpacked first); a kernel is "
		  "an x86-64 ELF file (vmlinux) or a bzImage" },
		{ 0, 6,
		  "\xfd"
		  "7zXZ",
		  "this is xz data" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "this is zstd data" },
		{ 0, 4, "\x02\x21\x4c\x18", "this is LZ4 data" },
		{ 0, 3, "BZh", "this is bzip2 data" },
		{ 0x38, 4, "ARM\x64", "this is an arm64 kernel image" },
		{ 0x38, 4, "RSC\x05", "this is a RISC-V kernel image" },
		{ 0, 2, "#!", "this is a script" },
		{ 0, 6, "070701", "this is a cpio archive (an initrd?)" },
		{ 0, 4, "QFI\xfb", "this is a qcow2 disk image" },
		{ 0, 4,
		  "\x7f"
		  "ELF",
		  "an ELF file for machine 0" },
		{ 0, 2, "MZ", "this is a DOS program" },
		{ 0, 4, "text", "this is neither; a kernel is" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF file = BUF_INIT;
		struct kernel_image image;
		struct err err = ERR_INIT;

		pad_to(&file, 4096);
		file.ptr[EI_DATA] = ELFDATA2LSB;
		memcpy(file.ptr + rows[i].at, rows[i].magic, rows[i].len);
		CHECK_ROW(i, parse(&file, &image, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
	}
}

static void test_efi_programs(void **state)
{
	static const struct {
		uint16_t machine;
		const char *message;
	} rows[] = {
		{ 0x8664, "this is an EFI program (PE) for x86-64 without a Linux boot header" },
		{ 0xaa64, "this is an EFI program (PE) for arm64" },
		{ 0x1234, "this is an EFI program (PE) for an unknown machine" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF file = BUF_INIT;
		struct kernel_image image;
		struct err err = ERR_INIT;

		pad_to(&file, 4096);
		memcpy(file.ptr, "MZ", 2);
		put32(&file, 0x3c, 0x80);
		memcpy(file.ptr + 0x80, "PE", 2);
		put16(&file, 0x84, rows[i].machine);
		CHECK_ROW(i, parse(&file, &image, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		/* The place of its header outside the file. */
		put32(&file, 0x3c, UINT32_MAX);
		CHECK_ROW(i, parse(&file, &image, &err) < 0);
		CHECK_HAS(err.message, "a DOS program");
	}
}

static void test_sizes(void **state)
{
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(kernel_image_parse(span_of("", 0), 0, &image, &err) < 0, true);
	CHECK_HAS(err.message, "this is an empty file");
	CHECK_INT(err.kind, ERR_INVALID);

	fixture_elf(&file);
	CHECK_INT(kernel_image_parse(buf_span(&file), 5ULL << 30, &image, &err) < 0, true);
	CHECK_STR(err.message, "this file has 5368709120 bytes; a kernel has at most 1073741824");
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_INT(kernel_image_parse(buf_span(&file), KERNEL_FILE_SIZE_MAX, &image, &err), 0);
	CHECK_INT(kernel_image_parse(buf_span(&file), KERNEL_FILE_SIZE_MAX + 1, &image, &err) < 0,
		  true);

	/* Cut at every length: an error or a whole header, never more than there is. */
	for (size_t len = 1; len < file.len; len++)
		CHECK_ROW(len, kernel_image_parse(span_of(file.ptr, len), len, &image, &err) < 0);
}

static void test_files(void **state)
{
	AUTO_CLOSE int fd = memfd_create("kernel", MFD_CLOEXEC);
	AUTO_CLOSE int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_BUF file = BUF_INIT;
	struct kernel_image image;
	struct err err = ERR_INIT;

	(void)state;
	fixture_elf(&file);
	CHECK_INT(fd_write_all(fd, buf_span(&file)), 0);
	CHECK_INT(kernel_image_read(fd, &image, &err), 0);
	CHECK_INT(image.has_pvh, true);
	CHECK_INT(image.pvh_entry, 0x1000040);

	/* 5 GiB, most of it a hole: refused by its size alone. */
	CHECK_INT(ftruncate(fd, (off_t)(5ULL << 30)), 0);
	CHECK_INT(kernel_image_read(fd, &image, &err) < 0, true);
	CHECK_HAS(err.message, "this file has 5368709120 bytes");

	CHECK_INT(kernel_image_read(null_fd, &image, &err) < 0, true);
	CHECK_HAS(err.message, "this is not a regular file");
}

static void test_args(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *message;
	} rows[] = {
		{ "quiet\nroot=/dev/vda", 19, "kernel arguments have a line break at byte 5" },
		{ "\rquiet", 6, "a line break at byte 0" },
		{ "quiet\0ro", 8, "kernel arguments have a NUL at byte 5" },
		{ "a\tb", 3, "the control character 0x09 at byte 1" },
		{ "\x1b[2J", 4, "the control character 0x1b at byte 0" },
		{ "ab\x7f", 3, "the control character 0x7f at byte 2" },
		{ "name=k\xc3\xa4se", 10, "kernel arguments are not ASCII: 0xc3 at byte 6" },
	};
	static const char *const good[] = { "", "quiet", "init=/bin/sh", "a=\"b c\" -- x~!" };
	AUTO_BUF args = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_ROW(i, kernel_args_check(span_of(rows[i].text, rows[i].len), &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_INVALID);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK_ROW(i, kernel_args_check(span_str(good[i]), &err) == 0);

	while (args.len < LIMIT_KERNEL_ARGS_BYTES)
		buf_add_byte(&args, 'x');
	CHECK_INT(kernel_args_check(buf_span(&args), &err), 0);
	buf_add_byte(&args, 'x');
	CHECK_INT(kernel_args_check(buf_span(&args), &err) < 0, true);
	CHECK_STR(err.message,
		  "kernel arguments are 2048 bytes long; the kernel takes at most 2047");
	CHECK_INT(err.kind, ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_elf),       cmocka_unit_test(test_good_bzimage),
		cmocka_unit_test(test_notes),	       cmocka_unit_test(test_bad_elf),
		cmocka_unit_test(test_segment_limits), cmocka_unit_test(test_bad_bzimage),
		cmocka_unit_test(test_strangers),      cmocka_unit_test(test_efi_programs),
		cmocka_unit_test(test_sizes),	       cmocka_unit_test(test_files),
		cmocka_unit_test(test_args),
	};

	return cmocka_run_group_tests_name("kernel_image", tests, NULL, NULL);
}
