/*
 * The C face of toml++: one C++ file (toml_bridge.cc) parses and reports what it found by calling
 * back. No exceptions, no C++ types, nothing of banger's but this header on the other side.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_type {
	TOML_TABLE,
	TOML_ARRAY,
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_DATE, /* dates, times and both */
};

#define TOML_PROBLEM_SIZE 256

struct toml_problem {
	uint32_t line;
	uint32_t column;
	char message[TOML_PROBLEM_SIZE];
};

/* One value. Pointers are valid during the call only. */
struct toml_item {
	enum toml_type type;
	const char *key; /* NULL for the root and in arrays; not terminated */
	size_t key_len;
	const char *text; /* TOML_STRING; not terminated */
	size_t text_len;
	int64_t integer;
	bool boolean;
	uint32_t line; /* of the key, or of the value where there is none */
	uint32_t column;
	uint32_t value_line;
	uint32_t value_column;
};

struct toml_sink {
	void *context;
	void (*open)(void *context, const struct toml_item *item); /* a table or array begins */
	void (*leaf)(void *context, const struct toml_item *item); /* any other value */
	void (*close)(void *context);				   /* the innermost one ends */
};

/* True when the text is TOML: all of it was reported. False: *ret_problem is filled, nothing
 * reported. */
bool toml_bridge_parse(const char *text, size_t len, const struct toml_sink *sink,
		       struct toml_problem *ret_problem);

#ifdef __cplusplus
}
#endif
