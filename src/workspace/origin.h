/* A remote's URL as a guest may see it: without credentials, and only what git can reach from
 * there. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

#define ORIGIN_MAX 2048

/*
 * Appends the URL without password, token and query; an ssh user stays. False, and nothing is
 * appended, for what is no network address (a path, "file:", "ext::sh"), begins like an option or
 * has control characters: that is nothing a guest could use. Pure.
 */
bool origin_clean(struct span url, struct buf *out) MUST_CHECK;
