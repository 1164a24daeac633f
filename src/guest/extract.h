/*
 * Extracts a tar stream of a hostile guest into an empty folder of ours. Rules are in guest/copy.h.
 * Where a path leads is never found out by joining strings: each step is openat2() beneath the
 * folder, without links.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "guest/copy.h"

struct extract {
	int dir_fd;	    /* borrowed: empty, and nobody else writes to it */
	const char *wanted; /* the one name that entries may begin with */
	uint64_t bytes_max; /* content; 0: no limit */

	/* The next bytes of the stream, borrowed until the next call; empty at the end, < 0 with
	 * `err`. */
	int (*read)(void *context, struct span *ret, struct err *err);
	void *context;

	/* As in struct guest_get. */
	void (*left_out)(void *context, const char *path, const char *target);
	void *left_out_context;
};

/* On failure the folder holds whatever was extracted before: the caller removes it. */
int extract_tar(const struct extract *extract, struct guest_copied *ret, struct err *err)
	MUST_CHECK;

/*
 * Whether a path of an entry is one that may be extracted: `wanted`, or below it; no empty, "." or
 * ".." component; at most GUEST_PATH_MAX bytes and GUEST_GET_DEPTH_MAX components. A trailing slash
 * is allowed. Pure.
 */
bool extract_path_is_safe(const char *path, const char *wanted) MUST_CHECK;

/*
 * Whether a symlink at `path` (which is safe) may have this target: relative, ".." only at its
 * beginning and not beyond what is extracted, so that it leads nowhere else whatever other links
 * there are. Pure.
 */
bool extract_link_is_safe(const char *path, const char *target) MUST_CHECK;
