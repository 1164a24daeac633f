/*
 * An empty qcow2 file: what `qemu-img create -f qcow2` makes, without the start of a program that
 * takes longer than all the rest of making a VM. Writing only, of files that nobody has had yet;
 * everything that reads or changes one is QEMU's (its docs/interop/qcow2.txt is the format).
 */
#pragma once

#include <stdint.h>

#include "base/macros.h"

#define QCOW2_SIZE_MAX (1ULL << 51) /* what a table of QEMU's 32 MiB can map */

/* Fills a new file. `size_bytes`: a multiple of 512, 1 to QCOW2_SIZE_MAX. */
int qcow2_write_empty(int fd, uint64_t size_bytes) MUST_CHECK;
