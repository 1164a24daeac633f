/*
 * What can be pulled: entries shipped with banger, and the user's own from CONFIG_DIR/catalog.json
 * (docs/formats.md), which take the place of a
 * shipped one of the same name. This has the kernels, and what the
 * images' catalog (image/catalog.h) shares: reading the file.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"
#include "kernel/kernel.h"

#define CATALOG_FILE	    "catalog.json"
#define CATALOG_SIZE_MAX    (4ULL << 20)
#define CATALOG_ENTRIES_MAX 1000
#define CATALOG_URL_MAX	    2048
#define CATALOG_BUNDLE_MAX  (1ULL << 40) /* bytes that an entry may claim */

struct kernel_catalog {
	struct kernel_source *items; /* owned; sorted by name */
	size_t count;
	struct strv texts; /* owned: the strings of the items */
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

#define CATALOG_OWN_FILE "the built-in catalog" /* for messages */

/* The file catalogs/catalog.json as it was when this was built, checked as the user's is. */
int catalog_read_own(json_t **ret, struct err *err) MUST_CHECK;

/*
 * The user's file. *ret is NULL when there is none, else an object with no other members than
 * "images" and "kernels", both arrays. `ret_path` is for messages about what is in it.
 */
int catalog_read_users(const char *config_dir, json_t **ret, char **ret_path, struct err *err)
	MUST_CHECK;

/* The same from bytes; `file` is for messages. Pure. */
int catalog_parse(struct span text, const char *file, json_t **ret, struct err *err) MUST_CHECK;

/* Appends the entries of the array "kernels"; an earlier one of the same name is replaced. Pure. */
int kernel_catalog_parse(const json_t *catalog, const char *file, bool is_users,
			 struct kernel_catalog *ret, struct err *err) MUST_CHECK;

/* Where to download a bundle, and what it is. */
struct catalog_bundle {
	const char *url;
	const char *sha256;
	uint64_t size_bytes;
};

/* The rules of members that both kinds have. Errors begin with the member's name. */
int catalog_check_bundle(const struct catalog_bundle *bundle, struct err *err) MUST_CHECK;
int catalog_check_description(const char *description, struct err *err) MUST_CHECK;

/* A member that the kind of an entry needs, or does not have. */
struct catalog_member {
	const char *name;
	bool is_given;
	bool is_needed;
};
int catalog_check_members(const char *kind, const struct catalog_member *members, size_t count,
			  struct err *err) MUST_CHECK;
