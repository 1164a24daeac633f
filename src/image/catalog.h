/*
 * What `image pull NAME` knows: recipes (built from packages, image.h), OCI references, and bundles
 * (bundle.h). The entries shipped with banger, and the user's own from CONFIG_DIR/catalog.json
 * (docs/formats.md), which take the place of a
 * shipped one of the same name.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "image/image.h"
#include "kernel/digest.h"

enum image_source_kind {
	IMAGE_SOURCE_RECIPE,
	IMAGE_SOURCE_OCI,
	IMAGE_SOURCE_BUNDLE,
	IMAGE_SOURCE_KIND_COUNT,
};

/* The stable word: "recipe", "oci", "bundle". */
const char *image_source_kind_name(enum image_source_kind kind);

/* Strings are owned. */
struct image_source {
	char *name;
	char *description; /* one line for people; "" when the user gave none */
	enum image_source_kind kind;
	const struct image_recipe *recipe; /* borrowed; RECIPE only */
	char *reference;		   /* OCI only: "docker.io/library/alpine:3.20" */
	char *url;			   /* BUNDLE only, as the next two */
	char sha256[SHA256_TEXT_SIZE];
	uint64_t size_bytes;
	char *kernel;	 /* default kernel of the image, never NULL */
	bool is_default; /* of the shipped ones */
	bool is_users;	 /* from catalog.json */
};

struct image_catalog {
	struct image_source *items; /* owned; sorted by name */
	size_t count;
};

/* As kernel_catalog_load() (kernel/catalog.h). */
int image_catalog_load(const char *config_dir, struct image_catalog *ret, struct err *err)
	MUST_CHECK;
void image_catalog_done(struct image_catalog *catalog);
#define AUTO_IMAGE_CATALOG CLEANUP(image_catalog_done) struct image_catalog

/* Borrowed from the catalog; NULL when there is none. */
const struct image_source *image_catalog_find(const struct image_catalog *catalog,
					      const char *name);

/* The entry as `image catalog --json` has it. */
json_t *image_source_json(const struct image_source *source) MUST_CHECK;

/*
 * Appends the entries of the array "images" in what catalog_parse() gave; an earlier one of the
 * same name is replaced. Pure.
 */
int image_catalog_parse(const json_t *catalog, const char *file, bool is_users,
			struct image_catalog *ret, struct err *err) MUST_CHECK;
