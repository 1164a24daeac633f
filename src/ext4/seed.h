/* The work seed: what is in the image's /root, as a file system of its own. */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "ext4/writer.h"

/*
 * Copies the folder `path` of `from`, whose content is in its file, to the root of `to`. A path
 * that is no folder leaves `to` as it is.
 */
int seed_copy(struct ext4_writer *from, const char *path, struct ext4_writer *to,
	      const struct cancel *cancel, struct err *err) MUST_CHECK;
