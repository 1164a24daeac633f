/*
 * Image indexes, manifests and configs (OCI image specification 1.1, Docker schema 2), as pure
 * parsers of bytes.
 *
 * Registries add fields at will, so unknown ones are skipped, as the specification demands. What is
 * read is checked strictly: types, digests, sizes, media types, and the limits below. A document
 * that could be read as another kind is refused (CVE-2021-41190), and so is whatever would make us
 * ask a host that the document names (foreign layers). Errors name the field and have no context of
 * where the document came from: the caller puts that in front.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"
#include "oci/digest.h"

#define OCI_MANIFEST_BYTES_MAX (4ULL << 20) /* what registries themselves take */
#define OCI_CONFIG_BYTES_MAX   (8ULL << 20)
#define OCI_JSON_VALUES_MAX    65536 /* a value costs jansson fifty times its two bytes of text */
#define OCI_INDEX_ENTRIES_MAX  1024
#define OCI_LAYERS_MAX	       1000 /* the most that limits.layers may be */
#define OCI_BLOB_BYTES_MAX     (1ULL << 40)
#define OCI_STRINGS_MAX	       4096 /* items of Env, Entrypoint or Cmd */
#define OCI_STRING_BYTES_MAX   (1ULL << 20)
#define OCI_SHORT_BYTES_MAX    4096 /* names, tags, media types */

/* What a document is, as its media type says it. */
enum oci_kind {
	OCI_KIND_INDEX,	   /* also Docker's manifest list */
	OCI_KIND_MANIFEST, /* of an image */
	OCI_KIND_OTHER,	   /* something that registries also store */
};

enum oci_compression { OCI_COMPRESSION_NONE, OCI_COMPRESSION_GZIP, OCI_COMPRESSION_ZSTD };

/* "none", "gzip", "zstd" */
const char *oci_compression_name(enum oci_compression compression);

struct oci_descriptor {
	struct oci_digest digest;
	uint64_t size;
};

/* --- platforms --- */

#define OCI_PLATFORM_PART_MAX 31

/* Go's names. An empty variant means the usual one. */
struct oci_platform {
	char os[OCI_PLATFORM_PART_MAX + 1];
	char architecture[OCI_PLATFORM_PART_MAX + 1];
	char variant[OCI_PLATFORM_PART_MAX + 1];
};

/* "OS/ARCHITECTURE" or "OS/ARCHITECTURE/VARIANT" in lower case. */
bool oci_platform_parse(struct span text, struct oci_platform *ret) MUST_CHECK;

/* What this host runs: Linux on its processor. */
void oci_platform_host(struct oci_platform *ret);

/* Two of the three terminators become slashes. */
#define OCI_PLATFORM_TEXT_SIZE sizeof(struct oci_platform)
void oci_platform_text(const struct oci_platform *platform,
		       char ret[static OCI_PLATFORM_TEXT_SIZE]);

/* --- documents --- */

/*
 * Which kind a document is. Its own mediaType, the one it was sent as (NULL or "" when there was
 * none) and what it consists of must agree. ERR_UNSUPPORTED for schema 1.
 */
int oci_document_kind(struct span text, const char *media_type, enum oci_kind *ret, struct err *err)
	MUST_CHECK;

struct oci_index_entry {
	struct oci_descriptor descriptor;
	enum oci_kind kind;
	bool has_platform;
	struct oci_platform platform; /* zero without one, and when no host could match it */
	char *ref_name;		      /* owned: the tag, in layouts; NULL without */
};

struct oci_index {
	struct oci_index_entry *entries; /* owned */
	size_t count;
};

#define OCI_INDEX_INIT ((struct oci_index){ .entries = NULL })

int oci_index_parse(struct span text, struct oci_index *ret, struct err *err) MUST_CHECK;
void oci_index_done(struct oci_index *index);
#define AUTO_OCI_INDEX CLEANUP(oci_index_done) struct oci_index

/*
 * The entry for a platform: the same variant first, then one without; else the only entry that does
 * not say its platform (an index within the index, or a manifest whose config will say).
 * ERR_NOT_FOUND names what there is.
 */
int oci_index_select(const struct oci_index *index, const struct oci_platform *platform,
		     const struct oci_index_entry **ret, struct err *err) MUST_CHECK;

struct oci_layer {
	struct oci_descriptor descriptor;
	enum oci_compression compression;
};

struct oci_manifest {
	struct oci_descriptor config;
	struct oci_layer *layers; /* owned; the lowest first, at least one */
	size_t layer_count;
};

#define OCI_MANIFEST_INIT ((struct oci_manifest){ .layers = NULL })

int oci_manifest_parse(struct span text, struct oci_manifest *ret, struct err *err) MUST_CHECK;
void oci_manifest_done(struct oci_manifest *manifest);
#define AUTO_OCI_MANIFEST CLEANUP(oci_manifest_done) struct oci_manifest

/*
 * An image's config. What it says about running the image is data for the guest: nothing here is
 * interpreted, and no value is too odd to be kept.
 */
struct oci_config {
	char *os; /* owned, as all below */
	char *architecture;
	char *variant; /* NULL when absent, as all below */
	char *created;
	char *user;
	char *working_dir;
	struct strv entrypoint;
	struct strv cmd;
	struct strv env;
	struct oci_digest *diff_ids; /* of the uncompressed layers, the lowest first */
	size_t diff_id_count;
};

#define OCI_CONFIG_INIT ((struct oci_config){ .os = NULL })

int oci_config_parse(struct span text, struct oci_config *ret, struct err *err) MUST_CHECK;
void oci_config_done(struct oci_config *config);
#define AUTO_OCI_CONFIG CLEANUP(oci_config_done) struct oci_config

/* ERR_UNSUPPORTED unless the image is for that platform (any variant, which the index chose). */
int oci_config_check_platform(const struct oci_config *config, const struct oci_platform *platform,
			      struct err *err) MUST_CHECK;
