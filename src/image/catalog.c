#include "image/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/catalog.h"
#include "model/names.h"
#include "oci/reference.h"

static const char *const kind_names[] = {
	[IMAGE_SOURCE_RECIPE] = "recipe",
	[IMAGE_SOURCE_OCI] = "oci",
	[IMAGE_SOURCE_BUNDLE] = "bundle",
};
_Static_assert(ARRAY_LEN(kind_names) == IMAGE_SOURCE_KIND_COUNT, "every kind has a name");

struct entry {
	char *name;
	char *kind;
	char *description;
	char *reference;
	char *url;
	char *sha256;
	uint64_t size_bytes;
	char *kernel;
};

#define FIELD(name_, type_, required_)                                    \
	{                                                                 \
		.name = #name_, .type = (type_), .required = (required_), \
		.offset = offsetof(struct entry, name_)                   \
	}
static const struct json_field fields[] = {
	FIELD(name, JSON_FIELD_STRING, true),	       FIELD(kind, JSON_FIELD_STRING, true),
	FIELD(description, JSON_FIELD_STRING, false),  FIELD(reference, JSON_FIELD_STRING, false),
	FIELD(url, JSON_FIELD_STRING, false),	       FIELD(sha256, JSON_FIELD_STRING, false),
	FIELD(size_bytes, JSON_FIELD_POSITIVE, false), FIELD(kernel, JSON_FIELD_STRING, false),
};

static void entry_done(struct entry *entry)
{
	json_fields_done(fields, ARRAY_LEN(fields), entry);
}

static void source_done(struct image_source *source)
{
	mem_free(source->name);
	mem_free(source->description);
	mem_free(source->reference);
	mem_free(source->url);
	mem_free(source->kernel);
}

void image_catalog_done(struct image_catalog *catalog)
{
	for (size_t i = 0; i < catalog->count; i++)
		source_done(&catalog->items[i]);
	mem_free(catalog->items);
	*catalog = (struct image_catalog){ .items = NULL };
}

const char *image_source_kind_name(enum image_source_kind kind)
{
	return kind_names[kind];
}

static struct image_source *find(const struct image_catalog *catalog, const char *name)
{
	for (size_t i = 0; i < catalog->count; i++)
		if (str_eq(catalog->items[i].name, name))
			return &catalog->items[i];
	return NULL;
}

const struct image_source *image_catalog_find(const struct image_catalog *catalog, const char *name)
{
	return find(catalog, name);
}

json_t *image_source_json(const struct image_source *source)
{
	json_t *object = json_new_object();

	json_put_str(object, "name", source->name);
	json_put_str(object, "kind", image_source_kind_name(source->kind));
	json_put_str(object, "description", source->description);
	json_put_str(object, "kernel", source->kernel);
	json_put_bool(object, "default", source->is_default);
	json_put_bool(object, "users", source->is_users);
	if (source->kind == IMAGE_SOURCE_OCI)
		json_put_str(object, "reference", source->reference);
	if (source->kind == IMAGE_SOURCE_BUNDLE) {
		json_put_str(object, "url", source->url);
		json_put_str(object, "sha256", source->sha256);
		json_put_u64(object, "size_bytes", source->size_bytes);
	}
	return object;
}

/* The place for an entry: a new one, or that of the entry whose name it has. */
static struct image_source *claim(struct image_catalog *catalog, const char *name)
{
	struct image_source *source = find(catalog, name);

	if (source) {
		source_done(source);
	} else {
		catalog->items =
			mem_grow(catalog->items, ++catalog->count, sizeof(*catalog->items));
		source = &catalog->items[catalog->count - 1];
	}
	*source = (struct image_source){ .name = mem_strdup(name) };
	return source;
}

/* --- entries of a file --- */

/* Recipes are hooks and lists of packages that belong together: they are part of the program. */
static int find_kind(const char *name, enum image_source_kind *ret, struct err *err)
{
	if (str_eq(name, kind_names[IMAGE_SOURCE_OCI]))
		*ret = IMAGE_SOURCE_OCI;
	else if (str_eq(name, kind_names[IMAGE_SOURCE_BUNDLE]))
		*ret = IMAGE_SOURCE_BUNDLE;
	else
		return err_set(err, ERR_INVALID, "kind: '%s' is neither 'oci' nor 'bundle'", name);
	return 0;
}

static int check_reference(const char *text, struct err *err)
{
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	struct err why = ERR_INIT;

	if (oci_reference_parse(text, &reference, &why) < 0)
		return err_set(err, ERR_INVALID, "reference: %s", why.message);
	if (reference.kind != OCI_REFERENCE_REGISTRY)
		return err_set(err, ERR_INVALID, "reference: '%s' is not in a registry", text);
	return 0;
}

