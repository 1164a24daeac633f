/*
 * Writes the memory of a stopped guest to a file, from outside of QEMU and without its help: the
 * same for memory of its own and for a clone's, which is a copy-on-write map of a file.
 *
 * What is the process's own is told by /proc/PID/pagemap: of plain memory every page that is there,
 * of a clone's those that it has written to. These are read; the rest is a hole, or comes from the
 * clone's file, as a reflink where the file system can. Pages of zeros become holes.
 *
 * Needs the right to look into QEMU: CAP_SYS_PTRACE, or the same user (kernel.yama.ptrace_scope at
 * most 1: QEMU is our child).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

#define GUEST_MEMORY_CHUNK (2ULL * 1024 * 1024) /* what one step takes: about a millisecond */

struct guest_memory {
	pid_t pid;
	uint64_t address; /* of guest-physical 0, in the process */
	uint64_t size;
	int base_fd; /* borrowed; the file below a clone's memory, -1: none */
	int out_fd;  /* borrowed */
	int map_fd;  /* owned; pagemap */
	bool is_reflinked;
	uint64_t done;	/* bytes of the guest that were dealt with */
	uint64_t read;	/* bytes that were read from the process */
	uint8_t *chunk; /* owned */
};

#define GUEST_MEMORY_INIT ((struct guest_memory){ .base_fd = -1, .out_fd = -1, .map_fd = -1 })

/* Begins; `out_fd` is an empty file, whose size is set. */
int guest_memory_begin(struct guest_memory *memory, struct err *err) MUST_CHECK;

/* Deals with the next chunk: 1 when there is more, 0 when all is written. */
int guest_memory_step(struct guest_memory *memory, struct err *err) MUST_CHECK;

/* Releases what is owned; the figures stay. */
void guest_memory_done(struct guest_memory *memory);
