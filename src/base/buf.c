#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char buf_empty[1];

void buf_done(struct buf *buf)
{
	if (buf->cap > 0)
		mem_free(buf->ptr);
	*buf = BUF_INIT;
}

void buf_clear(struct buf *buf)
{
	buf_truncate(buf, 0);
}

void buf_reserve(struct buf *buf, size_t extra)
{
	size_t need, cap;

	/* Only a bug can ask for this much: sizes from peers are limited before they come here. */
	if (__builtin_add_overflow(buf->len, extra, &need) || need > SIZE_MAX / 2 - 1)
		abort();
	if (buf->cap > need)
		return;
	cap = buf->cap < 64 ? 64 : buf->cap;
	while (cap <= need)
		cap *= 2;
	buf->ptr = mem_grow(buf->cap > 0 ? buf->ptr : NULL, cap, 1);
	buf->cap = cap;
	buf->ptr[buf->len] = '\0';
}

void buf_advance(struct buf *buf, size_t count)
{
	assert(count < buf->cap - buf->len || count == 0);
	buf->len += count;
	if (buf->cap > 0)
		buf->ptr[buf->len] = '\0';
}

void buf_add(struct buf *buf, struct span bytes)
{
	if (bytes.len == 0)
		return;
	buf_reserve(buf, bytes.len);
	memcpy(buf->ptr + buf->len, bytes.ptr, bytes.len);
	buf_advance(buf, bytes.len);
}

void buf_add_str(struct buf *buf, const char *text)
{
	buf_add(buf, span_str(text));
}

void buf_add_byte(struct buf *buf, uint8_t byte)
{
	buf_add(buf, span_of(&byte, 1));
}

void buf_vaddf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0)
		abort();
	buf_reserve(buf, (size_t)n);
	n = vsnprintf(buf->ptr + buf->len, buf->cap - buf->len, format, args);
	if (n < 0)
		abort();
	buf_advance(buf, (size_t)n);
}

void buf_addf(struct buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vaddf(buf, format, args);
	va_end(args);
}

void buf_add_be16(struct buf *buf, uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)(value & 0xFF) };

	buf_add(buf, span_of(bytes, sizeof(bytes)));
}

void buf_add_be32(struct buf *buf, uint32_t value)
{
	buf_add_be16(buf, (uint16_t)(value >> 16));
	buf_add_be16(buf, (uint16_t)(value & 0xFFFF));
}

void buf_consume(struct buf *buf, size_t count)
{
	assert(count <= buf->len);
	if (count == 0)
		return;
	memmove(buf->ptr, buf->ptr + count, buf->len - count);
	buf_truncate(buf, buf->len - count);
}

void buf_truncate(struct buf *buf, size_t len)
{
	assert(len <= buf->len);
	buf->len = len;
	if (buf->cap > 0)
		buf->ptr[len] = '\0';
}

char *buf_detach(struct buf *buf)
{
	char *text;

	buf_reserve(buf, 0);
	text = buf->ptr;
	*buf = BUF_INIT;
	return text;
}
