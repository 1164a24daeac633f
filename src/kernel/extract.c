#include "kernel/extract.h"

#define ZLIB_CONST /* so that zlib takes const input */
#include <lz4.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/image.h"
#include "kernel/little.h"

#define OUTPUT_SIZE                                                                             \
	((size_t)256 * 1024)		/* of one piece; cancellation is looked at between them \
					 */
#define XZ_MEMORY_MAX	 (256ULL << 20) /* the kernel's build uses a dictionary of 32 MiB */
#define LZ4_LEGACY_MAGIC 0x184c2102U
#define LZ4_LEGACY_BLOCK (8 << 20) /* of output; fixed by the format */
#define LZ4_LEGACY_INPUT LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK)

static const struct {
	const char *name;
	size_t magic_size;
	const char *magic;
} compressions[] = {
	[KERNEL_COMPRESSION_NONE] = { "none", 0, "" },
	[KERNEL_COMPRESSION_GZIP] = { "gzip", 2, "\x1f\x8b" },
	[KERNEL_COMPRESSION_XZ] = { "xz", 6,
				    "\xfd"
				    "7zXZ" },
	[KERNEL_COMPRESSION_LZ4] = { "lz4", 4, "\x02\x21\x4c\x18" },
	[KERNEL_COMPRESSION_ZSTD] = { "zstd", 4, "\x28\xb5\x2f\xfd" },
};
_Static_assert(ARRAY_LEN(compressions) == KERNEL_COMPRESSION_COUNT, "each compression has a row");

enum kernel_compression kernel_compression_of(struct span bytes)
{
	for (size_t i = KERNEL_COMPRESSION_NONE + 1; i < KERNEL_COMPRESSION_COUNT; i++)
		if (bytes.len >= compressions[i].magic_size &&
		    memcmp(bytes.ptr, compressions[i].magic, compressions[i].magic_size) == 0)
			return (enum kernel_compression)i;
	return KERNEL_COMPRESSION_NONE;
}

const char *kernel_compression_name(enum kernel_compression compression)
{
	return compressions[compression].name;
}

struct output {
	const struct kernel_sink *sink; /* borrowed */
	uint64_t written;
};

static int put(struct output *output, const void *bytes, size_t size, struct err *err)
{
	int r;

	r = cancel_check(output->sink->cancel, err);
	if (r < 0)
		return r;
	if (size > output->sink->size_max - output->written)
		return err_set(err, ERR_LIMIT, "uncompressed data is larger than %llu bytes",
			       (unsigned long long)output->sink->size_max);
	output->written += size;
	return size > 0 ? output->sink->write(output->sink->context, span_of(bytes, size), err) : 0;
}

static int damaged(struct err *err, enum kernel_compression compression)
{
	return err_set(err, ERR_INVALID, "%s data is damaged or cut short",
		       kernel_compression_name(compression));
}

static int out_of_memory(struct err *err)
{
	return err_sys(err, -ENOMEM, "uncompress");
}

static void inflate_end(z_stream *stream)
{
	(void)inflateEnd(stream);
}

static int uncompress_gzip(struct span in, struct output *output, uint8_t *piece, struct err *err)
{
	CLEANUP(inflate_end) z_stream stream = { 0 };
	int z;

	if (in.len > UINT32_MAX)
		return damaged(err, KERNEL_COMPRESSION_GZIP);
	/* 15 bits of window, and 16 for "with a gzip header". */
	if (inflateInit2(&stream, 15 + 16) != Z_OK)
		return out_of_memory(err);
	stream.next_in = in.ptr;
	stream.avail_in = (uInt)in.len;
	do {
		stream.next_out = piece;
		stream.avail_out = (uInt)OUTPUT_SIZE;
		z = inflate(&stream, Z_NO_FLUSH);
		if (z == Z_MEM_ERROR)
			return out_of_memory(err);
		if (z != Z_OK && z != Z_STREAM_END)
			return damaged(err, KERNEL_COMPRESSION_GZIP);
		const int r = put(output, piece, OUTPUT_SIZE - stream.avail_out, err);
		if (r < 0)
			return r;
	} while (z != Z_STREAM_END);
	return 0;
}

static int uncompress_xz(struct span in, struct output *output, uint8_t *piece, struct err *err)
{
	CLEANUP(lzma_end) lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret z;

	if (lzma_stream_decoder(&stream, XZ_MEMORY_MAX, 0) != LZMA_OK)
		return out_of_memory(err);
	stream.next_in = in.ptr;
	stream.avail_in = in.len;
	do {
		stream.next_out = piece;
		stream.avail_out = OUTPUT_SIZE;
		z = lzma_code(&stream, LZMA_RUN);
		if (z == LZMA_MEM_ERROR)
			return out_of_memory(err);
		if (z == LZMA_MEMLIMIT_ERROR)
			return err_set(err, ERR_LIMIT,
				       "xz data needs more than %llu bytes of memory",
				       (unsigned long long)XZ_MEMORY_MAX);
		if (z != LZMA_OK && z != LZMA_STREAM_END)
			return damaged(err, KERNEL_COMPRESSION_XZ);
		const int r = put(output, piece, OUTPUT_SIZE - stream.avail_out, err);
		if (r < 0)
			return r;
	} while (z != LZMA_STREAM_END);
	return 0;
}

static void zstd_end(ZSTD_DStream **stream)
{
	(void)ZSTD_freeDStream(*stream);
}

