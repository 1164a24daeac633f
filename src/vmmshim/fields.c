#include "vmmshim/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#define MAC_LEN		17
#define QUOTED_TEXT_MAX 128 /* of the client's own text in an answer */

/* What serde calls a value that it did not want. */
static void describe_value(struct buf *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		buf_add_str(out, "map");
		return;
	case JSON_ARRAY:
		buf_add_str(out, "sequence");
		return;
	case JSON_STRING:
		buf_add_str(out, "string \"");
		text_escape(out, span_of(json_string_value(value), json_string_length(value)),
			    QUOTED_TEXT_MAX);
		buf_add_str(out, "\"");
		return;
	case JSON_INTEGER:
		buf_addf(out, "integer `%" JSON_INTEGER_FORMAT "`", json_integer_value(value));
		return;
	case JSON_REAL:
		buf_addf(out, "floating point `%g`", json_real_value(value));
		return;
	case JSON_TRUE:
		buf_add_str(out, "boolean `true`");
		return;
	case JSON_FALSE:
		buf_add_str(out, "boolean `false`");
		return;
	case JSON_NULL:
		buf_add_str(out, "null");
		return;
	}
}

static const char *uint_name(uint64_t max)
{
	switch (max) {
	case UINT8_MAX:
		return "u8";
	case UINT16_MAX:
		return "u16";
	case UINT32_MAX:
		return "u32";
	default:
		return "usize";
	}
}

static const char *wanted_name(const struct field *field)
{
	switch (field->type) {
	case FIELD_STRING:
	case FIELD_MAC:
		return "a string";
	case FIELD_BOOL:
		return "a boolean";
	case FIELD_UINT:
		return uint_name(field->max);
	case FIELD_WORD:
		return "variant identifier";
	case FIELD_OBJECT:
	case FIELD_INNER:
		return field->shape->name;
	case FIELD_OBJECTS:
	case FIELD_INNERS:
	case FIELD_STRINGS:
		return "a sequence";
	case FIELD_MAP:
		return "a map";
	}
	return "a value";
}

static int invalid_type(const json_t *value, const char *wanted, struct err *err)
{
	AUTO_BUF text = BUF_INIT;

	describe_value(&text, value);
	return err_set(err, ERR_INVALID, "invalid type: %s, expected %s", text.ptr, wanted);
}

/* "`a`", "`a` or `b`", "one of `a`, `b`, `c`". */
static void add_choices(struct buf *out, const char *const *names, size_t count)
{
	if (count == 2) {
		buf_addf(out, "`%s` or `%s`", names[0], names[1]);
		return;
	}
	if (count > 2)
		buf_add_str(out, "one of ");
	for (size_t i = 0; i < count; i++)
		buf_addf(out, "%s`%s`", i > 0 ? ", " : "", names[i]);
}

static int unknown_field(const struct shape *shape, const char *name, struct err *err)
{
	const char *names[FIELDS_MAX];
	AUTO_BUF text = BUF_INIT;

	for (size_t i = 0; i < shape->count; i++)
		names[i] = shape->fields[i].name;
	buf_add_str(&text, "unknown field `");
	text_escape(&text, span_str(name), QUOTED_TEXT_MAX);
	buf_add_str(&text, shape->count > 0 ? "`, expected " : "`, there are no fields");
	add_choices(&text, names, shape->count);
	return err_set(err, ERR_INVALID, "%s", text.ptr);
}

static int read_word(const struct field *field, const json_t *value, unsigned *ret, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	size_t count = 0;

	if (!json_is_string(value))
		return invalid_type(value, wanted_name(field), err);
	for (; field->words[count]; count++) {
		if (str_eq(field->words[count], json_string_value(value))) {
			*ret = (unsigned)count;
			return 0;
		}
	}
	buf_add_str(&text, "unknown variant `");
	text_escape(&text, span_str(json_string_value(value)), QUOTED_TEXT_MAX);
	buf_add_str(&text, "`, expected ");
	add_choices(&text, field->words, count);
	return err_set(err, ERR_INVALID, "%s", text.ptr);
}

