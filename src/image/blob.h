/*
 * A layer's blob, uncompressed: gzip with any number of members, zstd with any number of frames and
 * a window of 128 MiB at most, or as it is. What stands behind the last member is refused, and so
 * is an empty file. Checksums within are checked.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "image/layers.h"

#define BLOB_WINDOW_LOG_MAX                                            \
	27 /* what zstd itself promises to read without being asked to \
	    */

struct blob_output {
	/* Takes the next bytes; a failure ends it and is passed on. */
	int (*take)(void *context, struct span bytes, struct err *err);
	void *context; /* borrowed */
};

/* Reads `fd` from its start to its end; its offset is not moved. ERR_PROTOCOL for damage. */
int blob_uncompress(int fd, enum image_compression compression, const struct blob_output *output,
		    struct err *err) MUST_CHECK;
