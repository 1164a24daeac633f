/*
 * An owned, growing run of bytes. `ptr` is never NULL after buf_init() and always has a NUL after
 * `len`, so text can be read as a C string. Passed by pointer, so it cannot go stale.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

struct buf {
	char *ptr;  /* owned, or the shared empty string while cap is 0 */
	size_t len; /* bytes used, without the terminator */
	size_t cap; /* bytes allocated */
};

extern char buf_empty[1];
#define BUF_INIT ((struct buf){ .ptr = buf_empty, .len = 0, .cap = 0 })

void buf_done(struct buf *buf);
#define AUTO_BUF CLEANUP(buf_done) struct buf

/* Empties it and keeps the memory. */
void buf_clear(struct buf *buf);

/* Room for `extra` more bytes and the terminator, at ptr + len; buf_advance() says how many came.
 */
void buf_reserve(struct buf *buf, size_t extra);
void buf_advance(struct buf *buf, size_t count);

void buf_add(struct buf *buf, struct span bytes);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_byte(struct buf *buf, uint8_t byte);
void buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
void buf_add_be16(struct buf *buf, uint16_t value);
void buf_add_be32(struct buf *buf, uint32_t value);

/* Drops `count` bytes from the front. */
void buf_consume(struct buf *buf, size_t count);

/* Cuts to `len`, which must not be more than there is. */
void buf_truncate(struct buf *buf, size_t len);

static inline struct span buf_span(const struct buf *buf)
{
	return span_of(buf->ptr, buf->len);
}

/* Gives the bytes away as a terminated heap string; the buffer is empty afterwards. */
char *buf_detach(struct buf *buf) MUST_CHECK;
