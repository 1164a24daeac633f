/* Borrowed bytes, never terminated: what parsers take. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const uint8_t *ptr;
	size_t len;
};

static inline struct span span_of(const void *ptr, size_t len)
{
	return (struct span){ .ptr = ptr, .len = len };
}

static inline struct span span_str(const char *text)
{
	return span_of(text, strlen(text));
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The bytes from `from` on; empty when there are fewer. */
static inline struct span span_skip(struct span s, size_t from)
{
	return from >= s.len ? span_of(s.ptr, 0) : span_of(s.ptr + from, s.len - from);
}
