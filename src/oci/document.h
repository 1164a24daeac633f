/*
 * Reading registries' JSON: types are checked, absent and null are the same (as for Go, which
 * writes most of it), fields that nobody asks for are skipped. Errors name the field.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/span.h"
#include "oci/manifest.h"

/* One value, at most `bytes_max` bytes and OCI_JSON_VALUES_MAX values. */
int document_read(struct span text, uint64_t bytes_max, json_t **ret, struct err *err) MUST_CHECK;

/* The same, an object. */
int document_read_object(struct span text, uint64_t bytes_max, json_t **ret, struct err *err)
	MUST_CHECK;

/*
 * Fields of an object; *ret is borrowed from it, NULL or 0 when absent. `max` is in bytes or items;
 * beyond is ERR_LIMIT.
 */
int document_string(const json_t *object, const char *field, size_t max, const char **ret,
		    struct err *err) MUST_CHECK;
int document_array(const json_t *object, const char *field, size_t max, const json_t **ret,
		   struct err *err) MUST_CHECK;
int document_object(const json_t *object, const char *field, const json_t **ret, struct err *err)
	MUST_CHECK;
int document_size(const json_t *object, const char *field, uint64_t max, uint64_t *ret,
		  struct err *err) MUST_CHECK;
int document_strings(const json_t *object, const char *field, struct strv *ret, struct err *err)
	MUST_CHECK;

/* ERR_PROTOCOL "field 'x' is missing" when `value` is NULL. */
int document_need(const void *value, const char *field, struct err *err) MUST_CHECK;

/* mediaType, digest and size of a descriptor; all must be there. *ret_media_type is borrowed. */
int document_descriptor(const json_t *object, uint64_t size_max, struct oci_descriptor *ret,
			const char **ret_media_type, struct err *err) MUST_CHECK;

/*
 * The kind of a media type: parameters are cut off, "" and the types of any JSON are *ret_is_known
 * false. ERR_UNSUPPORTED for schema 1.
 */
int document_media_kind(const char *media_type, bool *ret_is_known, enum oci_kind *ret,
			struct err *err) MUST_CHECK;

/* Checks schema version and that the object is of this kind, and of no other. */
int document_check_kind(const json_t *object, enum oci_kind kind, struct err *err) MUST_CHECK;
