/*
 * Images as one file: .tar.zst with exactly these members, regular files all:
 *
 *     SHA256SUMS        first: "HEX  NAME" for each other member, and for nothing else
 *     image.json        optional: its default kernel (docs/formats.md)
 *     root.ext4         the root file system
 *     work-seed.ext4    optional: the work seed; without it an empty one is made
 *
 * The file has been verified as a whole, by size and SHA-256, before its first byte is looked at
 * (fetch.h); how it is unpacked is in kernel/unpack.h. The file systems are taken as they are; of
 * each, the superblock is checked, and a confined worker looks for an init (inspect.h).
 */
#pragma once

#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "model/artifact.h"

struct image_bundle_request {
	const char *images_dir;	    /* absolute */
	const char *name;	    /* of the new image */
	int fd;			    /* borrowed: the verified bundle, at its start */
	const char *source;	    /* where it is from, for the record: its URL */
	const char *digest;	    /* "sha256:HEX" of the bundle, for the record */
	const char *kernel;	    /* default kernel when the bundle names none */
	uint64_t bytes_max;	    /* of each file system; 0: the writer's default (ext4.h) */
	const char *worker_program; /* answers to "--worker inspect"; NULL: the running program */
};

/* An image with that name is replaced when the new one is whole, and only then. */
int image_bundle_install(const struct image_bundle_request *request, const struct cancel *cancel,
			 const struct progress *progress, struct image_record *ret, struct err *err)
	MUST_CHECK;
