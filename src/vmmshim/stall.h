/*
 * A guest that stands still because the host's file system is full: QEMU keeps what it has written
 * and stops it, so that it never sees an error that would ruin its file systems. It is let go on
 * each second until there is room, and unless somebody has paused it meanwhile.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct vmm;

struct stall {
	uint64_t due_ns; /* when there is something to do; UINT64_MAX: never */
	bool is_on;	 /* it stands still, as far as is known */
	bool is_tried;	 /* it was let go on, and nothing has been heard of it since */
};

#define STALL_INIT ((struct stall){ .due_ns = UINT64_MAX })

/* Takes QEMU's event BLOCK_IO_ERROR; `details` is borrowed, and may be NULL. */
void stall_event(struct vmm *vmm, const json_t *details);

/* In the loop: does what is due. */
void stall_step(struct vmm *vmm);
