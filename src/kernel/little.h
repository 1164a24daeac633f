/* Little-endian numbers in bytes from outside. The caller has checked that they are there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

static inline uint16_t little16(const uint8_t *from)
{
	return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t little32(const uint8_t *from)
{
	return (uint32_t)little16(from) | (uint32_t)little16(from + 2) << 16;
}

static inline uint64_t little64(const uint8_t *from)
{
	return (uint64_t)little32(from) | (uint64_t)little32(from + 4) << 32;
}

/* The `len` bytes at `offset`, or false when they are not all there. */
static inline bool span_slice(struct span from, uint64_t offset, uint64_t len, struct span *ret)
{
	if (offset > from.len || len > from.len - offset)
		return false;
	*ret = span_of(from.ptr + offset, (size_t)len);
	return true;
}
