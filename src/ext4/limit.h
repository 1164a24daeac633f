/* What every limit of an image says when it is reached. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/*
 * Fills `err` as ERR_LIMIT: there are more than `limit` of `what`; with the key of [limits] that
 * sets it, and a hint. Returns the negative number to return.
 */
int limit_reached(struct err *err, const char *key, uint64_t limit, const char *what);