static int uncompress_zstd(struct span in, struct output *output, uint8_t *piece, struct err *err)
{
	CLEANUP(zstd_end) ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer input = { .src = in.ptr, .size = in.len };
	size_t left;

	if (!stream)
		return out_of_memory(err);
	do {
		ZSTD_outBuffer room = { .dst = piece, .size = OUTPUT_SIZE };
		const size_t before = input.pos;

		left = ZSTD_decompressStream(stream, &room, &input);
		if (ZSTD_isError(left))
			return damaged(err, KERNEL_COMPRESSION_ZSTD);
		/* No byte taken, none made, and not at the end: there is no more. */
		if (left > 0 && room.pos == 0 && input.pos == before)
			return damaged(err, KERNEL_COMPRESSION_ZSTD);
		const int r = put(output, piece, room.pos, err);
		if (r < 0)
			return r;
	} while (left > 0);
	return 0;
}

/*
 * The legacy frame has no end mark: blocks with their sizes in front, and after the last one, in a
 * bzImage, four bytes with the uncompressed size.
 */
static int uncompress_lz4(struct span in, struct output *output, struct err *err)
{
	AUTO_FREE char *block = mem_try_alloc(1, LZ4_LEGACY_BLOCK);

	if (!block)
		return out_of_memory(err);
	in = span_skip(in, 4);
	while (in.len > 4) {
		const uint32_t size = little32(in.ptr);
		int made;
		int r;

		in = span_skip(in, 4);
		if (size == LZ4_LEGACY_MAGIC)
			continue;
		if (size == 0)
			break;
		if (size > in.len || size > LZ4_LEGACY_INPUT)
			return damaged(err, KERNEL_COMPRESSION_LZ4);
		made = LZ4_decompress_safe((const char *)in.ptr, block, (int)size,
					   LZ4_LEGACY_BLOCK);
		if (made < 0)
			return damaged(err, KERNEL_COMPRESSION_LZ4);
		r = put(output, block, (size_t)made, err);
		if (r < 0)
			return r;
		in = span_skip(in, size);
	}
	return output->written > 0 ? 0 : damaged(err, KERNEL_COMPRESSION_LZ4);
}

int kernel_uncompress(struct span bytes, const struct kernel_sink *sink, struct err *err)
{
	AUTO_FREE uint8_t *piece = mem_alloc(1, OUTPUT_SIZE);
	struct output output = { .sink = sink };

	switch (kernel_compression_of(bytes)) {
	case KERNEL_COMPRESSION_GZIP:
		return uncompress_gzip(bytes, &output, piece, err);
	case KERNEL_COMPRESSION_XZ:
		return uncompress_xz(bytes, &output, piece, err);
	case KERNEL_COMPRESSION_LZ4:
		return uncompress_lz4(bytes, &output, err);
	case KERNEL_COMPRESSION_ZSTD:
		return uncompress_zstd(bytes, &output, piece, err);
	case KERNEL_COMPRESSION_NONE:
	case KERNEL_COMPRESSION_COUNT:
		break;
	}
	return err_set(err, ERR_INVALID, "data is compressed with neither gzip, xz, LZ4 nor zstd");
}

static int read_payload(int fd, const struct kernel_image *image, uint8_t *into, struct err *err)
{
	uint64_t done = 0;

	while (done < image->payload_size) {
		const ssize_t n = pread(fd, into + done, image->payload_size - done,
					(off_t)(image->payload_offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read the bzImage");
		if (n == 0)
			return err_set(err, ERR_INVALID,
				       "the bzImage became shorter while it was read");
		done += (uint64_t)n;
	}
	return 0;
}

static int write_to_fd(void *context, struct span bytes, struct err *err)
{
	const int *fd = context;
	const int r = fd_write_all(*fd, bytes);

	return r < 0 ? err_sys(err, r, "write vmlinux") : 0;
}

int kernel_extract_vmlinux(int bzimage_fd, int out_fd, const struct cancel *cancel, struct err *err)
{
	const struct kernel_sink sink = {
		.write = write_to_fd,
		.context = &out_fd,
		.size_max = KERNEL_VMLINUX_SIZE_MAX,
		.cancel = cancel,
	};
	AUTO_FREE uint8_t *payload = NULL;
	struct kernel_image image;
	struct kernel_image made;
	int r;

	r = kernel_image_read(bzimage_fd, &image, err);
	if (r < 0)
		return r;
	if (image.format != KERNEL_FORMAT_BZIMAGE)
		return err_set(err, ERR_INVALID, "this is an ELF file already, not a bzImage");

	/* At most KERNEL_FILE_SIZE_MAX: the payload is within the file. */
	payload = mem_try_alloc(1, (size_t)image.payload_size);
	if (!payload)
		return err_sys(err, -ENOMEM, "uncompress the bzImage");
	r = read_payload(bzimage_fd, &image, payload, err);
	if (r < 0)
		return r;
	r = kernel_uncompress(span_of(payload, (size_t)image.payload_size), &sink, err);
	if (r < 0)
		return err_context(err, r, "the kernel in the bzImage");

	r = kernel_image_read(out_fd, &made, err);
	if (r < 0)
		return err_context(err, r, "the kernel in the bzImage");
	if (made.format != KERNEL_FORMAT_ELF)
		return err_set(err, ERR_INVALID, "the kernel in the bzImage is no ELF file");
	return 0;
}
