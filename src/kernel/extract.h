/*
 * The uncompressed ELF out of a bzImage: gzip, xz, LZ4 (the legacy frame that the kernel's build
 * makes) and zstd payloads, through their libraries. Output is bounded and given piece by piece.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define KERNEL_VMLINUX_SIZE_MAX (512ULL << 20) /* Debian's is 60 MiB */

enum kernel_compression {
	KERNEL_COMPRESSION_NONE,
	KERNEL_COMPRESSION_GZIP,
	KERNEL_COMPRESSION_XZ,
	KERNEL_COMPRESSION_LZ4,
	KERNEL_COMPRESSION_ZSTD,
	KERNEL_COMPRESSION_COUNT,
};

/* From the first bytes; KERNEL_COMPRESSION_NONE when it is none of them. */
enum kernel_compression kernel_compression_of(struct span bytes);
const char *kernel_compression_name(enum kernel_compression compression);

struct kernel_sink {
	/* 0, or negative with `err` filled. */
	int (*write)(void *context, struct span bytes, struct err *err);
	void *context;	   /* borrowed */
	uint64_t size_max; /* ERR_LIMIT beyond */
	const struct cancel *cancel;
};

/*
 * Uncompresses one stream; bytes after its end are ignored (the kernel's build appends the size
 * there). ERR_INVALID when it is damaged, cut short or not compressed in a way that we know.
 */
int kernel_uncompress(struct span bytes, const struct kernel_sink *sink, struct err *err)
	MUST_CHECK;

/*
 * Writes the ELF in the bzImage `bzimage_fd` to the empty file `out_fd`, and checks that it is an
 * x86-64 ELF with sane headers. The offset of `bzimage_fd` does not move.
 */
int kernel_extract_vmlinux(int bzimage_fd, int out_fd, const struct cancel *cancel, struct err *err)
	MUST_CHECK;
