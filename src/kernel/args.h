/* The kernel command line, when it comes from outside. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/*
 * At most LIMIT_KERNEL_ARGS_BYTES of printable ASCII, as the VMM wants it; tabs and newlines are
 * not printable. ERR_LIMIT or ERR_INVALID names the problem and where it is. Words are not judged:
 * the guest belongs to whoever chose them.
 */
int kernel_args_check(struct span args, struct err *err) MUST_CHECK;
