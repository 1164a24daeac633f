/* Indexes: one image for several platforms. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/document.h"

#define SHOWN_PLATFORMS_MAX 8

/* Parts that no host has leave the platform empty: such an entry is never chosen. */
static int read_platform(const json_t *object, struct oci_index_entry *entry, struct err *err)
{
	const json_t *platform;
	const char *os = NULL, *architecture = NULL, *variant = NULL;
	AUTO_BUF text = BUF_INIT;
	int r = document_object(object, "platform", &platform, err);

	if (r < 0 || !platform)
		return r;
	r = document_string(platform, "os", OCI_SHORT_BYTES_MAX, &os, err);
	if (r == 0)
		r = document_string(platform, "architecture", OCI_SHORT_BYTES_MAX, &architecture,
				    err);
	if (r == 0)
		r = document_string(platform, "variant", OCI_SHORT_BYTES_MAX, &variant, err);
	if (r < 0)
		return err_context(err, r, "field 'platform'");
	entry->has_platform = true;
	buf_addf(&text, "%s/%s%s%s", os ? os : "", architecture ? architecture : "",
		 str_empty(variant) ? "" : "/", str_empty(variant) ? "" : variant);
	if (!oci_platform_parse(buf_span(&text), &entry->platform))
		entry->platform = (struct oci_platform){ .os = "" };
	return 0;
}

static int read_ref_name(const json_t *object, struct oci_index_entry *entry, struct err *err)
{
	const json_t *annotations;
	const char *name = NULL;
	int r = document_object(object, "annotations", &annotations, err);

	if (r == 0)
		r = document_string(annotations, "org.opencontainers.image.ref.name",
				    OCI_SHORT_BYTES_MAX, &name, err);
	if (r == 0)
		entry->ref_name = mem_strdup(name);
	return r;
}

static int read_entry(const json_t *object, struct oci_index_entry *entry, struct err *err)
{
	const char *media_type = NULL;
	bool is_known = false;
	int r = document_descriptor(object, OCI_BLOB_BYTES_MAX, &entry->descriptor, &media_type,
				    err);

	if (r < 0)
		return r;
	/* One of schema 1 is an entry that cannot be chosen, unless nothing else is there. */
	if (document_media_kind(media_type, &is_known, &entry->kind, err) < 0)
		*err = ERR_INIT;
	r = read_platform(object, entry, err);
	return r < 0 ? r : read_ref_name(object, entry, err);
}

static int read_entries(const json_t *json, struct oci_index *index, struct err *err)
{
	const json_t *manifests = NULL, *item;
	size_t i;
	int r = document_array(json, "manifests", OCI_INDEX_ENTRIES_MAX, &manifests, err);

	if (r == 0)
		r = document_need(manifests, "manifests", err);
	if (r < 0)
		return r;
	index->entries = mem_alloc(json_array_size(manifests) + 1, sizeof(*index->entries));
	json_array_foreach(manifests, i, item) {
		index->count = i + 1;
		r = read_entry(item, &index->entries[i], err);
		if (r < 0)
			return err_context(err, r, "manifests[%zu]", i);
	}
	return 0;
}

int oci_index_parse(struct span text, struct oci_index *ret, struct err *err)
{
	struct oci_index index = OCI_INDEX_INIT;
	AUTO_JSON *json = NULL;
	int r = document_read_object(text, OCI_MANIFEST_BYTES_MAX, &json, err);

	if (r == 0)
		r = document_check_kind(json, OCI_KIND_INDEX, err);
	if (r == 0)
		r = read_entries(json, &index, err);
	if (r == 0)
		*ret = index;
	else
		oci_index_done(&index);
	return r;
}

void oci_index_done(struct oci_index *index)
{
	for (size_t i = 0; i < index->count; i++)
		mem_free(index->entries[i].ref_name);
	mem_free(index->entries);
	*index = OCI_INDEX_INIT;
}

/* The usual variant of each architecture has two spellings. */
static const char *plain_variant(const struct oci_platform *platform)
{
	static const char *const usual[][2] = {
		{ "amd64", "v1" },
		{ "arm64", "v8" },
		{ "arm", "v7" },
	};

	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (str_eq(platform->architecture, usual[i][0]) &&
		    str_eq(platform->variant, usual[i][1]))
			return "";
	}
	return platform->variant;
}

static bool is_candidate(const struct oci_index_entry *entry, const struct oci_platform *platform)
{
	return entry->kind != OCI_KIND_OTHER && entry->has_platform &&
	       str_eq(entry->platform.os, platform->os) &&
	       str_eq(entry->platform.architecture, platform->architecture);
}

static const struct oci_index_entry *find_variant(const struct oci_index *index,
						  const struct oci_platform *platform,
						  const char *variant)
{
	for (size_t i = 0; i < index->count; i++) {
		const struct oci_index_entry *entry = &index->entries[i];

		if (is_candidate(entry, platform) &&
		    str_eq(plain_variant(&entry->platform), variant))
			return entry;
	}
	return NULL;
}

static int nothing_fits(const struct oci_index *index, const char *wanted, struct err *err)
{
	AUTO_BUF list = BUF_INIT;
	char text[OCI_PLATFORM_TEXT_SIZE];
	size_t shown = 0;

	for (size_t i = 0; i < index->count; i++) {
		const struct oci_platform *platform = &index->entries[i].platform;

		/* What builders attach to images is "unknown/unknown". */
		if (platform->os[0] == '\0' || str_eq(platform->os, "unknown") ||
		    index->entries[i].kind == OCI_KIND_OTHER)
			continue;
		if (shown++ == SHOWN_PLATFORMS_MAX) {
			buf_add_str(&list, ", ...");
			break;
		}
		oci_platform_text(platform, text);
		buf_addf(&list, "%s%s", list.len ? ", " : "", text);
	}
	return err_set(err, ERR_NOT_FOUND, "there is no image for %s%s%s", wanted,
		       list.len ? ", only for " : "", list.ptr);
}

int oci_index_select(const struct oci_index *index, const struct oci_platform *platform,
		     const struct oci_index_entry **ret, struct err *err)
{
	const struct oci_index_entry *found =
		find_variant(index, platform, plain_variant(platform));
	size_t silent = 0;
	char wanted[OCI_PLATFORM_TEXT_SIZE];

	if (!found)
		found = find_variant(index, platform, "");
	for (size_t i = 0; !found && i < index->count; i++) {
		if (index->entries[i].kind != OCI_KIND_OTHER && !index->entries[i].has_platform)
			silent++;
	}
	oci_platform_text(platform, wanted);
	if (silent > 1)
		return err_set(err, ERR_NOT_FOUND,
			       "which of %zu entries without a platform is for %s is not said",
			       silent, wanted);
	for (size_t i = 0; silent == 1 && !found; i++) {
		if (index->entries[i].kind != OCI_KIND_OTHER && !index->entries[i].has_platform)
			found = &index->entries[i];
	}
	if (!found)
		return nothing_fits(index, wanted, err);
	*ret = found;
	return 0;
}
