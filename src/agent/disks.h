/* The VM's disks: waiting for the device, mounting it, growing its file system to the device's
 * size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define EXT4_SUPER_OFFSET 1024
#define EXT4_SUPER_SIZE	  1024

struct ext4_size {
	uint64_t blocks;
	uint32_t block_bytes;
};

/* From the EXT4_SUPER_SIZE bytes of a superblock. False when it is none. Pure. */
bool ext4_size_parse(struct span superblock, struct ext4_size *ret) MUST_CHECK;

/*
 * Listens to the kernel's announcements; open it before what makes devices appear. An fd or -errno:
 * with that disk_wait() looks now and then instead.
 */
int disk_watch(void) MUST_CHECK;

/* Waits until `device` is there. ERR_TIMEOUT names it. */
int disk_wait(const char *device, int watch_fd, uint64_t deadline_ns, struct err *err) MUST_CHECK;

/*
 * Mounts the ext4 of `device` on `folder` and, unless read-only, grows it to the size of the
 * device. That it could not grow is no failure: `ret_grow_error` is 0 or a -errno.
 */
int disk_mount(const char *device, const char *folder, bool is_read_only, int *ret_grow_error,
	       struct err *err) MUST_CHECK;

/* Waits until `device` has at least so many bytes. ERR_TIMEOUT; `watch_fd` as for disk_wait(). */
int disk_wait_size(const char *device, uint64_t bytes, int watch_fd, uint64_t deadline_ns,
		   struct err *err) MUST_CHECK;

/* Grows the ext4 of `device`, mounted at `folder`, to the size of the device. 0, also when it is
 * that large already, or -errno. */
int disk_grow(const char *device, const char *folder) MUST_CHECK;
