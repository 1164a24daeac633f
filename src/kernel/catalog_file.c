#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "fetch/fetch.h"
#include "kernel/catalog.h"

#define DESCRIPTION_MAX 200

/* catalogs/catalog.json, as numbers: made by the build. */
static const uint8_t own_catalog[] = {
#include "catalog.inc"
};

static int check_array(const json_t *catalog, const char *key, struct err *err)
{
	const json_t *array = json_object_get(catalog, key);

	if (!array || json_is_array(array))
		return 0;
	return err_set(err, ERR_INVALID, "%s: must be an array", key);
}

static int check_top(const json_t *catalog, struct err *err)
{
	static const struct json_field fields[] = {
		{ .name = "images", .type = JSON_FIELD_JSON, .offset = 0 },
		{ .name = "kernels", .type = JSON_FIELD_JSON, .offset = sizeof(json_t *) },
	};
	json_t *values[ARRAY_LEN(fields)] = { NULL };
	int r;

	r = json_read_fields(catalog, fields, ARRAY_LEN(fields), values, err);
	if (r < 0)
		return r;
	json_fields_done(fields, ARRAY_LEN(fields), values);
	r = check_array(catalog, "images", err);
	return r == 0 ? check_array(catalog, "kernels", err) : r;
}

int catalog_parse(struct span text, const char *file, json_t **ret, struct err *err)
{
	AUTO_JSON *catalog = NULL;
	struct json_place place;
	struct err problem = ERR_INIT;

	if (text.len > CATALOG_SIZE_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %llu bytes", file, CATALOG_SIZE_MAX);
	if (json_read_file(text, &catalog, &place, &problem) < 0 && place.line > 0)
		return err_set(err, ERR_INVALID, "%s:%u:%u: %s", file, place.line, place.column,
			       problem.message);
	if (!catalog || check_top(catalog, &problem) < 0)
		return err_set(err, ERR_INVALID, "%s: %s", file, problem.message);
	*ret = catalog;
	catalog = NULL;
	return 0;
}

int catalog_read_own(json_t **ret, struct err *err)
{
	return catalog_parse(span_of(own_catalog, sizeof(own_catalog)), CATALOG_OWN_FILE, ret, err);
}

int catalog_read_users(const char *config_dir, json_t **ret, char **ret_path, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/%s", config_dir, CATALOG_FILE);
	AUTO_BUF text = BUF_INIT;
	json_t *catalog = NULL;
	int r;

	r = file_read(AT_FDCWD, path, CATALOG_SIZE_MAX, &text);
	if (r == -ENOENT || r == -ENOTDIR)
		r = 0;
	else if (r < 0)
		return err_sys(err, r, "read '%s'", path);
	else
		r = catalog_parse(buf_span(&text), path, &catalog, err);
	if (r < 0)
		return r;
	*ret = catalog;
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* --- members --- */

static bool is_sha256(const char *text)
{
	size_t len = 0;

	while ((text[len] >= '0' && text[len] <= '9') || (text[len] >= 'a' && text[len] <= 'f'))
		len++;
	return text[len] == '\0' && len == SHA256_TEXT_SIZE - 1;
}

int catalog_check_bundle(const struct catalog_bundle *bundle, struct err *err)
{
	struct err why = ERR_INIT;

	if (strlen(bundle->url) > CATALOG_URL_MAX)
		return err_set(err, ERR_INVALID, "url: more than %d bytes", CATALOG_URL_MAX);
	if (fetch_url_check(bundle->url, NULL, &why) < 0)
		return err_set(err, ERR_INVALID, "url: %s", why.message);
	if (!is_sha256(bundle->sha256))
		return err_set(err, ERR_INVALID,
			       "sha256: '%s' is not 64 hexadecimal digits in lower case",
			       bundle->sha256);
	if (bundle->size_bytes > CATALOG_BUNDLE_MAX)
		return err_set(err, ERR_LIMIT, "size_bytes: more than %llu", CATALOG_BUNDLE_MAX);
	return 0;
}

int catalog_check_description(const char *description, struct err *err)
{
	if (!description)
		return 0;
	if (strlen(description) > DESCRIPTION_MAX)
		return err_set(err, ERR_INVALID, "description: more than %d bytes",
			       DESCRIPTION_MAX);
	for (const char *at = description; *at != '\0'; at++)
		if ((uint8_t)*at < ' ' || *at == 0x7f)
			return err_set(err, ERR_INVALID,
				       "description: more than one line, or "
				       "control characters");
	return 0;
}

int catalog_check_members(const char *kind, const struct catalog_member *members, size_t count,
			  struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (members[i].is_given == members[i].is_needed)
			continue;
		return members[i].is_needed ? err_set(err, ERR_INVALID, "kind '%s' needs '%s'",
						      kind, members[i].name)
					    : err_set(err, ERR_INVALID, "kind '%s' has no '%s'",
						      kind, members[i].name);
	}
	return 0;
}