static int check_names(const struct entry *entry, struct err *err)
{
	struct err why = ERR_INIT;

	if (name_check_image(entry->name, &why) < 0)
		return err_set(err, ERR_INVALID, "name: %s", why.message);
	if (entry->kernel && name_check_kernel(entry->kernel, &why) < 0)
		return err_set(err, ERR_INVALID, "kernel: %s", why.message);
	return 0;
}

static int check_entry(const struct entry *entry, enum image_source_kind *ret, struct err *err)
{
	enum image_source_kind kind = IMAGE_SOURCE_OCI;
	int r;

	r = check_names(entry, err);
	if (r == 0)
		r = find_kind(entry->kind, &kind, err);
	if (r < 0)
		return r;
	const bool is_bundle = kind == IMAGE_SOURCE_BUNDLE;
	const struct catalog_member members[] = {
		{ "reference", entry->reference, !is_bundle },
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
		r = check_reference(entry->reference, err);
	if (r == 0)
		*ret = kind;
	return r;
}

static int add_entry(const json_t *value, bool is_users, struct image_catalog *catalog,
		     struct strv *seen, struct err *err)
{
	CLEANUP(entry_done) struct entry entry = { .name = NULL };
	enum image_source_kind kind = IMAGE_SOURCE_OCI;
	struct image_source *source;
	bool is_default;
	int r;

	r = json_read_fields(value, fields, ARRAY_LEN(fields), &entry, err);
	if (r == 0)
		r = check_entry(&entry, &kind, err);
	if (r < 0)
		return r;
	if (strv_has(seen, entry.name))
		return err_set(err, ERR_INVALID, "name: '%s' is there twice", entry.name);
	strv_add(seen, entry.name);
	source = find(catalog, entry.name);
	is_default = source && source->is_default;
	source = claim(catalog, entry.name);
	source->kind = kind;
	source->description = mem_strdup(entry.description ? entry.description : "");
	source->kernel = mem_strdup(entry.kernel ? entry.kernel : KERNEL_DEFAULT_NAME);
	source->reference = TAKE_PTR(entry.reference);
	source->url = TAKE_PTR(entry.url);
	if (entry.sha256)
		memcpy(source->sha256, entry.sha256, sizeof(source->sha256));
	source->size_bytes = entry.size_bytes;
	source->is_default = is_default;
	source->is_users = is_users;
	return 0;
}

int image_catalog_parse(const json_t *catalog, const char *file, bool is_users,
			struct image_catalog *ret, struct err *err)
{
	const json_t *array = json_object_get(catalog, "images");
	AUTO_STRV seen = { .count = 0 };
	const json_t *value;
	size_t i;

	if (json_array_size(array) > CATALOG_ENTRIES_MAX)
		return err_set(err, ERR_LIMIT, "%s: images: more than %d entries", file,
			       CATALOG_ENTRIES_MAX);
	json_array_foreach(array, i, value) {
		const int r = add_entry(value, is_users, ret, &seen, err);

		if (r < 0)
			return err_context(err, r, "%s: images[%zu]", file, i);
	}
	return 0;
}

/* --- the whole --- */

static void add_recipes(struct image_catalog *catalog)
{
	size_t count;
	const struct image_recipe *recipes = image_recipes(&count);

	for (size_t i = 0; i < count; i++) {
		struct image_source *source = claim(catalog, recipes[i].name);

		source->kind = IMAGE_SOURCE_RECIPE;
		source->recipe = &recipes[i];
		source->description = mem_strdup(recipes[i].description);
		source->kernel = mem_strdup(recipes[i].kernel);
		source->is_default = recipes[i].is_default;
	}
}

static int by_name(const void *a, const void *b)
{
	const struct image_source *left = a;
	const struct image_source *right = b;

	return strcmp(left->name, right->name);
}

static int add_users(const char *config_dir, struct image_catalog *catalog, struct err *err)
{
	AUTO_JSON *file = NULL;
	AUTO_FREE char *path = NULL;
	int r;

	r = catalog_read_users(config_dir, &file, &path, err);
	return r < 0 || !file ? r : image_catalog_parse(file, path, true, catalog, err);
}

int image_catalog_load(const char *config_dir, struct image_catalog *ret, struct err *err)
{
	AUTO_IMAGE_CATALOG catalog = { .items = NULL };
	AUTO_JSON *own = NULL;
	int r;

	add_recipes(&catalog);
	r = catalog_read_own(&own, err);
	if (r == 0)
		r = image_catalog_parse(own, CATALOG_OWN_FILE, false, &catalog, err);
	if (r == 0 && config_dir)
		r = add_users(config_dir, &catalog, err);
	if (r < 0)
		return r;
	if (catalog.count > 0)
		qsort(catalog.items, catalog.count, sizeof(*catalog.items), by_name);
	*ret = catalog;
	catalog = (struct image_catalog){ .items = NULL };
	return 0;
}
