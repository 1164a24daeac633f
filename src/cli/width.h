/*
 * How many columns of a terminal text takes. Our own table instead of wcwidth(3): that needs the
 * user's locale to be one of UTF-8 that is installed, and the text here may come from a guest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* 0 for what combines with the character before it, 2 for wide characters, else 1. */
size_t width_of(uint32_t c);

size_t width_of_text(const char *text);

/* How many bytes of `text` fit into so many columns, whole characters with what combines with
 * them; and, unless NULL, how many columns these take. */
size_t width_prefix(struct span text, size_t columns, size_t *ret_columns);
