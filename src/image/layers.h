/*
 * Images from the layers of an OCI image.
 *
 * Theory of operation. The layers' blobs become available one after another while they are
 * downloaded. For each, in order, a worker of its own (unpack.h) uncompresses it into a pipe, and
 * one image worker (worker.h) reads the pipes one after another and writes the file system. Some
 * unpack workers run ahead, as far as their pipes hold. So downloading, uncompressing and writing
 * overlap, nothing is written twice, and memory does not depend on the image's size. This process
 * sees neither compressed nor uncompressed bytes: it passes descriptors, watches, and compares what
 * each unpack worker says was the uncompressed stream's digest with what the image's configuration
 * promised.
 *
 * The image is put into its place as by image_build(): whole or not at all.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "image/image.h"
#include "model/artifact.h"

enum image_compression {
	IMAGE_COMPRESSION_NONE,
	IMAGE_COMPRESSION_GZIP,
	IMAGE_COMPRESSION_ZSTD,
	IMAGE_COMPRESSION_COUNT,
};

struct image_layer {
	int blob_fd; /* borrowed: a regular file, whose offset does not matter and is not moved */
	enum image_compression compression;
	const char *diff_id; /* borrowed: "sha256:" and 64 digits, of the uncompressed tar */
};

/* All borrowed. */
struct image_layers_request {
	const char *images_dir; /* absolute */
	const char *name;
	const char *source;		   /* the reference, for the record; may be NULL */
	const char *digest;		   /* of the manifest, for the record; may be NULL */
	const char *kernel;		   /* its default kernel; may be NULL */
	const struct image_config *config; /* may be NULL */
	uint64_t size_bytes;		   /* 0: content times 1.5, at least 1 GiB */
	struct image_limits limits;
	const char *worker_program; /* answers to "--worker"; NULL: the running program */

	size_t layer_count;
	/*
	 * Waits until layer `index` (from 0 on, each once and in order) is there; may take as long
	 * as a download. `ret` and what it borrows must live until image_from_layers() returns. Is
	 * cancelled, through the `cancel` given to it, also when a worker fails meanwhile.
	 */
	int (*next_layer)(void *context, size_t index, const struct cancel *cancel,
			  struct image_layer *ret, struct err *err);
	void *context;
};

/*
 * Makes the image; one with that name is replaced when the new one is whole, and only then.
 * Progress: stage "image" with the bytes of content written. Errors name the layer, from 1 on, and
 * the entry: ERR_PROTOCOL for damaged blobs, wrong digests and workers that died, ERR_LIMIT with
 * the limit's key, ERR_INVALID for what ext4 cannot hold or an image may not have, ERR_TIMEOUT for
 * a worker that hangs, ERR_CANCELLED. After any failure there is no process, no staging folder and
 * no change.
 */
int image_from_layers(const struct image_layers_request *request, const struct cancel *cancel,
		      const struct progress *progress, struct image_record *ret, struct err *err)
	MUST_CHECK;