static int read_uint(const struct field *field, const json_t *value, uint64_t *ret, struct err *err)
{
	json_int_t number;

	if (!json_is_integer(value))
		return invalid_type(value, wanted_name(field), err);
	number = json_integer_value(value);
	if (number < 0 || (uint64_t)number > field->max)
		return err_set(err, ERR_INVALID,
			       "invalid value: integer `%" JSON_INTEGER_FORMAT "`, expected %s",
			       number, wanted_name(field));
	*ret = (uint64_t)number;
	return 0;
}

/* One byte of a MAC address in lower case: `place` counts from 0 in "06:00:ac:10:00:02". */
static bool read_mac_byte(size_t place, char byte, char *ret)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *digit = byte == '\0' ? NULL : strchr(digits, byte);
	const ptrdiff_t upper = digit ? digit - digits - 16 : -1;

	*ret = byte;
	if (upper >= 0)
		*ret = digits[10 + upper];
	return place % 3 == 2 ? byte == ':' : digit != NULL;
}

static int read_mac(const struct field *field, const json_t *value, char **ret, struct err *err)
{
	const char *text = json_string_value(value);
	AUTO_FREE char *mac = NULL;
	bool is_good = true;

	if (!text)
		return invalid_type(value, wanted_name(field), err);
	mac = mem_strdup(text);
	for (size_t i = 0; mac[i] && is_good; i++)
		is_good = i < MAC_LEN && read_mac_byte(i, mac[i], &mac[i]);
	if (!is_good || strlen(mac) != MAC_LEN)
		return err_set(err, ERR_INVALID, "The provided MAC address is invalid.");
	*ret = TAKE_PTR(mac);
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): shapes are our own, and nest three deep */
static int check_list(const struct field *field, json_t *value, struct err *err)
{
	json_t *item;
	size_t index;

	if (!json_is_array(value))
		return invalid_type(value, wanted_name(field), err);
	json_array_foreach(value, index, item) {
		int r = 0;

		if (field->type != FIELD_STRINGS)
			r = shape_read_json(field->shape, item, NULL, err);
		else if (!json_is_string(item))
			r = invalid_type(item, "a string", err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_map(const struct field *field, json_t *value, json_t **ret, struct err *err)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value))
		return invalid_type(value, wanted_name(field), err);
	json_object_foreach(value, key, item) {
		if (!json_is_string(item))
			return invalid_type(item, "a string", err);
	}
	*ret = json_deep_copy(value);
	return *ret ? 0 : err_set(err, ERR_LIMIT, "no memory for the body");
}

/* One value; `into` is the struct, or NULL when the value is only checked. */
/* NOLINTNEXTLINE(misc-no-recursion): shapes are our own, and nest three deep */
static int read_value(const struct field *field, json_t *value, uint8_t *into, struct err *err)
{
	union {
		uint64_t number;
		unsigned word;
		char *text;
		json_t *json;
	} unused = { .number = 0 };
	void *place = into ? into + field->offset : (void *)&unused;
	int r = 0;

	switch (field->type) {
	case FIELD_STRING:
		if (!json_is_string(value))
			return invalid_type(value, wanted_name(field), err);
		if (into)
			*(char **)place = mem_strdup(json_string_value(value));
		return 0;
	case FIELD_BOOL:
		if (!json_is_boolean(value))
			return invalid_type(value, wanted_name(field), err);
		*(bool *)place = json_is_true(value);
		return 0;
	case FIELD_UINT:
		return read_uint(field, value, place, err);
	case FIELD_WORD:
		return read_word(field, value, place, err);
	case FIELD_MAC:
		r = read_mac(field, value, place, err);
		if (r == 0 && !into)
			mem_free(unused.text);
		return r;
	case FIELD_OBJECT:
		return shape_read_json(field->shape, value, NULL, err);
	case FIELD_OBJECTS:
	case FIELD_STRINGS:
		return check_list(field, value, err);
	case FIELD_MAP:
		r = read_map(field, value, place, err);
		if (r == 0 && !into)
			json_decref(unused.json);
		return r;
	case FIELD_INNER:
	case FIELD_INNERS:
		r = field->type == FIELD_INNER ? shape_read_json(field->shape, value, NULL, err)
					       : check_list(field, value, err);
		if (r == 0 && into)
			*(json_t **)place = json_incref(value);
		return r;
	}
	return r;
}

static const struct field *find_field(const struct shape *shape, const char *name,
				      size_t *ret_index)
{
	for (size_t i = 0; i < shape->count; i++) {
		if (str_eq(shape->fields[i].name, name)) {
			*ret_index = i;
			return &shape->fields[i];
		}
	}
	return NULL;
}

