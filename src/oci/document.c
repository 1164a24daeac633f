#include "oci/document.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define SHOWN_TYPE_MAX 120

/* A value follows each of these; counted before jansson makes objects of them. */
static bool values_are_bounded(struct span text)
{
	size_t count = 0;
	bool in_string = false;

	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.ptr[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == ',' || c == ':' || c == '[' || c == '{'))
			count++;
	}
	return count <= OCI_JSON_VALUES_MAX;
}

int document_read(struct span text, uint64_t bytes_max, json_t **ret, struct err *err)
{
	if (text.len > bytes_max)
		return err_set(err, ERR_LIMIT, "more than %llu bytes",
			       (unsigned long long)bytes_max);
	if (!values_are_bounded(text))
		return err_set(err, ERR_LIMIT, "JSON of more than %d values", OCI_JSON_VALUES_MAX);
	return json_read(text, ret, err);
}

int document_read_object(struct span text, uint64_t bytes_max, json_t **ret, struct err *err)
{
	AUTO_JSON *json = NULL;
	const int r = document_read(text, bytes_max, &json, err);

	if (r < 0)
		return r;
	if (!json_is_object(json))
		return err_set(err, ERR_PROTOCOL, "JSON, but not an object");
	*ret = TAKE_PTR(json);
	return 0;
}

static const json_t *get(const json_t *object, const char *field)
{
	const json_t *value = json_object_get(object, field);

	return json_is_null(value) ? NULL : value;
}

static int wrong_type(const char *field, const char *wanted, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "field '%s' must be %s", field, wanted);
}

int document_string(const json_t *object, const char *field, size_t max, const char **ret,
		    struct err *err)
{
	const json_t *value = get(object, field);

	if (value && !json_is_string(value))
		return wrong_type(field, "a string", err);
	if (value && json_string_length(value) > max)
		return err_set(err, ERR_LIMIT, "field '%s' is longer than %zu bytes", field, max);
	*ret = value ? json_string_value(value) : NULL;
	return 0;
}

int document_array(const json_t *object, const char *field, size_t max, const json_t **ret,
		   struct err *err)
{
	const json_t *value = get(object, field);

	if (value && !json_is_array(value))
		return wrong_type(field, "an array", err);
	if (value && json_array_size(value) > max)
		return err_set(err, ERR_LIMIT, "field '%s' has %zu items, more than %zu", field,
			       json_array_size(value), max);
	*ret = value;
	return 0;
}

int document_object(const json_t *object, const char *field, const json_t **ret, struct err *err)
{
	const json_t *value = get(object, field);

	if (value && !json_is_object(value))
		return wrong_type(field, "an object", err);
	*ret = value;
	return 0;
}

int document_size(const json_t *object, const char *field, uint64_t max, uint64_t *ret,
		  struct err *err)
{
	const json_t *value = get(object, field);

	if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
		return wrong_type(field, "a whole number of at least 0", err);
	if (value && (uint64_t)json_integer_value(value) > max)
		return err_set(err, ERR_LIMIT, "field '%s' is %lld, more than %llu", field,
			       (long long)json_integer_value(value), (unsigned long long)max);
	*ret = value ? (uint64_t)json_integer_value(value) : 0;
	return 0;
}

int document_strings(const json_t *object, const char *field, struct strv *ret, struct err *err)
{
	const json_t *array, *item;
	size_t i;
	const int r = document_array(object, field, OCI_STRINGS_MAX, &array, err);

	if (r < 0)
		return r;
	json_array_foreach(array, i, item) {
		if (!json_is_string(item))
			return wrong_type(field, "an array of strings", err);
		if (json_string_length(item) > OCI_STRING_BYTES_MAX)
			return err_set(err, ERR_LIMIT,
				       "an item of field '%s' is longer than %llu bytes", field,
				       OCI_STRING_BYTES_MAX);
		strv_add(ret, json_string_value(item));
	}
	return 0;
}

int document_need(const void *value, const char *field, struct err *err)
{
	return value ? 0 : err_set(err, ERR_PROTOCOL, "field '%s' is missing", field);
}

int document_descriptor(const json_t *object, uint64_t size_max, struct oci_descriptor *ret,
			const char **ret_media_type, struct err *err)
{
	struct oci_descriptor descriptor = { .size = 0 };
	const char *digest = NULL, *media_type = NULL;
	int r;

	if (!json_is_object(object))
		return err_set(err, ERR_PROTOCOL, "a descriptor must be an object");
	r = document_string(object, "mediaType", OCI_SHORT_BYTES_MAX, &media_type, err);
	if (r == 0)
		r = document_need(media_type, "mediaType", err);
	if (r == 0)
		r = document_string(object, "digest", OCI_SHORT_BYTES_MAX, &digest, err);
	if (r == 0)
		r = document_need(digest, "digest", err);
	if (r == 0)
		r = oci_digest_read(digest, "field 'digest'", &descriptor.digest, err);
	if (r == 0)
		r = document_need(get(object, "size"), "size", err);
	if (r == 0)
		r = document_size(object, "size", size_max, &descriptor.size, err);
	if (r < 0)
		return r;
	*ret = descriptor;
	*ret_media_type = media_type;
	return 0;
}

