/*
 * Log bytes made safe for a terminal. Newlines and tabs stay; a carriage return before a newline
 * and colour sequences (ESC [ digits ; ... m, which consoles are full of) are left out; every other
 * control character, bidirectional control and broken UTF-8 is shown as \xNN or \u{NNNN}. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/span.h"

#define LOG_TEXT_PENDING_MAX 32 /* an unfinished sequence is never held back longer */

/*
 * Appends what can be judged and returns how many bytes of `in` that was; the rest is an unfinished
 * sequence, to be given again with what follows. With `is_end` everything is taken.
 */
size_t log_text_escape(struct span in, bool is_end, struct buf *out);