/* NOLINTNEXTLINE(misc-no-recursion): shapes are our own, and nest three deep */
static int read_members(const struct shape *shape, json_t *value, uint8_t *into, uint64_t *given,
			struct err *err)
{
	const char *key;
	json_t *item;

	json_object_foreach(value, key, item) {
		size_t index = 0;
		const struct field *field = find_field(shape, key, &index);
		int r;

		if (!field && shape->is_open)
			continue;
		if (!field)
			return unknown_field(shape, key, err);
		if (json_is_null(item) && (field->flags & FIELD_NULLABLE) != 0)
			continue;
		r = read_value(field, item, (field->flags & FIELD_CHECKED) != 0 ? NULL : into, err);
		if (r < 0)
			return r;
		*given |= 1ULL << index;
	}
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): shapes are our own, and nest three deep */
int shape_read_json(const struct shape *shape, json_t *value, void *into, struct err *err)
{
	uint64_t given = 0;
	int r;

	assert(shape->count <= FIELDS_MAX);
	if (!json_is_object(value))
		return invalid_type(value, shape->name, err);
	r = read_members(shape, value, into, &given, err);
	for (size_t i = 0; r == 0 && i < shape->count; i++) {
		if ((shape->fields[i].flags & FIELD_REQUIRED) != 0 &&
		    !field_given(given, (unsigned)i))
			r = err_set(err, ERR_INVALID, "missing field `%s`", shape->fields[i].name);
	}
	if (into)
		*(uint64_t *)into = given;
	if (r < 0 && into)
		shape_done(shape, into);
	return r;
}

int shape_read(const struct shape *shape, struct span body, void *into, struct err *err)
{
	AUTO_JSON *json = NULL;
	int r;

	r = json_read(body, &json, err);
	if (r < 0) {
		err->kind = ERR_INVALID;
		return r;
	}
	return shape_read_json(shape, json, into, err);
}

void shape_done(const struct shape *shape, void *from)
{
	uint8_t *base = from;
	const uint64_t given = *(uint64_t *)from;

	for (size_t i = 0; i < shape->count; i++) {
		const struct field *field = &shape->fields[i];
		void *place = base + field->offset;

		if (!field_given(given, (unsigned)i) || (field->flags & FIELD_CHECKED) != 0)
			continue;
		if (field->type == FIELD_STRING || field->type == FIELD_MAC) {
			mem_free(*(char **)place);
			*(char **)place = NULL;
		} else if (field->type == FIELD_MAP || field->type == FIELD_INNER ||
			   field->type == FIELD_INNERS) {
			json_decref(*(json_t **)place);
			*(json_t **)place = NULL;
		}
	}
	*(uint64_t *)from = 0;
}

static json_t *write_value(const struct field *field, const uint8_t *from, bool is_given)
{
	const void *place = from + field->offset;

	if ((field->flags & FIELD_CHECKED) != 0)
		return NULL;
	if (!is_given && (field->flags & FIELD_NULLABLE) != 0)
		return json_null();
	switch (field->type) {
	case FIELD_STRING:
	case FIELD_MAC:
		return json_new_str(is_given ? *(char *const *)place : "");
	case FIELD_BOOL:
		return json_boolean(*(const bool *)place);
	case FIELD_UINT:
		return json_integer((json_int_t) * (const uint64_t *)place);
	case FIELD_WORD:
		return json_new_str(field->words[*(const unsigned *)place]);
	case FIELD_MAP:
	case FIELD_INNER:
	case FIELD_INNERS:
		return is_given ? json_incref(*(json_t *const *)place) : NULL;
	case FIELD_OBJECT:
	case FIELD_OBJECTS:
	case FIELD_STRINGS:
		return NULL;
	}
	return NULL;
}

json_t *shape_write(const struct shape *shape, const void *from)
{
	const uint64_t given = *(const uint64_t *)from;
	json_t *object = json_new_object();

	for (size_t i = 0; i < shape->count; i++) {
		const struct field *field = &shape->fields[i];
		json_t *value = write_value(field, from, field_given(given, (unsigned)i));

		if (value)
			json_put(object, field->name, value);
	}
	return object;
}
