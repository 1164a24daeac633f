/* What a kernel without a bzImage's header calls itself: the banner in its read-only data. */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "kernel/image.h"

/*
 * Looks for "Linux version RELEASE " in these bytes; false when it is not there as a whole. The
 * format string that the kernel has beside the banner is none. Pure.
 */
bool kernel_banner_find(struct span bytes, char ret[static KERNEL_RELEASE_MAX + 1]) MUST_CHECK;

/* The same in a file, which may be large. "" when there is none. The offset of `fd` does not move.
 */
int kernel_banner_read(int fd, const struct cancel *cancel, char ret[static KERNEL_RELEASE_MAX + 1],
		       struct err *err) MUST_CHECK;
