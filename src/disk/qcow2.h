/*
 * qcow2 files without the start of a program that takes longer than all the rest of making a VM:
 * an empty one, as `qemu-img create -f qcow2` makes it, and a larger one, as `qemu-img resize`
 * does. Everything else that reads or changes one is QEMU's (its docs/interop/qcow2.txt is the
 * format).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

#define QCOW2_SIZE_MAX (1ULL << 51) /* what a table of QEMU's 32 MiB can map */

/* Fills a new file. `size_bytes`: a multiple of 512, 1 to QCOW2_SIZE_MAX. */
int qcow2_write_empty(int fd, uint64_t size_bytes) MUST_CHECK;

#define QCOW2_HEADER_BYTES 104 /* of version 3, what every such file has */

/*
 * Whether a file with this header, of which nobody has it open, becomes a disk of `size_bytes` by
 * writing that into it: the table of level 1 has room already, which those of qcow2_write_empty()
 * have up to 4 TiB. *ret_now is the size that it has. Pure.
 */
bool qcow2_has_room(struct span header, uint64_t size_bytes, uint64_t *ret_now) MUST_CHECK;

/*
 * Does that, on stable storage when it returns 0. -EINVAL when it would shrink, -ENOTSUP when it is
 * not as simple as that.
 */
int qcow2_grow(int fd, uint64_t size_bytes) MUST_CHECK;
