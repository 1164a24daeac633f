/*
 * TOML text as a tree of nodes. toml++ (C++) does the parsing behind toml_bridge.h; what it does
 * not guard against is checked before it sees the text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"
#include "config/toml_bridge.h"

struct toml_node {
	enum toml_type type;
	uint32_t line;	 /* of the key in a table, else of the value; from 1 */
	uint32_t column; /* in characters, from 1 */
	uint32_t value_line;
	uint32_t value_column;
	char *key;		    /* owned; NULL for the root and in arrays */
	char *text;		    /* owned; TOML_STRING only */
	int64_t integer;	    /* TOML_INTEGER only */
	bool boolean;		    /* TOML_BOOLEAN only */
	struct toml_node *children; /* owned; tables (sorted by key) and arrays */
	size_t child_count;
	size_t child_cap;
};

/*
 * Parses `text`; the tree is the caller's, ended with toml_done(). False fills *ret_problem
 * instead: for whatever TOML forbids, nesting or dotted keys deeper than `depth_max`, and a NUL in
 * a key or string.
 */
bool toml_parse(struct span text, size_t depth_max, struct toml_node *ret,
		struct toml_problem *ret_problem) MUST_CHECK;

void toml_done(struct toml_node *root);
#define AUTO_TOML CLEANUP(toml_done) struct toml_node

/* "a string", "an array": what the user wrote, for messages. */
const char *toml_type_phrase(enum toml_type type);

/*
 * What toml_parse() looks for before the parser proper: brackets and dotted keys deeper than
 * `depth_max`, and what would end in one of its assertions.
 */
bool toml_check_text(struct span text, size_t depth_max, struct toml_problem *ret_problem)
	MUST_CHECK;
