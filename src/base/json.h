/*
 * jansson glue: strict reading with limits, and tables that turn objects into structs. Duplicate
 * keys, unknown fields, numbers out of range, trailing bytes and NUL in strings are errors that
 * name the field.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define JSON_DEPTH_MAX 64

static inline void json_freep(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

#define AUTO_JSON CLEANUP(json_freep) json_t

/* One document, nothing after it; depth at most JSON_DEPTH_MAX (checked before jansson recurses).
 */
int json_read(struct span text, json_t **ret, struct err *err) MUST_CHECK;

/* Where in a text that people write; from 1 on. */
struct json_place {
	unsigned int line;
	unsigned int column; /* in characters */
};

/* The same; when the text is no JSON at some place, *ret_place says which one and `err` does not.
 */
int json_read_file(struct span text, json_t **ret, struct json_place *ret_place, struct err *err)
	MUST_CHECK;

/* Appends the compact form, without a newline. Key order is insertion order. */
void json_write(const json_t *json, struct buf *out);

enum json_field_type {
	JSON_FIELD_STRING,     /* char *, owned by the struct; `max` bytes, 0 for 4096 */
	JSON_FIELD_U64,	       /* uint64_t; `max` 0 for INT64_MAX */
	JSON_FIELD_POSITIVE,   /* uint64_t of at least 1, so that 0 means absent; `max` as above */
	JSON_FIELD_I64,	       /* int64_t */
	JSON_FIELD_BOOL,       /* bool */
	JSON_FIELD_MAYBE_U64,  /* struct json_maybe_u64, where absent is not 0; `max` as above */
	JSON_FIELD_MAYBE_BOOL, /* struct json_maybe_bool, where absent is not false */
	JSON_FIELD_STRINGS,    /* struct strv; `max` items, 0 for 256 */
	JSON_FIELD_JSON,       /* json_t *, owned: any value; its shape is the reader's business */
};

/* As rpc.discover and the documents call it: "string", "integer", "boolean", "any"... */
const char *json_field_type_name(enum json_field_type type);

struct json_maybe_u64 {
	bool is_given;
	uint64_t value;
};

struct json_maybe_bool {
	bool is_given;
	bool value;
};

struct json_field {
	const char *name;
	enum json_field_type type;
	bool required;
	size_t offset;	     /* in the struct that is filled */
	uint64_t max;	     /* see the types */
	const char *meaning; /* for rpc.discover and the documents */
};

/*
 * Fills `into` (zeroed by the caller) from an object; NULL is none. On failure what was filled so
 * far is released with json_fields_done(), and `into` is zero again.
 */
int json_read_fields(const json_t *object, const struct json_field *fields, size_t count,
		     void *into, struct err *err) MUST_CHECK;

/* Releases the strings, lists and values that json_read_fields() made. */
void json_fields_done(const struct json_field *fields, size_t count, void *from);

/* Getters for answers of our own programs: NULL, 0 or false when absent or of another type. */
const char *json_get_str(const json_t *object, const char *key);
uint64_t json_get_u64(const json_t *object, const char *key);
bool json_get_bool(const json_t *object, const char *key);

/* Setters that cannot fail silently: they end when memory is gone, escape text that is no UTF-8.
 */
void json_put(json_t *object, const char *key, json_t *value);	      /* `value` is given */
void json_put_str(json_t *object, const char *key, const char *text); /* NULL becomes null */
void json_put_u64(json_t *object, const char *key, uint64_t value);
void json_put_i64(json_t *object, const char *key, int64_t value);
void json_put_bool(json_t *object, const char *key, bool value);
void json_add(json_t *array, json_t *value); /* `value` is given */
json_t *json_new_object(void) MUST_CHECK;
json_t *json_new_array(void) MUST_CHECK;
json_t *json_new_str(const char *text) MUST_CHECK;
