/* Inside src/kernel: the names in kernels/ that are not kernels, and helpers that its files share.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "kernel/kernel.h"

#define STAGING_NEW  ".new-" /* being made */
#define STAGING_OLD  ".old-" /* being removed */
#define STAGING_WORK ".work" /* inside one: temporary files of mmdebstrap */

/* PREFIX + name + "-" + random digits. */
int staging_name(const char *prefix, const char *name, char **ret) MUST_CHECK;

/* Opens kernels/NAME; ERR_NOT_FOUND with a hint when there is none. */
int kernel_open_dir(const char *kernels_dir, const char *name, int *ret_fd, struct err *err)
	MUST_CHECK;

/* Writes kernel.json. */
int kernel_write_record(int dir_fd, const struct kernel *kernel, struct err *err) MUST_CHECK;
