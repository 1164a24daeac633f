#include "check.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/extract.h"
#include "kernel_fixture.h"

static int add(void *context, struct span bytes, struct err *err)
{
	struct buf *into = context;

	(void)err;
	buf_add(into, bytes);
	return 0;
}

static int refuse(void *context, struct span bytes, struct err *err)
{
	(void)context;
	(void)bytes;
	return err_set(err, ERR_BUSY, "the sink is full");
}

/* Bytes that neither compress well nor badly. */
static void fill(struct buf *out, size_t size)
{
	uint32_t state = 1;

	while (out->len < size) {
		state = state * 1664525U + 1013904223U;
		buf_add_byte(out, (uint8_t)(state >> 28));
	}
}

static const enum kernel_compression all[] = {
	KERNEL_COMPRESSION_GZIP,
	KERNEL_COMPRESSION_XZ,
	KERNEL_COMPRESSION_LZ4,
	KERNEL_COMPRESSION_ZSTD,
};

static void test_round_trip(void **state)
{
	/* The last is more than one block of LZ4's legacy format. */
	static const size_t sizes[] = { 1, 4096, 300000, 9000000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all) * ARRAY_LEN(sizes); i++) {
		AUTO_BUF plain = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF out = BUF_INIT;
		const struct kernel_sink sink = { add, &out, 10000000, NULL };
		struct err err = ERR_INIT;

		fill(&plain, sizes[i / ARRAY_LEN(all)]);
		fixture_compress(all[i % ARRAY_LEN(all)], buf_span(&plain), &packed);
		CHECK_ROW(i, kernel_compression_of(buf_span(&packed)) == all[i % ARRAY_LEN(all)]);
		CHECK_ROW(i, kernel_uncompress(buf_span(&packed), &sink, &err) == 0);
		CHECK_ROW(i, span_eq(buf_span(&out), buf_span(&plain)));
	}
}

static void test_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF plain = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF out = BUF_INIT;
		struct kernel_sink sink = { add, &out, 100000, NULL };
		struct err err = ERR_INIT;

		pad_to(&plain, 100000);
		fixture_compress(all[i], buf_span(&plain), &packed);
		CHECK_ROW(i, kernel_uncompress(buf_span(&packed), &sink, &err) == 0);
		sink.size_max--;
		CHECK_ROW(i, kernel_uncompress(buf_span(&packed), &sink, &err) < 0);
		CHECK_STR(err.message, "uncompressed data is larger than 99999 bytes");
		CHECK_INT(err.kind, ERR_LIMIT);
	}
}

static void test_damage(void **state)
{
	static const char *const messages[] = {
		"gzip data is damaged or cut short",
		"xz data is damaged or cut short",
		"lz4 data is damaged or cut short",
		"zstd data is damaged or cut short",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF plain = BUF_INIT;
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF out = BUF_INIT;
		const struct kernel_sink sink = { add, &out, 1000000, NULL };
		struct err err = ERR_INIT;

		fill(&plain, 100000);
		fixture_compress(all[i], buf_span(&plain), &packed);
		CHECK_ROW(i,
			  kernel_uncompress(span_of(packed.ptr, packed.len / 2), &sink, &err) < 0);
		CHECK_STR(err.message, messages[i]);
		CHECK_ROW(i, kernel_uncompress(span_of(packed.ptr, 6), &sink, &err) < 0);
		CHECK_STR(err.message, messages[i]);
	}
}

static void test_refusals(void **state)
{
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO_BUF out = BUF_INIT;
	struct kernel_sink sink = { refuse, NULL, 1000, NULL };
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(kernel_uncompress(span_str("plain text"), &sink, &err) < 0, true);
	CHECK_STR(err.message, "data is compressed with neither gzip, xz, LZ4 nor zstd");

	fixture_compress(KERNEL_COMPRESSION_ZSTD, span_str("hello"), &packed);
	CHECK_INT(kernel_uncompress(buf_span(&packed), &sink, &err) < 0, true);
	CHECK_STR(err.message, "the sink is full");

	sink = (struct kernel_sink){ add, &out, 1000, &cancel };
	CHECK_INT(cancel_init(&cancel), 0);
	CHECK_INT(kernel_uncompress(buf_span(&packed), &sink, &err), 0);
	cancel_fire(&cancel);
	CHECK_INT(kernel_uncompress(buf_span(&packed), &sink, &err) < 0, true);
	CHECK_INT(err.kind, ERR_CANCELLED);
}

static int make_file(const struct buf *content)
{
	const int fd = memfd_create("file", MFD_CLOEXEC);

	CHECK_INT(fd_write_all(fd, buf_span(content)), 0);
	return fd;
}

static void test_vmlinux(void **state)
{
	AUTO_BUF elf = BUF_INIT;

	(void)state;
	fixture_elf(&elf);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF image = BUF_INIT;
		AUTO_CLOSE int in = -1;
		AUTO_CLOSE int out = memfd_create("vmlinux", MFD_CLOEXEC);
		char made[FIXTURE_ELF_SIZE];
		struct err err = ERR_INIT;

		fixture_compress(all[i], buf_span(&elf), &packed);
		fixture_bzimage(buf_span(&packed), &image);
		in = make_file(&image);
		CHECK_ROW(i, kernel_extract_vmlinux(in, out, NULL, &err) == 0);
		CHECK_INT(pread(out, made, sizeof(made), 0), FIXTURE_ELF_SIZE);
		CHECK_ROW(i, memcmp(made, elf.ptr, sizeof(made)) == 0);
	}
}

static void test_vmlinux_refusals(void **state)
{
	static const struct {
		const char *inside;
		const char *message;
	} rows[] = {
		{ "no kernel at all", "the kernel in the bzImage: this is neither; a kernel is" },
		{ "#!/bin/sh", "the kernel in the bzImage: this is a script" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF packed = BUF_INIT;
		AUTO_BUF image = BUF_INIT;
		AUTO_CLOSE int in = -1;
		AUTO_CLOSE int out = memfd_create("vmlinux", MFD_CLOEXEC);
		struct err err = ERR_INIT;

		fixture_compress(KERNEL_COMPRESSION_GZIP, span_str(rows[i].inside), &packed);
		fixture_bzimage(buf_span(&packed), &image);
		in = make_file(&image);
		CHECK_ROW(i, kernel_extract_vmlinux(in, out, NULL, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
	}

	AUTO_BUF elf = BUF_INIT;
	AUTO_CLOSE int out = memfd_create("vmlinux", MFD_CLOEXEC);
	struct err err = ERR_INIT;

	fixture_elf(&elf);
	AUTO_CLOSE int in = make_file(&elf);

	CHECK_INT(kernel_extract_vmlinux(in, out, NULL, &err) < 0, true);
	CHECK_STR(err.message, "this is an ELF file already, not a bzImage");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_limit),
		cmocka_unit_test(test_damage),	   cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_vmlinux),	   cmocka_unit_test(test_vmlinux_refusals),
	};

	return cmocka_run_group_tests_name("kernel_extract", tests, NULL, NULL);
}
