/*
 * "docker-archive:FILE": what `docker save`, `podman save` and `skopeo copy` write: a tar with
 * manifest.json, a config and one tar a layer. Only its headers are read here, by our own small
 * parser (tar_index.h); a layer is a range of the file, and is copied into the blob cache under its
 * digest while it is verified.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"
#include "oci/blobs.h"
#include "oci/manifest.h"

struct oci_archive;

/* ERR_NOT_FOUND without the file; ERR_UNSUPPORTED for a compressed one; ERR_PROTOCOL for no tar. */
int oci_archive_open(const char *path, const struct cancel *cancel, struct oci_archive **ret,
		     struct err *err) MUST_CHECK;

/* NULL is accepted. */
void oci_archive_free(struct oci_archive *archive);
DEFINE_FREEP(oci_archive, oci_archive_free);

/*
 * The one image in it: config and layers as a manifest would have them (a layer's digest is that of
 * the member's bytes), and the config's bytes (appended). Reads layers that are compressed once,
 * for their digests.
 */
int oci_archive_image(struct oci_archive *archive, const struct cancel *cancel,
		      struct oci_manifest *ret_manifest, struct buf *ret_config, struct err *err)
	MUST_CHECK;

/* A source for oci_blobs_get(): copies a layer of oci_archive_image() out of the archive. */
struct oci_blob_source oci_archive_source(struct oci_archive *archive);

/* --- manifest.json: a pure parser --- */

#define OCI_ARCHIVE_MANIFEST_BYTES_MAX OCI_MANIFEST_BYTES_MAX

struct oci_archive_manifest {
	char *config;	    /* owned: the member's name */
	struct strv layers; /* members' names, the lowest first; at least one */
};

#define OCI_ARCHIVE_MANIFEST_INIT ((struct oci_archive_manifest){ .config = NULL })

/* ERR_INVALID when there is not exactly one image. */
int oci_archive_manifest_parse(struct span text, struct oci_archive_manifest *ret, struct err *err)
	MUST_CHECK;
void oci_archive_manifest_done(struct oci_archive_manifest *manifest);
#define AUTO_OCI_ARCHIVE_MANIFEST CLEANUP(oci_archive_manifest_done) struct oci_archive_manifest
