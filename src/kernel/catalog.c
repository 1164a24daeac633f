#include "kernel/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/names.h"

#define PACKAGE_NAME_MAX 128

struct entry {
	char *name;
	char *kind;
	char *description;
	char *package;
	char *suite;
	char *url;
	char *sha256;
	uint64_t size_bytes;
};

#define FIELD(name_, type_, required_)                                    \
	{                                                                 \
		.name = #name_, .type = (type_), .required = (required_), \
		.offset = offsetof(struct entry, name_)                   \
	}
static const struct json_field fields[] = {
	FIELD(name, JSON_FIELD_STRING, true),	      FIELD(kind, JSON_FIELD_STRING, true),
	FIELD(description, JSON_FIELD_STRING, false), FIELD(package, JSON_FIELD_STRING, false),
	FIELD(suite, JSON_FIELD_STRING, false),	      FIELD(url, JSON_FIELD_STRING, false),
	FIELD(sha256, JSON_FIELD_STRING, false),      FIELD(size_bytes, JSON_FIELD_POSITIVE, false),
};

static void entry_done(struct entry *entry)
{
	json_fields_done(fields, ARRAY_LEN(fields), entry);
}

void kernel_catalog_done(struct kernel_catalog *catalog)
{
	mem_free(catalog->items);
	strv_done(&catalog->texts);
	*catalog = (struct kernel_catalog){ .items = NULL };
}

const struct kernel_source *kernel_catalog_find(const struct kernel_catalog *catalog,
						const char *name)
{
	for (size_t i = 0; i < catalog->count; i++)
		if (str_eq(catalog->items[i].name, name))
			return &catalog->items[i];
	return NULL;
}

/* --- entries --- */

static int find_kind(const char *name, enum kernel_source_kind *ret, struct err *err)
{
	for (size_t i = 0; i < KERNEL_SOURCE_KIND_COUNT; i++) {
		if (!str_eq(name, kernel_source_kind_name((enum kernel_source_kind)i)))
			continue;
		*ret = (enum kernel_source_kind)i;
		return 0;
	}
	return err_set(err, ERR_INVALID, "kind: '%s' is neither 'package' nor 'bundle'", name);
}

/* Debian's rule for names of packages; those of suites are no wider. They become arguments of
 * programs, so no dash may come first. */
static int check_debian_name(const char *member, const char *name, struct err *err)
{
	size_t len = 0;

	while ((name[len] >= 'a' && name[len] <= 'z') || (name[len] >= '0' && name[len] <= '9') ||
	       (len > 0 && name[len] != '\0' && strchr("+-.", name[len])))
		len++;
	if (name[len] == '\0' && len > 0 && len <= PACKAGE_NAME_MAX)
		return 0;
	return err_set(err, ERR_INVALID, "%s: '%s' is no name that Debian would have", member,
		       name);
}

static int check_entry(const struct entry *entry, enum kernel_source_kind *ret, struct err *err)
{
	enum kernel_source_kind kind = KERNEL_SOURCE_PACKAGE;
	struct err why = ERR_INIT;
	int r;

	if (name_check_kernel(entry->name, &why) < 0)
		return err_set(err, ERR_INVALID, "name: %s", why.message);
	r = find_kind(entry->kind, &kind, err);
	if (r < 0)
		return r;
	const bool is_bundle = kind == KERNEL_SOURCE_BUNDLE;
	const struct catalog_member members[] = {
		{ "package", entry->package, !is_bundle },
		{ "suite", entry->suite, !is_bundle },
		{ "url", entry->url, is_bundle },
		{ "sha256", entry->sha256, is_bundle },
		{ "size_bytes", entry->size_bytes, is_bundle },
	};

	r = catalog_check_members(entry->kind, members, ARRAY_LEN(members), err);
	if (r == 0)
		r = catalog_check_description(entry->description, err);
	if (r == 0 && is_bundle)
		r = catalog_check_bundle(
			&(struct catalog_bundle){ entry->url, entry->sha256, entry->size_bytes },
			err);
	if (r == 0 && !is_bundle)
		r = check_debian_name("package", entry->package, err);
	if (r == 0 && !is_bundle)
		r = check_debian_name("suite", entry->suite, err);
	if (r == 0)
		*ret = kind;
	return r;
}

