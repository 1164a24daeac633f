/* Small kernels, modules and archives made by the tests themselves. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "kernel/extract.h"

void put16(struct buf *buf, size_t at, uint16_t value);
void put32(struct buf *buf, size_t at, uint32_t value);
void put64(struct buf *buf, size_t at, uint64_t value);

/* Zeros up to `size`. */
void pad_to(struct buf *buf, size_t size);

#define FIXTURE_SEGMENT_0 64 /* offsets of the ELF fixture's program headers */
#define FIXTURE_SEGMENT_1 (64 + 56)
#define FIXTURE_NOTE	  (64 + 2 * 56)
#define FIXTURE_ELF_SIZE  1024

/* A good vmlinux: two loaded segments of 256 bytes, entry in the first, and a PVH note. */
void fixture_elf(struct buf *out);

/* A good bzImage with `payload` in it, release "6.1.0-1-test" and version "6.1.2-3". */
void fixture_bzimage(struct span payload, struct buf *out);

/* A module with a .modinfo of `modinfo` (its entries end with NUL). */
void fixture_module(struct span modinfo, struct buf *out);

/* Compresses in the way that the kernel's build does, the size behind it where the build puts one.
 */
void fixture_compress(enum kernel_compression compression, struct span bytes, struct buf *out);
