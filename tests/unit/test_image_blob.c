/* Layers' blobs, uncompressed: whole ones come out as they went in, all others are refused. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "image/blob.h"

#define LARGE ((size_t)3 << 20)

static void gzip(struct span bytes, struct buf *out)
{
	z_stream stream = { .next_in = NULL };
	const size_t room = compressBound(bytes.len) + 64;

	assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, 0), Z_OK);
	buf_reserve(out, room);
	stream.next_in = (Bytef *)(uintptr_t)bytes.ptr;
	stream.avail_in = (uInt)bytes.len;
	stream.next_out = (Bytef *)out->ptr + out->len;
	stream.avail_out = (uInt)room;
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	buf_advance(out, stream.total_out);
	(void)deflateEnd(&stream);
}

/* As a stream does it: without the size in its header, with a checksum at its end. */
static void zstd(struct span bytes, int window_log, struct buf *out)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	const size_t room = ZSTD_compressBound(bytes.len) + 64;
	size_t size;

	assert_non_null(ctx);
	(void)ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
	(void)ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
	(void)ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, window_log);
	buf_reserve(out, room);
	ZSTD_inBuffer in = { .src = bytes.ptr, .size = bytes.len };
	ZSTD_outBuffer to = { .dst = out->ptr + out->len, .size = room };

	/* In two steps: else it knows the size, and takes a window that is as small. */
	size = ZSTD_compressStream2(ctx, &to, &in, ZSTD_e_continue);
	assert_false(ZSTD_isError(size));
	size = ZSTD_compressStream2(ctx, &to, &in, ZSTD_e_end);
	CHECK_INT(size, 0);
	buf_advance(out, to.pos);
	(void)ZSTD_freeCCtx(ctx);
}

static void compress_as(enum image_compression kind, struct span bytes, struct buf *out)
{
	if (kind == IMAGE_COMPRESSION_GZIP)
		gzip(bytes, out);
	else if (kind == IMAGE_COMPRESSION_ZSTD)
		zstd(bytes, 0, out);
	else
		buf_add(out, bytes);
}

static int take(void *context, struct span bytes, struct err *err)
{
	(void)err;
	assert_true(bytes.len > 0);
	buf_add(context, bytes);
	return 0;
}

static int run(enum image_compression kind, struct span blob, struct buf *out, struct err *err)
{
	const struct blob_output output = { .take = take, .context = out };
	AUTO_CLOSE int fd = memfd_create("blob", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_pwrite_all(fd, blob, 0), 0);
	/* Where its offset is does not matter, and it stays there. */
	assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
	const int r = blob_uncompress(fd, kind, &output, err);

	assert_int_equal(lseek(fd, 0, SEEK_CUR), 1);
	return r;
}

/* Bytes that can be compressed, but not away. */
static void fill(struct buf *out, size_t size)
{
	uint32_t state = 1;

	while (out->len < size) {
		state = state * 1103515245U + 12345U;
		buf_add_byte(out, (uint8_t)(state >> 28));
	}
}

static void test_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, 512, 131072, 262144, 262145, LARGE };
	size_t i;
	unsigned kind;

	(void)state;
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_BUF content = BUF_INIT;

		fill(&content, sizes[i]);
		for (kind = 0; kind < IMAGE_COMPRESSION_COUNT; kind++) {
			struct err err = ERR_INIT;
			AUTO_BUF blob = BUF_INIT;
			AUTO_BUF got = BUF_INIT;

			compress_as((enum image_compression)kind, buf_span(&content), &blob);
			if (blob.len == 0)
				continue;
			if (run((enum image_compression)kind, buf_span(&blob), &got, &err) < 0)
				fail_msg("row %zu, %u: %s", i, kind, err.message);
			CHECK_ROW(i, span_eq(buf_span(&got), buf_span(&content)));
		}
	}
}

static void test_cut_short(void **state)
{
	static const enum image_compression kinds[] = { IMAGE_COMPRESSION_GZIP,
							IMAGE_COMPRESSION_ZSTD };
	AUTO_BUF content = BUF_INIT;
	size_t i, len;

	(void)state;
	fill(&content, 2000);
	for (i = 0; i < ARRAY_LEN(kinds); i++) {
		AUTO_BUF blob = BUF_INIT;

		compress_as(kinds[i], buf_span(&content), &blob);
		for (len = 0; len < blob.len; len++) {
			struct err err = ERR_INIT;
			AUTO_BUF got = BUF_INIT;

			CHECK_ROW(len, run(kinds[i], span_of(blob.ptr, len), &got, &err) < 0);
			CHECK_INT(err.kind, ERR_PROTOCOL);
			CHECK_HAS(err.message, len == 0 ? "it is empty" : "it is cut short");
		}
	}
}

