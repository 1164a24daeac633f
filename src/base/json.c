#include "base/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"

#define STRING_BYTES_DEFAULT  4096
#define STRINGS_COUNT_DEFAULT 256

/* jansson recurses: the depth is counted first, outside of strings. */
static bool depth_is_bounded(struct span text)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.ptr[i];

		if (in_string && c == '\\') {
			i++;
		} else if (c == '"') {
			in_string = !in_string;
		} else if (!in_string && (c == '{' || c == '[')) {
			if (++depth > JSON_DEPTH_MAX)
				return false;
		} else if (!in_string && (c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* Everything but the message about a syntax error, for which `problem` has what is needed. */
static int load(struct span text, json_t **ret, json_error_t *problem, struct err *err)
{
	json_t *json;

	problem->line = 0;
	if (!depth_is_bounded(text))
		return err_set(err, ERR_PROTOCOL, "JSON nested deeper than %d", JSON_DEPTH_MAX);
	/* jansson takes a zero byte after a number for blank space. */
	if (text.len > 0 && memchr(text.ptr, '\0', text.len))
		return err_set(err, ERR_PROTOCOL, "JSON with a zero byte");
	json = json_loadb((const char *)text.ptr, text.len,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, problem);
	if (!json)
		return err_set(err, ERR_PROTOCOL, "JSON at byte %d: %s", problem->position,
			       problem->text);
	*ret = json;
	return 0;
}

int json_read(struct span text, json_t **ret, struct err *err)
{
	json_error_t problem;

	return load(text, ret, &problem, err);
}

int json_read_file(struct span text, json_t **ret, struct json_place *ret_place, struct err *err)
{
	json_error_t problem;
	const int r = load(text, ret, &problem, err);

	*ret_place = (struct json_place){ .line = 0 };
	if (r == 0 || problem.line <= 0)
		return r;
	*ret_place = (struct json_place){ .line = (unsigned int)problem.line,
					  .column = (unsigned int)problem.column };
	return err_set(err, ERR_PROTOCOL, "%s", problem.text);
}

static int append(const char *bytes, size_t size, void *context)
{
	buf_add(context, span_of(bytes, size));
	return 0;
}

void json_write(const json_t *json, struct buf *out)
{
	if (json_dump_callback(json, append, out, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		mem_exhausted(); /* our own tree: only exhausted memory can be the reason */
}

static const char *type_word(const json_t *value)
{
	if (!value)
		return "nothing";
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	abort();
}

static int wrong_type(const struct json_field *field, const json_t *value, const char *wanted,
		      struct err *err)
{
	return err_set(err, ERR_INVALID, "field '%s' must be %s, not %s", field->name, wanted,
		       type_word(value));
}

static int read_string(const struct json_field *field, const json_t *value, char **ret,
		       struct err *err)
{
	const uint64_t max = field->max ? field->max : STRING_BYTES_DEFAULT;

	if (!json_is_string(value))
		return wrong_type(field, value, "a string", err);
	if (json_string_length(value) > max)
		return err_set(err, ERR_LIMIT, "field '%s' is longer than %llu bytes", field->name,
			       (unsigned long long)max);
	*ret = mem_strdup(json_string_value(value));
	return 0;
}

static int read_strings(const struct json_field *field, const json_t *value, struct strv *ret,
			struct err *err)
{
	const uint64_t max = field->max ? field->max : STRINGS_COUNT_DEFAULT;
	const json_t *item;
	size_t i;

	if (!json_is_array(value))
		return wrong_type(field, value, "an array of strings", err);
	if (json_array_size(value) > max)
		return err_set(err, ERR_LIMIT, "field '%s' has more than %llu items", field->name,
			       (unsigned long long)max);
	json_array_foreach(value, i, item) {
		if (!json_is_string(item))
			return wrong_type(field, item, "an array of strings", err);
		strv_add(ret, json_string_value(item));
	}
	return 0;
}

static int read_integer(const struct json_field *field, const json_t *value, int64_t *ret,
			struct err *err)
{
	const int64_t least = field->type == JSON_FIELD_I64
				      ? INT64_MIN
				      : (field->type == JSON_FIELD_POSITIVE ? 1 : 0);
	const int64_t most = field->max && field->max < INT64_MAX ? (int64_t)field->max : INT64_MAX;

	if (!json_is_integer(value))
		return wrong_type(field, value, "a whole number", err);
	if (json_integer_value(value) < least || json_integer_value(value) > most)
		return err_set(err, ERR_INVALID, "field '%s' must be from %lld to %lld, not %lld",
			       field->name, (long long)least, (long long)most,
			       (long long)json_integer_value(value));
	*ret = json_integer_value(value);
	return 0;
}

static int read_u64(const struct json_field *field, const json_t *value, uint64_t *ret,
		    struct err *err)
{
	int64_t number = 0;
	int r = read_integer(field, value, &number, err);

	if (r == 0)
		*ret = (uint64_t)number;
	return r;
}

static int read_bool(const struct json_field *field, const json_t *value, bool *ret,
		     struct err *err)
{
	if (!json_is_boolean(value))
		return wrong_type(field, value, "true or false", err);
	*ret = json_is_true(value);
	return 0;
}

static int read_field(const struct json_field *field, json_t *value, void *into, struct err *err)
{
	void *const slot = (char *)into + field->offset;
	struct json_maybe_u64 *const number = slot;
	struct json_maybe_bool *const answer = slot;

	switch (field->type) {
	case JSON_FIELD_STRING:
		return read_string(field, value, slot, err);
	case JSON_FIELD_STRINGS:
		return read_strings(field, value, slot, err);
	case JSON_FIELD_U64:
	case JSON_FIELD_POSITIVE:
		return read_u64(field, value, slot, err);
	case JSON_FIELD_I64:
		return read_integer(field, value, slot, err);
	case JSON_FIELD_BOOL:
		return read_bool(field, value, slot, err);
	case JSON_FIELD_MAYBE_U64:
		number->is_given = true;
		return read_u64(field, value, &number->value, err);
	case JSON_FIELD_MAYBE_BOOL:
		answer->is_given = true;
		return read_bool(field, value, &answer->value, err);
	case JSON_FIELD_JSON:
		*(json_t **)slot = json_incref(value);
		return 0;
	}
	abort();
}

const char *json_field_type_name(enum json_field_type type)
{
	switch (type) {
	case JSON_FIELD_STRING:
		return "string";
	case JSON_FIELD_U64:
	case JSON_FIELD_POSITIVE:
	case JSON_FIELD_I64:
	case JSON_FIELD_MAYBE_U64:
		return "integer";
	case JSON_FIELD_BOOL:
	case JSON_FIELD_MAYBE_BOOL:
		return "boolean";
	case JSON_FIELD_STRINGS:
		return "array of strings";
	case JSON_FIELD_JSON:
		return "any";
	}
	abort();
}

static bool is_known(const struct json_field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (str_eq(fields[i].name, name))
			return true;
	}
	return false;
}

static int check_unknown(const json_t *object, const struct json_field *fields, size_t count,
			 struct err *err)
{
	/* jansson's iterator takes a mutable object but does not change it. */
	json_t *mutable = (json_t *)(uintptr_t)object; // NOLINT(performance-no-int-to-ptr)
	const char *key;
	json_t *value;

	json_object_foreach(mutable, key, value) {
		if (!is_known(fields, count, key))
			return err_set(err, ERR_INVALID, "unknown field '%s'", key);
	}
	return 0;
}

int json_read_fields(const json_t *object, const struct json_field *fields, size_t count,
		     void *into, struct err *err)
{
	int r;

	if (!json_is_object(object))
		return err_set(err, ERR_INVALID, "must be an object, not %s", type_word(object));
	r = check_unknown(object, fields, count, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		json_t *value = json_object_get(object, fields[i].name);

		/* An optional field that is null is an absent one. */
		if (value && (fields[i].required || !json_is_null(value)))
			r = read_field(&fields[i], value, into, err);
		else if (fields[i].required)
			r = err_set(err, ERR_INVALID, "field '%s' is missing", fields[i].name);
	}
	if (r < 0)
		json_fields_done(fields, count, into);
	return r;
}

void json_fields_done(const struct json_field *fields, size_t count, void *from)
{
	for (size_t i = 0; i < count; i++) {
		void *const slot = (char *)from + fields[i].offset;

		switch (fields[i].type) {
		case JSON_FIELD_STRING:
			mem_freep(slot);
			break;
		case JSON_FIELD_STRINGS:
			strv_done(slot);
			break;
		case JSON_FIELD_JSON:
			json_freep(slot);
			break;
		case JSON_FIELD_U64:
		case JSON_FIELD_POSITIVE:
		case JSON_FIELD_I64:
			memset(slot, 0, sizeof(uint64_t));
			break;
		case JSON_FIELD_BOOL:
			*(bool *)slot = false;
			break;
		case JSON_FIELD_MAYBE_U64:
			*(struct json_maybe_u64 *)slot = (struct json_maybe_u64){ 0 };
			break;
		case JSON_FIELD_MAYBE_BOOL:
			*(struct json_maybe_bool *)slot = (struct json_maybe_bool){ 0 };
			break;
		}
	}
}

const char *json_get_str(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

uint64_t json_get_u64(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) && json_integer_value(value) > 0
		       ? (uint64_t)json_integer_value(value)
		       : 0;
}

bool json_get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void json_put(json_t *object, const char *key, json_t *value)
{
	if (!value || json_object_set_new(object, key, value) < 0)
		mem_exhausted();
}

json_t *json_new_str(const char *text)
{
	AUTO_BUF escaped = BUF_INIT;
	json_t *json;

	if (!text)
		return json_null();
	json = json_string(text);
	if (json)
		return json;
	/* jansson takes only UTF-8. */
	text_escape(&escaped, span_str(text), SIZE_MAX);
	json = json_string(escaped.ptr);
	if (!json)
		mem_exhausted();
	return json;
}

void json_put_str(json_t *object, const char *key, const char *text)
{
	json_put(object, key, json_new_str(text));
}

void json_put_u64(json_t *object, const char *key, uint64_t value)
{
	json_put(object, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void json_put_i64(json_t *object, const char *key, int64_t value)
{
	json_put(object, key, json_integer(value));
}

void json_put_bool(json_t *object, const char *key, bool value)
{
	json_put(object, key, json_boolean(value));
}

void json_add(json_t *array, json_t *value)
{
	if (!value || json_array_append_new(array, value) < 0)
		mem_exhausted();
}

json_t *json_new_object(void)
{
	json_t *json = json_object();

	if (!json)
		mem_exhausted();
	return json;
}

json_t *json_new_array(void)
{
	json_t *json = json_array();

	if (!json)
		mem_exhausted();
	return json;
}
