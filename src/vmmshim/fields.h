/*
 * Request bodies: tables ("shapes") that turn a JSON object into a struct and back, with the
 * wording of Firecracker's parser (serde), which clients match on: "missing field `x`", "unknown
 * field `x`, expected ...", "invalid type: string \"x\", expected u8", "unknown variant `x`,
 * expected ...".
 *
 * Each struct begins with `uint64_t given`: bit i says that field i of its table was there and not
 * null. Text is not positioned ("at line 1 column 2"): jansson does not know where a value stood.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

enum field_type {
	FIELD_STRING,  /* char *, owned */
	FIELD_BOOL,    /* bool */
	FIELD_UINT,    /* uint64_t, at most `max` */
	FIELD_WORD,    /* unsigned: index into `words` */
	FIELD_MAC,     /* char *, owned: six hexadecimal bytes, in lower case */
	FIELD_OBJECT,  /* checked against `shape`, not stored: only `given` says it was there */
	FIELD_OBJECTS, /* a list of them, likewise */
	FIELD_INNER,   /* json_t *, owned: checked against `shape` and kept as it came */
	FIELD_INNERS,  /* json_t *, owned: a list of them */
	FIELD_STRINGS, /* a list of strings, likewise */
	FIELD_MAP,     /* json_t *, owned: an object whose values are strings */
};

#define FIELD_REQUIRED 1U /* an absent one is an error */
#define FIELD_NULLABLE 2U /* null counts as absent, and absent is written as null */
#define FIELD_CHECKED  4U /* not stored: what is refused anyway is still checked for its form */

#define FIELDS_MAX 63

struct shape;

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	size_t offset;		  /* of the value in the struct */
	uint64_t max;		  /* FIELD_UINT: UINT8_MAX, UINT16_MAX, UINT32_MAX or INT64_MAX */
	const char *const *words; /* FIELD_WORD: ends with NULL */
	const struct shape *shape;
};

struct shape {
	const char *name; /* what the text calls it: "struct BootSourceConfig" */
	const struct field *fields;
	size_t count;
	bool is_open; /* unknown fields are ignored, where Firecracker ignores them */
};

/*
 * Reads one JSON document into `into`, which the caller has filled with defaults. On failure
 * (ERR_INVALID) nothing in `into` is owned by it, but it is otherwise undefined.
 */
int shape_read(const struct shape *shape, struct span body, void *into, struct err *err) MUST_CHECK;

/* The same from a value that was parsed already. */
int shape_read_json(const struct shape *shape, json_t *value, void *into, struct err *err)
	MUST_CHECK;

/* Releases the strings and maps; the struct may be filled again after the caller zeroed it. */
void shape_done(const struct shape *shape, void *from);

/* A new object with all fields but the unstored ones that were not given. */
json_t *shape_write(const struct shape *shape, const void *from) MUST_CHECK;

static inline bool field_given(uint64_t given, unsigned index)
{
	return (given >> index & 1U) != 0;
}