/* Their checksums find each change that matters. */
static void test_changed(void **state)
{
	static const enum image_compression kinds[] = { IMAGE_COMPRESSION_GZIP,
							IMAGE_COMPRESSION_ZSTD };
	AUTO_BUF content = BUF_INIT;
	size_t i, at;

	(void)state;
	fill(&content, 700);
	for (i = 0; i < ARRAY_LEN(kinds); i++) {
		AUTO_BUF blob = BUF_INIT;

		compress_as(kinds[i], buf_span(&content), &blob);
		for (at = 0; at < blob.len; at++) {
			struct err err = ERR_INIT;
			AUTO_BUF got = BUF_INIT;
			int r;

			blob.ptr[at] ^= 4;
			r = run(kinds[i], buf_span(&blob), &got, &err);
			blob.ptr[at] ^= 4;
			CHECK_ROW(at, r < 0 || span_eq(buf_span(&got), buf_span(&content)));
		}
	}
}

/* Several in a row are one; anything else behind the last one is an error. */
static void test_behind(void **state)
{
	static const enum image_compression kinds[] = { IMAGE_COMPRESSION_GZIP,
							IMAGE_COMPRESSION_ZSTD };
	static const struct span rests[] = {
		{ (const uint8_t *)"x", 1 },
		{ (const uint8_t *)"\0", 1 },
		{ (const uint8_t *)"\x1f\x8b", 2 },
		{ (const uint8_t *)"PK\3\4", 4 },
	};
	AUTO_BUF content = BUF_INIT;
	AUTO_BUF twice = BUF_INIT;
	size_t i, n;

	(void)state;
	fill(&content, 5000);
	buf_add(&twice, buf_span(&content));
	buf_add(&twice, buf_span(&content));
	for (i = 0; i < ARRAY_LEN(kinds); i++) {
		struct err err = ERR_INIT;
		AUTO_BUF blob = BUF_INIT;
		AUTO_BUF got = BUF_INIT;
		size_t len;

		compress_as(kinds[i], buf_span(&content), &blob);
		compress_as(kinds[i], buf_span(&content), &blob);
		CHECK_ROW(i, run(kinds[i], buf_span(&blob), &got, &err) == 0);
		CHECK_ROW(i, span_eq(buf_span(&got), buf_span(&twice)));
		len = blob.len;
		for (n = 0; n < ARRAY_LEN(rests); n++) {
			buf_truncate(&blob, len);
			buf_add(&blob, rests[n]);
			buf_clear(&got);
			CHECK_ROW(n, run(kinds[i], buf_span(&blob), &got, &err) < 0);
			CHECK_INT(err.kind, ERR_PROTOCOL);
		}
	}
}

static void test_window(void **state)
{
	static const struct {
		int window_log;
		bool is_accepted;
	} rows[] = { { 20, true },
		     { BLOB_WINDOW_LOG_MAX, true },
		     { BLOB_WINDOW_LOG_MAX + 1, false } };
	AUTO_BUF content = BUF_INIT;
	size_t i;

	(void)state;
	fill(&content, 5000);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		AUTO_BUF blob = BUF_INIT;
		AUTO_BUF got = BUF_INIT;

		zstd(buf_span(&content), rows[i].window_log, &blob);
		CHECK_ROW(i, (run(IMAGE_COMPRESSION_ZSTD, buf_span(&blob), &got, &err) == 0) ==
				     rows[i].is_accepted);
	}
}

static int refuse(void *context, struct span bytes, struct err *err)
{
	(void)context;
	(void)bytes;
	return err_set(err, ERR_LIMIT, "enough");
}

static void test_output_fails(void **state)
{
	const struct blob_output output = { .take = refuse };
	unsigned kind;

	(void)state;
	for (kind = 0; kind < IMAGE_COMPRESSION_COUNT; kind++) {
		AUTO_CLOSE int fd = memfd_create("blob", MFD_CLOEXEC);
		struct err err = ERR_INIT;
		AUTO_BUF blob = BUF_INIT;

		compress_as((enum image_compression)kind, span_str("content"), &blob);
		assert_int_equal(fd_pwrite_all(fd, buf_span(&blob), 0), 0);
		CHECK_ROW(kind,
			  blob_uncompress(fd, (enum image_compression)kind, &output, &err) < 0);
		CHECK_STR(err.message, "enough");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_changed), cmocka_unit_test(test_behind),
		cmocka_unit_test(test_window),	cmocka_unit_test(test_output_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
