/*
 * Where an image comes from, for pull.c: a registry, a layout or an archive behind one interface.
 */
#pragma once

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "oci/manifest.h"
#include "oci/pull.h"

/* What a reference means on a platform. */
struct oci_image {
	struct oci_digest
		digest; /* the manifest's; an archive has none, there it is the config's */
	struct oci_manifest manifest;
	struct buf config; /* verified bytes */
};

#define OCI_IMAGE_INIT ((struct oci_image){ .manifest = OCI_MANIFEST_INIT, .config = BUF_INIT })

void oci_image_done(struct oci_image *image);
#define AUTO_OCI_IMAGE CLEANUP(oci_image_done) struct oci_image

struct oci_source;

/* `request` is borrowed until oci_source_free(). */
int oci_source_open(const struct oci_pull_request *request, const struct cancel *cancel,
		    struct oci_source **ret, struct err *err) MUST_CHECK;

/* NULL is accepted. */
void oci_source_free(struct oci_source *source);
DEFINE_FREEP(oci_source, oci_source_free);

/* Follows indexes to the image for `platform`, and reads its config. `ret` is initialised by the
 * caller. */
int oci_source_resolve(struct oci_source *source, const struct oci_platform *platform,
		       const struct cancel *cancel, struct oci_image *ret, struct err *err)
	MUST_CHECK;

/* A verified read-only descriptor of a layer at offset 0; the caller closes it. From any thread. */
int oci_source_layer(struct oci_source *source, const struct oci_layer *layer,
		     const struct cancel *cancel, const struct progress *progress, int *ret_fd,
		     struct err *err) MUST_CHECK;
