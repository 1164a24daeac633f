#include "kernel/unzstd.h"

#include <stdbool.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/fd.h"
#include "base/mem.h"

#define PIECE_SIZE ((size_t)128 * 1024)

struct unzstd {
	int fd; /* borrowed */
	int window_log_max;
	ZSTD_DCtx *context; /* owned */
	uint8_t *piece;	    /* owned */
	ZSTD_inBuffer in;   /* in `piece` */
	uint64_t position;
	bool is_over; /* the frame has ended */
};

static const uint8_t frame_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

void unzstd_free(struct unzstd *stream)
{
	if (!stream)
		return;
	(void)ZSTD_freeDCtx(stream->context);
	mem_free(stream->piece);
	mem_free(stream);
}

/* Reads the next piece; 0 at the end of the file. */
static int refill(struct unzstd *stream, struct err *err)
{
	const ssize_t n = fd_read_some(stream->fd, stream->piece, PIECE_SIZE);

	if (n < 0)
		return err_sys(err, (int)n, "read the bundle");
	stream->in = (ZSTD_inBuffer){ .src = stream->piece, .size = (size_t)n };
	stream->position += (uint64_t)n;
	return 0;
}

int unzstd_new(int fd, int window_log_max, struct unzstd **ret, struct err *err)
{
	CLEANUP(unzstd_freep) struct unzstd *stream = mem_alloc(1, sizeof(*stream));
	int r;

	stream->fd = fd;
	stream->window_log_max = window_log_max;
	stream->piece = mem_alloc(1, PIECE_SIZE);
	stream->context = ZSTD_createDCtx();
	if (!stream->context || ZSTD_isError(ZSTD_DCtx_setParameter(
					stream->context, ZSTD_d_windowLogMax, window_log_max)))
		return err_sys(err, -ENOMEM, "uncompress the bundle");
	r = refill(stream, err);
	if (r < 0)
		return r;
	/* The decoder would pass over skippable frames, and read the formats of its youth. */
	if (stream->in.size < sizeof(frame_magic) ||
	    memcmp(stream->piece, frame_magic, sizeof(frame_magic)) != 0)
		return err_set(err, ERR_INVALID, "the bundle does not begin with a zstd frame");
	*ret = TAKE_PTR(stream);
	return 0;
}

static int failed(const struct unzstd *stream, size_t code, struct err *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
		return err_set(err, ERR_LIMIT,
			       "the bundle is compressed with a window of more than %llu MiB",
			       1ULL << (stream->window_log_max - 20));
	return err_set(err, ERR_INVALID, "the bundle is damaged: %s", ZSTD_getErrorName(code));
}

/* At the end of the frame the file must be at its end, too. */
static int check_end(struct unzstd *stream, struct err *err)
{
	int r = 0;

	if (stream->in.pos == stream->in.size)
		r = refill(stream, err);
	if (r == 0 && stream->in.pos < stream->in.size)
		r = err_set(err, ERR_INVALID, "the bundle has bytes behind its zstd frame");
	return r;
}

int unzstd_read(struct unzstd *stream, void *into, size_t size, size_t *ret_size, struct err *err)
{
	ZSTD_outBuffer out = { .dst = into, .size = size };
	int r;

	while (out.pos < out.size && !stream->is_over) {
		const size_t before = out.pos;
		size_t code;

		code = ZSTD_decompressStream(stream->context, &out, &stream->in);
		if (ZSTD_isError(code))
			return failed(stream, code, err);
		if (code == 0) {
			stream->is_over = true;
			r = check_end(stream, err);
			if (r < 0)
				return r;
			break;
		}
		/* It may hold bytes back although it has taken all there was. */
		if (stream->in.pos < stream->in.size || out.pos > before)
			continue;
		r = refill(stream, err);
		if (r < 0)
			return r;
		if (stream->in.size == 0)
			return err_set(err, ERR_INVALID, "the bundle is cut short");
	}
	*ret_size = out.pos;
	return 0;
}

uint64_t unzstd_position(const struct unzstd *stream)
{
	return stream->position;
}
