/*
 * The unpacking of bundles, of kernels and of images: one zstd frame with a tar of regular files
 * whose names are on a list.
 *
 * Theory of operation. A bundle is named in a catalog with its size and SHA-256, so whoever put it
 * there has vouched for its bytes; a server or a wire cannot change them. Still it may be hostile,
 * as the catalog's author may have been careless. What little format there is, is read here by a
 * strict reader of our own, and by libzstd's streaming decoder, which is bounded (window of 128
 * MiB) and fuzzed without end by its makers. An archive library has formats, encodings, sparse maps
 * and extensions that we would have to forbid one by one; a worker process would guard no more than
 * the decoder. So:
 *
 *   - exactly one frame, nothing before or behind it, no skippable frames, no dictionary;
 *   - ustar headers (also GNU's spelling, with its large sizes) with a right checksum, type regular
 *     file; no extension records; after two blocks of zeros only zeros, and not many;
 *   - the first member is SHA256SUMS; the others are exactly those listed there, each once, with
 *     names and sizes that the rules allow; each has its digest checked while it is written;
 *   - blocks of zeros become holes: a bomb costs time, not space, and the sizes are limited.
 *
 * Files are made below a folder's descriptor under names that were checked, with O_EXCL; nothing
 * that was there is opened. The folder is the caller's to remove after a failure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

#define BUNDLE_SUMS_FILE       "SHA256SUMS"
#define BUNDLE_SUMS_MAX	       (4ULL << 20) /* 16 000 modules have 2 MiB */
#define BUNDLE_WINDOW_LOG_MAX  27	    /* 128 MiB: what zstd --long needs, and no more */
#define BUNDLE_TRAILER_MAX     (1ULL << 20) /* zeros behind the last member; tar writes 10 KiB */
#define BUNDLE_MEMBERS_MAX     20000
#define BUNDLE_MEMBER_NAME_MAX 255 /* what a ustar header holds, with its separator */

struct bundle_name {
	const char *name;
	bool is_required;
	uint64_t size_max;
	const char *limit_key; /* below [limits]: what an error names; or NULL */
};

/* What may be in a bundle. All borrowed. */
struct bundle_rules {
	const char *stage; /* the word for progress reports */
	const struct bundle_name *names;
	size_t name_count;
	/* Whether another name is allowed, and how large it may be; NULL: none is. */
	bool (*allow_other)(const char *name, uint64_t *ret_size_max);
	uint64_t total_max; /* bytes of all members */
};

/*
 * Unpacks the bundle in `fd` (from its start; the offset moves) into the empty folder `folder_fd`.
 * SHA256SUMS itself is not kept. Files are not synced.
 */
int bundle_unpack(int fd, const struct bundle_rules *rules, int folder_fd,
		  const struct cancel *cancel, const struct progress *progress, struct err *err)
	MUST_CHECK;

struct fetch_policy;

#define BUNDLE_FETCH_STAGE "download" /* of progress reports: bytes of the bundle, and its size */

/* Where a bundle is from. All borrowed. */
struct bundle_origin {
	const char *url;
	const char *sha256; /* 64 lower-case hexadecimal digits */
	uint64_t size_bytes;
	const struct fetch_policy *policy; /* fetch.h; NULL: its defaults */
	const struct cancel *cancel;	   /* may be NULL, as the next */
	const struct progress *progress;
};

/*
 * Downloads a bundle into a file below `dir` that has no name any more, verified by size and digest
 * while it came. The caller closes it. Errors are those of fetch_file().
 */
int bundle_fetch(const struct bundle_origin *origin, const char *dir, const char *name, int *ret_fd,
		 struct err *err) MUST_CHECK;
