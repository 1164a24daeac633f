/* Text: comparing, escaping what is hostile, and suggesting what was meant. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
static inline bool str_empty(const char *text)
{
	return !text || text[0] == '\0';
}

/*
 * Decodes the first UTF-8 character: its length, or 0 when there is none or it is malformed
 * (overlong, surrogate, too large, truncated; RFC 3629, section 4).
 */
size_t text_decode(struct span bytes, uint32_t *ret);

/* Whether all of it is well-formed UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF). */
bool text_is_utf8(struct span bytes);

/* How many bytes at the end begin a character whose rest is not there: 0 to 3. */
size_t text_cut(struct span bytes);

/*
 * Appends hostile bytes so that a terminal is safe: C0, C1 and DEL, bidirectional controls,
 * what has no width of its own (joiners, tags, soft hyphens) and bytes that are no UTF-8 become
 * \xNN or \u{NNNN}; at most `max` bytes of input are shown, then
 * "...".
 */
void text_escape(struct buf *out, struct span bytes, size_t max);

void text_hex(struct buf *out, struct span bytes);

/* How many letters are missing, too many, wrong, or swapped with their neighbour; names over 64
 * bytes count as very far. */
size_t text_distance(const char *a, const char *b);

/* The candidate nearest to `name`, or NULL when none is near enough to be what was meant. */
const char *text_nearest(const char *name, const char *const *candidates, size_t count);

/* "512 MiB", "8 GiB", "1.5 GiB": three digits at most. */
void text_size(struct buf *out, uint64_t bytes);

/* "350 ms", "12.4 s", "3 min 5 s". */
void text_duration(struct buf *out, uint64_t ms);
