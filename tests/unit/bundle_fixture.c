#include "bundle_fixture.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "kernel/digest.h"
#include "kernel/ustar.h"

static void pad(struct buf *out)
{
	while (out->len % USTAR_BLOCK_SIZE != 0)
		buf_add_byte(out, 0);
}

void fixture_tar_seal(uint8_t *header)
{
	unsigned int sum = 0;
	char text[9];

	memset(header + 148, ' ', 8);
	for (size_t i = 0; i < USTAR_BLOCK_SIZE; i++)
		sum += header[i];
	(void)snprintf(text, sizeof(text), "%06o", sum);
	memcpy(header + 148, text, 7);
}

void fixture_tar_header(struct buf *out, const char *name, char type, uint64_t size)
{
	uint8_t header[USTAR_BLOCK_SIZE] = { 0 };
	char text[13];

	memcpy(header, name, strnlen(name, 100));
	memcpy(header + 100, "0000644", 8);
	memcpy(header + 108, "0000000", 8);
	memcpy(header + 116, "0000000", 8);
	(void)snprintf(text, sizeof(text), "%011llo", (unsigned long long)size);
	memcpy(header + 124, text, 12);
	memcpy(header + 136, "00000000000", 12);
	header[156] = (uint8_t)type;
	memcpy(header + 257,
	       "ustar\0"
	       "00",
	       8);
	fixture_tar_seal(header);
	buf_add(out, span_of(header, sizeof(header)));
}

void fixture_tar_file(struct buf *out, const char *name, struct span content)
{
	fixture_tar_header(out, name, '0', content.len);
	buf_add(out, content);
	pad(out);
}

void fixture_tar_end(struct buf *out)
{
	for (size_t i = 0; i < 2 * USTAR_BLOCK_SIZE; i++)
		buf_add_byte(out, 0);
}

void fixture_sum(struct buf *sums, const char *name, struct span content)
{
	char sha256[SHA256_TEXT_SIZE];
	struct err err = ERR_INIT;

	if (digest_bytes(content, sha256, &err) < 0)
		assert(false);
	buf_addf(sums, "%s  %s\n", sha256, name);
}

void fixture_zstd(struct buf *out, struct span bytes, int window_log)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	const size_t bound = ZSTD_compressBound(bytes.len) + 64;
	ZSTD_inBuffer in = { .src = bytes.ptr, .size = bytes.len };
	ZSTD_outBuffer to;
	size_t left;

	assert(context);
	if (window_log > 0)
		(void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
	buf_reserve(out, bound);
	to = (ZSTD_outBuffer){ .dst = out->ptr + out->len, .size = bound };
	/* Streamed, so that the size is not known in advance and the window is the one asked for.
	 */
	left = ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue);
	assert(!ZSTD_isError(left));
	left = ZSTD_compressStream2(context, &to, &in, ZSTD_e_end);
	assert(left == 0);
	buf_advance(out, to.pos);
	(void)ZSTD_freeCCtx(context);
}

void fixture_bundle_tar(struct buf *out, const struct fixture_member *members, size_t count)
{
	AUTO_BUF sums = BUF_INIT;

	for (size_t i = 0; i < count; i++)
		fixture_sum(&sums, members[i].name, members[i].content);
	fixture_tar_file(out, "SHA256SUMS", buf_span(&sums));
	for (size_t i = 0; i < count; i++) {
		fixture_tar_header(out, members[i].name, members[i].type ? members[i].type : '0',
				   members[i].content.len);
		buf_add(out, members[i].content);
		pad(out);
	}
	fixture_tar_end(out);
}

int fixture_file(struct span bytes)
{
	const int fd = memfd_create("bundle", MFD_CLOEXEC);

	if (fd < 0 || fd_write_all(fd, bytes) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		assert(false);
	return fd;
}
