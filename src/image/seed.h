/* Inside src/image: the work seed of images that came without one. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

/* Makes a file system with nothing in it in the empty file `fd`. */
int seed_make_empty(int fd, uint64_t *ret_size_bytes, struct err *err) MUST_CHECK;
