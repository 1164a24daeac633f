/*
 * What can be pulled: entries shipped with banger, and the user's own from CONFIG_DIR/catalog.json
 * (docs/formats.md), which come first when a name is in both. This has the kernels, and what the
 * images' catalog (image/catalog.h) shares: reading the file.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "kernel/kernel.h"

#define CATALOG_FILE	    "catalog.json"
#define CATALOG_SIZE_MAX    (4ULL << 20)
#define CATALOG_ENTRIES_MAX 1000
#define CATALOG_URL_MAX	    2048
#define CATALOG_BUNDLE_MAX  (1ULL << 40) /* bytes that an entry may claim */

struct kernel_catalog {
	struct kernel_source *items; /* owned, their strings too; sorted by name */
	size_t count;
};

/*
 * The shipped entries and those of `config_dir`/catalog.json, if it is there. ERR_INVALID has the
 * file with line and column, or the member that is wrong ("catalog.json: kernels[2].sha256: ...").
 * `config_dir` NULL: only the shipped ones.
 */
int kernel_catalog_load(const char *config_dir, struct kernel_catalog *ret, struct err *err)
	MUST_CHECK;
void kernel_catalog_done(struct kernel_catalog *catalog);
#define AUTO_KERNEL_CATALOG CLEANUP(kernel_catalog_done) struct kernel_catalog

/* Borrowed from the catalog; NULL when there is none. */
const struct kernel_source *kernel_catalog_find(const struct kernel_catalog *catalog,
						const char *name);

/* --- shared with the images' catalog --- */

/* Reads the user's file as JSON, an object with no other members than "images" and "kernels". `ret`
 * is NULL when there is no file. */
int catalog_read_file(const char *config_dir, json_t **ret, struct err *err) MUST_CHECK;

/* The same from bytes; `file` is for messages. Pure. */
int catalog_parse(struct span text, const char *file, json_t **ret, struct err *err) MUST_CHECK;

/* Appends the entries of the array "kernels" (NULL is none). Pure. */
int kernel_catalog_parse(const json_t *catalog, const char *file, struct kernel_catalog *ret,
			 struct err *err) MUST_CHECK;

/* The rules of members that both kinds have; each error says what is wrong, not where. */
int catalog_check_url(const char *url, struct err *err) MUST_CHECK;
int catalog_check_sha256(const char *sha256, struct err *err) MUST_CHECK;
int catalog_check_description(const char *description, struct err *err) MUST_CHECK;
