/* One header of a tar that has nothing but regular files. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define USTAR_BLOCK_SIZE ((size_t)512)
#define USTAR_NAME_MAX	 255 /* prefix, separator and name, less one */

struct ustar_member {
	char name[USTAR_NAME_MAX + 2];
	uint64_t size;
};

/*
 * Reads a block of USTAR_BLOCK_SIZE bytes: 1 for a member, 0 for a block of zeros, which ends a
 * tar. POSIX's form and GNU's are taken, the latter with its binary sizes. ERR_INVALID for anything
 * else than a regular file, named with what it is; for a wrong checksum; for fields with bytes that
 * do not belong there. What a name may be is the caller's business.
 */
int ustar_read(struct span block, struct ustar_member *ret, struct err *err) MUST_CHECK;
