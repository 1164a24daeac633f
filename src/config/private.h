/* What the files of src/config share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "config/config.h"
#include "config/toml.h"

enum config_value_type {
	VALUE_CHOICE, /* one of `choices`, stored as its index in an enumeration */
	VALUE_BOOL,
	VALUE_NUMBER,	/* uint64_t, as the next two */
	VALUE_SIZE,	/* "8GiB", or an integer of bytes */
	VALUE_DURATION, /* "10s", in milliseconds */
	VALUE_PROGRAM,	/* char *: an absolute path; as all that follow */
	VALUE_PATH,	/* absolute or below "~/" */
	VALUE_IMAGE_NAME,
	VALUE_BRIDGE_NAME,
	VALUE_IPV4,
	VALUE_ADDRESS, /* IPv4 or IPv6 */
	VALUE_LISTEN,  /* ADDRESS:PORT */
};

struct config_key_def {
	struct config_key_row row;
	enum config_value_type type;
	size_t offset;		    /* in struct config */
	const char *const *choices; /* NULL-terminated */
	uint64_t min;		    /* numbers, sizes, durations; multiples of `multiple` */
	uint64_t max;
	uint64_t multiple;	  /* 0: any */
	uint64_t initial;	  /* default of choices, booleans and numbers */
	const char *initial_text; /* default of texts; NULL when there is none */
};

extern const struct config_key_def config_keys[CONFIG_KEY_COUNT];

/* The value's place in a config. */
static inline void *config_slot(struct config *config, const struct config_key_def *def)
{
	return (char *)config + def->offset;
}

static inline const void *config_slot_const(const struct config *config,
					    const struct config_key_def *def)
{
	return (const char *)config + def->offset;
}

/* Whether the type's place holds an owned string. */
bool config_type_is_text(enum config_value_type type);

/* Whether the text has control characters, which no value of ours may. */
bool config_has_control(const char *text);

/* ERR_INVALID "file:line:col: text". */
int config_fail(const char *file, uint32_t line, uint32_t column, struct err *err,
		const char *format, ...) PRINTF_LIKE(5, 6);

/* Refuses an unknown key of `section` ("" for the top level) with the nearest of `names`. */
int config_fail_unknown(const char *file, const char *section, const struct toml_node *node,
			const char *const *names, size_t count, struct err *err);

/* Checks that a value has the type; the error names the key. */
int config_want_type(const char *file, const struct toml_node *node, enum toml_type type,
		     struct err *err) MUST_CHECK;

/* Checks the value by the key's rules and stores it. */
int config_read_value(const char *file, const struct config_key_def *def,
		      const struct toml_node *node, struct config *config, struct err *err)
	MUST_CHECK;

/* [[file_sync]] and [[registry]]. */
int config_read_file_sync(const char *file, const struct toml_node *node, struct config *config,
			  struct err *err) MUST_CHECK;
int config_read_registries(const char *file, const struct toml_node *node, struct config *config,
			   struct err *err) MUST_CHECK;

/*
 * Reads a configuration file that only its owner (we, or root) can have written. False in
 * *ret_is_present when there is none.
 */
struct buf;
int config_read_file(const char *path, struct buf *ret_text, bool *ret_is_present, struct err *err)
	MUST_CHECK;
