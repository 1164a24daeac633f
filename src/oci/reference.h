/*
 * What a user types to mean an image: "alpine", "ghcr.io/org/img@sha256:...", "127.0.0.1:5000/x:y",
 * "oci:DIR[:TAG]", "docker-archive:FILE". The grammar is the distribution specification's, with
 * docker's defaults (docker.io, library/, latest).
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

#define OCI_REFERENCE_BYTES_MAX	 4096
#define OCI_REPOSITORY_BYTES_MAX 255
#define OCI_TAG_BYTES_MAX	 128

enum oci_reference_kind {
	OCI_REFERENCE_REGISTRY,
	OCI_REFERENCE_LAYOUT,  /* a folder with an OCI image layout */
	OCI_REFERENCE_ARCHIVE, /* a tar file as from `docker save` */
	OCI_REFERENCE_KIND_COUNT,
};

/* Strings are owned; NULL where the kind or the text has none. */
struct oci_reference {
	enum oci_reference_kind kind;
	char *registry;	  /* REGISTRY: "docker.io", "127.0.0.1:5000"; lower case */
	char *repository; /* REGISTRY: "library/alpine" */
	char *tag; /* REGISTRY: "latest" when neither tag nor digest was given. LAYOUT: may be NULL
		    */
	char *digest; /* REGISTRY: "sha256:<hex>", goes before the tag; may be NULL */
	char *path;   /* LAYOUT, ARCHIVE: as written, so perhaps relative */
};

void oci_reference_done(struct oci_reference *reference);
#define AUTO_OCI_REFERENCE CLEANUP(oci_reference_done) struct oci_reference
#define OCI_REFERENCE_INIT ((struct oci_reference){ .kind = OCI_REFERENCE_REGISTRY })

/* ERR_INVALID quotes the text and says what is wrong. `ret` is filled only on success. */
int oci_reference_parse(const char *text, struct oci_reference *ret, struct err *err) MUST_CHECK;

/* Appends the full form, which parses to the same: "docker.io/library/alpine:3.20". */
void oci_reference_to_text(const struct oci_reference *reference, struct buf *out);

/* What a registry is asked for: the digest, else the tag. */
const char *oci_reference_wanted(const struct oci_reference *reference);

/*
 * The name that an image pulled from here gets when the user gives none: "alpine-3.20" from a tag,
 * "alpine-sha256-<12 digits>" from a digest, "DIR" or "DIR-TAG" from a layout, "FILE" without
 * ".tar" from an archive. ERR_INVALID when that is no image name; it is never rewritten to fit.
 */
int oci_reference_image_name(const struct oci_reference *reference, char **ret, struct err *err)
	MUST_CHECK;

/* Whether the text can only be a reference, no name of a catalog entry: it has '/', ':' or '@'. */
bool oci_reference_looks_like_one(const char *text);
