/*
 * Cursor parsers: each says whether it matched; cursor and result are untouched when it did not, so
 * they compose. One decimal parser for the whole code base: no sign, no blanks, no leading zero.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/span.h"

bool parse_u64(struct span *cursor, uint64_t max, uint64_t *ret) MUST_CHECK;
bool parse_byte(struct span *cursor, char byte) MUST_CHECK;
bool parse_literal(struct span *cursor, const char *text) MUST_CHECK;
static inline bool parse_end(const struct span *cursor)
{
	return cursor->len == 0;
}
/* Takes the bytes before `separator` and the separator itself. */
bool parse_until(struct span *cursor, char separator, struct span *ret) MUST_CHECK;

/* The whole text is one number, at most `max`. */
bool parse_u64_text(const char *text, uint64_t max, uint64_t *ret) MUST_CHECK;

/* The same for numbers that may be negative ("-5"); min <= *ret <= max. */
bool parse_i64_text(const char *text, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;

/*
 * A size in bytes: digits, an optional fraction ("1.5G"), and a unit: none (times `default_unit`),
 * B, K, M, G, T with optional "iB" or "B" (all powers of 1024). Must come out as a whole number of
 * bytes.
 */
bool parse_size_text(const char *text, uint64_t default_unit, uint64_t *ret) MUST_CHECK;

/* A duration: "0", or digits with ms, s, m, h or d ("90s", "1h"); several may follow one another.
 */
bool parse_duration_text(const char *text, uint64_t *ret_ms) MUST_CHECK;
