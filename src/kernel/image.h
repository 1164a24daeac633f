/*
 * What a kernel file is, from a bounded read of its headers: pure functions over bytes. Two formats
 * are accepted, both for x86-64: ELF (vmlinux) and bzImage. Anything else is refused with what was
 * found.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define KERNEL_HEAD_SIZE     (64U << 10) /* what is read of a file: setup code and program headers */
#define KERNEL_FILE_SIZE_MAX (1ULL << 30) /* a kernel with full debug information is 800 MiB */
#define KERNEL_RELEASE_MAX   127	  /* bytes of a release or version name */

enum kernel_format {
	KERNEL_FORMAT_ELF,
	KERNEL_FORMAT_BZIMAGE,
	KERNEL_FORMAT_COUNT,
};

struct kernel_image {
	enum kernel_format format;

	/* ELF */
	uint64_t entry;
	uint64_t note_offset; /* the PT_NOTE segment that kernel_image_read() looks into; size 0:
				 none */
	uint64_t note_size;
	bool has_pvh; /* set by kernel_image_read() and kernel_image_notes() */
	uint32_t pvh_entry;

	/* bzImage */
	uint16_t boot_protocol;	 /* 0x020f and so on */
	uint64_t payload_offset; /* of the compressed vmlinux in the file */
	uint64_t payload_size;
	char release[KERNEL_RELEASE_MAX +
		     1]; /* "6.1.0-56-cloud-amd64", or "" when the file has none */
	char version[KERNEL_RELEASE_MAX +
		     1]; /* Debian's "6.1.176-1" when the banner has it, else "" */
};

/* The stable word for a format: "elf", "bzimage". */
const char *kernel_format_name(enum kernel_format format);

/*
 * Reads the headers from the first bytes of a file (up to KERNEL_HEAD_SIZE of them) whose whole
 * size is `file_size`. ERR_INVALID says what was found instead.
 */
int kernel_image_parse(struct span head, uint64_t file_size, struct kernel_image *ret,
		       struct err *err) MUST_CHECK;

/* Looks for Xen's PVH entry note in the bytes of a PT_NOTE segment; malformed notes end the search.
 */
void kernel_image_notes(struct span notes, struct kernel_image *image);

/* The same from a regular file, notes included. The offset of `fd` does not move. */
int kernel_image_read(int fd, struct kernel_image *ret, struct err *err) MUST_CHECK;
