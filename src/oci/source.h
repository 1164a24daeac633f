/*
 * Where an image comes from, for pull.c: a registry, a layout or an archive. Each has three
 * operations and is freed by its own.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "oci/blobs.h"
#include "oci/manifest.h"

struct oci_image {
	struct oci_digest
		digest; /* the manifest's; an archive has none, there it is the config's */
	struct oci_manifest manifest;
	struct buf config; /* verified bytes */
};

#define OCI_IMAGE_INIT ((struct oci_image){ .manifest = OCI_MANIFEST_INIT, .config = BUF_INIT })

void oci_image_done(struct oci_image *image);
#define AUTO_OCI_IMAGE CLEANUP(oci_image_done) struct oci_image

struct oci_source_ops {
	/* Finds the image for a platform. */
	int (*resolve)(void *source, const struct oci_platform *platform,
		       const struct cancel *cancel, struct oci_image *ret, struct err *err);
	/* A verified read-only descriptor of a layer at offset 0; from any thread. */
	int (*open_layer)(void *source, const struct oci_layer *layer, const struct cancel *cancel,
			  const struct progress *progress, int *ret_fd, struct err *err);
	void (*free)(void *source);
};