/* The catalog keeps the text; NULL stays NULL. */
static const char *keep(struct kernel_catalog *catalog, const char *text)
{
	if (!text)
		return NULL;
	strv_add(&catalog->texts, text);
	return catalog->texts.items[catalog->texts.count - 1];
}

static void put(struct kernel_catalog *catalog, const struct kernel_source *source)
{
	size_t i = 0;

	while (i < catalog->count && !str_eq(catalog->items[i].name, source->name))
		i++;
	if (i == catalog->count)
		catalog->items =
			mem_grow(catalog->items, ++catalog->count, sizeof(*catalog->items));
	catalog->items[i] = (struct kernel_source){
		.name = keep(catalog, source->name),
		.kind = source->kind,
		.package = keep(catalog, source->package),
		.suite = keep(catalog, source->suite),
		.url = keep(catalog, source->url),
		.sha256 = keep(catalog, source->sha256),
		.size_bytes = source->size_bytes,
		.description = keep(catalog, source->description),
		.is_default = source->is_default,
		.is_users = source->is_users,
	};
}

static int add_entry(const json_t *value, bool is_users, struct kernel_catalog *catalog,
		     struct strv *seen, struct err *err)
{
	CLEANUP(entry_done) struct entry entry = { .name = NULL };
	enum kernel_source_kind kind = KERNEL_SOURCE_PACKAGE;
	const struct kernel_source *old;
	int r;

	r = json_read_fields(value, fields, ARRAY_LEN(fields), &entry, err);
	if (r == 0)
		r = check_entry(&entry, &kind, err);
	if (r < 0)
		return r;
	if (strv_has(seen, entry.name))
		return err_set(err, ERR_INVALID, "name: '%s' is there twice", entry.name);
	strv_add(seen, entry.name);
	old = kernel_catalog_find(catalog, entry.name);
	put(catalog, &(struct kernel_source){
			     .name = entry.name,
			     .kind = kind,
			     .package = entry.package,
			     .suite = entry.suite,
			     .url = entry.url,
			     .sha256 = entry.sha256,
			     .size_bytes = entry.size_bytes,
			     .description = entry.description ? entry.description : "",
			     .is_default = old && old->is_default,
			     .is_users = is_users,
		     });
	return 0;
}

int kernel_catalog_parse(const json_t *catalog, const char *file, bool is_users,
			 struct kernel_catalog *ret, struct err *err)
{
	const json_t *array = json_object_get(catalog, "kernels");
	AUTO_STRV seen = { .count = 0 };
	const json_t *value;
	size_t i;

	if (json_array_size(array) > CATALOG_ENTRIES_MAX)
		return err_set(err, ERR_LIMIT, "%s: kernels: more than %d entries", file,
			       CATALOG_ENTRIES_MAX);
	json_array_foreach(array, i, value) {
		const int r = add_entry(value, is_users, ret, &seen, err);

		if (r < 0)
			return err_context(err, r, "%s: kernels[%zu]", file, i);
	}
	return 0;
}

/* --- the whole --- */

static int by_name(const void *a, const void *b)
{
	const struct kernel_source *left = a;
	const struct kernel_source *right = b;

	return strcmp(left->name, right->name);
}

static int add_users(const char *config_dir, struct kernel_catalog *catalog, struct err *err)
{
	AUTO_JSON *file = NULL;
	AUTO_FREE char *path = NULL;
	int r;

	r = catalog_read_users(config_dir, &file, &path, err);
	return r < 0 || !file ? r : kernel_catalog_parse(file, path, true, catalog, err);
}

int kernel_catalog_load(const char *config_dir, struct kernel_catalog *ret, struct err *err)
{
	AUTO_KERNEL_CATALOG catalog = { .items = NULL };
	AUTO_JSON *own = NULL;
	const struct kernel_source *sources;
	size_t count;
	int r;

	sources = kernel_sources(&count);
	for (size_t i = 0; i < count; i++)
		put(&catalog, &sources[i]);
	r = catalog_read_own(&own, err);
	if (r == 0)
		r = kernel_catalog_parse(own, CATALOG_OWN_FILE, false, &catalog, err);
	if (r == 0 && config_dir)
		r = add_users(config_dir, &catalog, err);
	if (r < 0)
		return r;
	if (catalog.count > 0)
		qsort(catalog.items, catalog.count, sizeof(*catalog.items), by_name);
	*ret = catalog;
	catalog = (struct kernel_catalog){ .items = NULL };
	return 0;
}
