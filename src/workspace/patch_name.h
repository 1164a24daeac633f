/* Names of files in a patch as git writes them: as they are, or in quotes with escapes. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

/* The whole text is one name; appended to `ret`. */
bool patch_name_take_all(struct span text, struct buf *ret) MUST_CHECK;

/* The whole text is "a/NAME", or "b/NAME" in quotes or not; NAME is appended. */
bool patch_name_take_side(struct span text, char side, struct buf *ret) MUST_CHECK;

/* The text is "a/NAME b/NAME" with the same name twice, which is appended. */
bool patch_name_pair_same(struct span text, struct buf *ret) MUST_CHECK;

/* The text is "a/FROM b/TO" with these names. */
bool patch_name_pair_is(struct span text, struct span from, struct span to) MUST_CHECK;