static const struct {
	const char *media_type;
	enum oci_kind kind;
} kinds[] = {
	{ "application/vnd.oci.image.index.v1+json", OCI_KIND_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", OCI_KIND_INDEX },
	{ "application/vnd.oci.image.manifest.v1+json", OCI_KIND_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", OCI_KIND_MANIFEST },
};

/* What servers say that do not know what they serve. */
static const char *const unknown_types[] = { "", "application/json", "application/octet-stream",
					     "text/plain" };

static const char *const schema1_types[] = {
	"application/vnd.docker.distribution.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
};

static int schema1_refused(struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED,
		       "a manifest of schema 1, which has no sizes and weak digests, is not read");
}

static bool is_one_of(struct span text, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (span_eq(text, span_str(list[i])))
			return true;
	}
	return false;
}

/* Without parameters ("; charset=utf-8") and the blanks before them. */
static struct span bare_type(const char *media_type)
{
	struct span type = span_of(media_type, strcspn(media_type, ";"));

	while (type.len > 0 && type.ptr[type.len - 1] == ' ')
		type.len--;
	return type;
}

int document_media_kind(const char *media_type, bool *ret_is_known, enum oci_kind *ret,
			struct err *err)
{
	const struct span type = bare_type(media_type);

	*ret = OCI_KIND_OTHER;
	*ret_is_known = !is_one_of(type, unknown_types, ARRAY_LEN(unknown_types));
	if (is_one_of(type, schema1_types, ARRAY_LEN(schema1_types)))
		return schema1_refused(err);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (span_eq(type, span_str(kinds[i].media_type)))
			*ret = kinds[i].kind;
	}
	return 0;
}

int document_check_kind(const json_t *object, enum oci_kind kind, struct err *err)
{
	static const char *const of_index[] = { "manifests" };
	static const char *const of_manifest[] = { "layers", "config" };
	const bool is_index = kind == OCI_KIND_INDEX;
	const char *const *foreign = is_index ? of_manifest : of_index;
	const size_t foreign_count = is_index ? ARRAY_LEN(of_manifest) : ARRAY_LEN(of_index);
	uint64_t version;
	int r = document_size(object, "schemaVersion", UINT32_MAX, &version, err);

	if (r < 0)
		return r;
	if (version == 1 || get(object, "fsLayers"))
		return schema1_refused(err);
	if (version != 2)
		return err_set(err, ERR_PROTOCOL, "field 'schemaVersion' is %llu, not 2",
			       (unsigned long long)version);
	/* Even null: two readers must not see two documents in it (CVE-2021-41190). */
	for (size_t i = 0; i < foreign_count; i++) {
		if (json_object_get(object, foreign[i]))
			return err_set(err, ERR_PROTOCOL, "field '%s' has no place in %s",
				       foreign[i],
				       is_index ? "an index" : "a manifest of an image");
	}
	return 0;
}

/* The document's own word on what it is, which must be how it was sent. */
static int stated_kind(const json_t *object, const char *sent_as, bool *ret_is_known,
		       enum oci_kind *ret, struct err *err)
{
	const char *own = NULL;
	bool is_sent_known = false, is_own_known = false;
	enum oci_kind sent = OCI_KIND_OTHER, kind = OCI_KIND_OTHER;
	int r;

	r = document_string(object, "mediaType", OCI_SHORT_BYTES_MAX, &own, err);
	if (r == 0)
		r = document_media_kind(sent_as ? sent_as : "", &is_sent_known, &sent, err);
	if (r == 0)
		r = document_media_kind(own ? own : "", &is_own_known, &kind, err);
	if (r < 0)
		return r;
	if (is_sent_known && is_own_known && !span_eq(bare_type(sent_as), bare_type(own)))
		return err_set(err, ERR_PROTOCOL,
			       "field 'mediaType' is '%.*s', but it was sent as '%.*s'",
			       SHOWN_TYPE_MAX, own, SHOWN_TYPE_MAX, sent_as);
	*ret_is_known = is_sent_known || is_own_known;
	*ret = is_own_known ? kind : sent;
	if (*ret_is_known && *ret == OCI_KIND_OTHER)
		return err_set(err, ERR_UNSUPPORTED, "'%.*s' is neither an image nor an index",
			       SHOWN_TYPE_MAX, is_own_known ? own : sent_as);
	return 0;
}

int oci_document_kind(struct span text, const char *media_type, enum oci_kind *ret, struct err *err)
{
	AUTO_JSON *json = NULL;
	enum oci_kind kind = OCI_KIND_OTHER;
	bool is_known = false;
	int r = document_read_object(text, OCI_MANIFEST_BYTES_MAX, &json, err);

	if (r == 0)
		r = stated_kind(json, media_type, &is_known, &kind, err);
	if (r < 0)
		return r;
	if (!is_known)
		kind = json_object_get(json, "manifests") ? OCI_KIND_INDEX : OCI_KIND_MANIFEST;
	r = document_check_kind(json, kind, err);
	if (r == 0)
		*ret = kind;
	return r;
}
