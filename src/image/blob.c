#include "image/blob.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

#define INPUT_SIZE     ((size_t)128 * 1024)
#define OUTPUT_SIZE    ((size_t)256 * 1024)
#define GZIP_ONLY_BITS (16 + MAX_WBITS) /* inflateInit2(): a gzip header, nothing else */

struct work {
	int fd; /* borrowed, as the next two */
	const struct blob_output *output;
	struct err *err;
	uint64_t offset; /* of the next read */
	uint8_t *in;	 /* owned, as the next */
	uint8_t *out;
	bool is_inside; /* of a member or frame that has not ended */
};

static void work_done(struct work *work)
{
	mem_free(work->in);
	mem_free(work->out);
}

/* The next piece of the file into `in`; its size, 0 at the end. */
static ssize_t fill(struct work *work)
{
	ssize_t n;

	do {
		n = pread(work->fd, work->in, INPUT_SIZE, (off_t)work->offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(work->err, -errno, "read the layer");
	work->offset += (uint64_t)n;
	return n;
}

static int emit(struct work *work, const uint8_t *bytes, size_t size)
{
	return size > 0 ? work->output->take(work->output->context, span_of(bytes, size), work->err)
			: 0;
}

/* At the end of the file: whether it may end here. */
static int check_end(const struct work *work, const char *what)
{
	if (work->is_inside)
		return err_set(work->err, ERR_PROTOCOL, "%s: it is cut short", what);
	if (work->offset == 0)
		return err_set(work->err, ERR_PROTOCOL, "%s: it is empty", what);
	return 0;
}

static int copy(struct work *work)
{
	for (;;) {
		const ssize_t n = fill(work);
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0)
			return check_end(work, "tar");
		r = emit(work, work->in, (size_t)n);
		if (r < 0)
			return r;
	}
}

/* --- gzip --- */

static int gzip_failed(const struct work *work, const z_stream *stream, int status)
{
	if (status == Z_MEM_ERROR)
		return err_sys(work->err, -ENOMEM, "gzip");
	return err_set(work->err, ERR_PROTOCOL, "gzip: %s",
		       stream->msg ? stream->msg : "it is damaged");
}

/* What is in `in`, through to its end. */
static int inflate_piece(struct work *work, z_stream *stream)
{
	do {
		int status, r;

		stream->next_out = work->out;
		stream->avail_out = (uInt)OUTPUT_SIZE;
		status = inflate(stream, Z_NO_FLUSH);
		/* Z_BUF_ERROR: nothing more to do with this input. */
		if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
			return gzip_failed(work, stream, status);
		work->is_inside = status != Z_STREAM_END;
		r = emit(work, work->out, OUTPUT_SIZE - stream->avail_out);
		if (r < 0)
			return r;
		if (status == Z_STREAM_END && inflateReset(stream) != Z_OK)
			return err_set(work->err, ERR_PROTOCOL, "gzip: it cannot be read on");
		if (status == Z_STREAM_END && stream->avail_in == 0)
			break;
	} while (stream->avail_in > 0 || stream->avail_out == 0);
	return 0;
}

static void inflate_done(z_stream *stream)
{
	(void)inflateEnd(stream);
}

static int gunzip(struct work *work)
{
	CLEANUP(inflate_done) z_stream stream = { .next_in = NULL };

	if (inflateInit2(&stream, GZIP_ONLY_BITS) != Z_OK)
		return err_sys(work->err, -ENOMEM, "gzip");
	for (;;) {
		const ssize_t n = fill(work);
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0)
			return check_end(work, "gzip");
		stream.next_in = work->in;
		stream.avail_in = (uInt)n;
		r = inflate_piece(work, &stream);
		if (r < 0)
			return r;
	}
}

/* --- zstd --- */

static int decode_piece(struct work *work, ZSTD_DStream *stream, size_t size)
{
	ZSTD_inBuffer in = { .src = work->in, .size = size };
	bool is_full = false;

	while (in.pos < in.size || is_full) {
		ZSTD_outBuffer out = { .dst = work->out, .size = OUTPUT_SIZE };
		const size_t left = ZSTD_decompressStream(stream, &out, &in);
		int r;

		if (ZSTD_isError(left))
			return err_set(work->err, ERR_PROTOCOL, "zstd: %s",
				       ZSTD_getErrorName(left));
		work->is_inside = left != 0;
		is_full = left != 0 && out.pos == out.size;
		r = emit(work, work->out, out.pos);
		if (r < 0)
			return r;
	}
	return 0;
}

static void stream_done(ZSTD_DStream **stream)
{
	(void)ZSTD_freeDStream(*stream);
}

static int unzstd(struct work *work)
{
	CLEANUP(stream_done) ZSTD_DStream *stream = ZSTD_createDStream();

	if (!stream ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, BLOB_WINDOW_LOG_MAX)))
		return err_sys(work->err, -ENOMEM, "zstd");
	for (;;) {
		const ssize_t n = fill(work);
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0)
			return check_end(work, "zstd");
		r = decode_piece(work, stream, (size_t)n);
		if (r < 0)
			return r;
	}
}

int blob_uncompress(int fd, enum image_compression compression, const struct blob_output *output,
		    struct err *err)
{
	CLEANUP(work_done) struct work work = { .fd = fd, .output = output, .err = err };

	work.in = mem_alloc(1, INPUT_SIZE);
	work.out = mem_alloc(1, OUTPUT_SIZE);
	switch (compression) {
	case IMAGE_COMPRESSION_NONE:
		return copy(&work);
	case IMAGE_COMPRESSION_GZIP:
		return gunzip(&work);
	case IMAGE_COMPRESSION_ZSTD:
		return unzstd(&work);
	case IMAGE_COMPRESSION_COUNT:
		break;
	}
	abort();
}
