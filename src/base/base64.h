/* Base64 of RFC 4648, section 4: padded, without line breaks. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

/* Appends the bytes that `text` stands for. False, with `out` as it was, for anything but base64.
 */
bool base64_decode(struct span text, struct buf *out) MUST_CHECK;

/* Appends the text that stands for `bytes`. */
void base64_encode(struct buf *out, struct span bytes);
