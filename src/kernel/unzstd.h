/* Inside src/kernel: one zstd frame in a file, as a stream of bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct unzstd;

/* `fd` is borrowed, and read from where it stands. */
int unzstd_new(int fd, int window_log_max, struct unzstd **ret, struct err *err) MUST_CHECK;
void unzstd_free(struct unzstd *stream);
DEFINE_FREEP(unzstd, unzstd_free);

/*
 * Fills `into` up to `size` bytes; fewer only at the end, which is the end of the frame and of the
 * file at once. ERR_INVALID: no zstd, damaged, cut short, skippable frames, or anything behind the
 * frame; ERR_LIMIT: a window larger than allowed.
 */
int unzstd_read(struct unzstd *stream, void *into, size_t size, size_t *ret_size, struct err *err)
	MUST_CHECK;

/* How many bytes of the file have been read. */
uint64_t unzstd_position(const struct unzstd *stream);
