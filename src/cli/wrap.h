/* Text in lines that fit. */
#pragma once

#include <stddef.h>

#include "base/buf.h"

/* Appends blanks from column `used` up to `column`. */
void wrap_pad(struct buf *out, size_t used, size_t column);

/*
 * Appends words, the first of which is at `column`, in lines that begin there and end before
 * `width` (0: one long line), and a newline. '\n' in the text breaks, too. A word that is too long
 * for a line has one to itself. What stands between single quotes stays together where it fits.
 */
void wrap_text(struct buf *out, const char *text, size_t column, size_t width);

/* The same for what goes on in a line that has `used` columns; the lines after it are indented. */
void wrap_hanging(struct buf *out, const char *text, size_t used, size_t width);
