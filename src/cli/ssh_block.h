/*
 * The block that makes a user's ssh configuration include banger's. It stands at the very
 * beginning: an Include behind a Host line would only hold for that host. Nothing else of the text
 * is touched, so taking the block out gives back every byte. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/* Appends the text with a block that includes `path`, in place of any that it has. `is_new`: there
 * was no file before. ERR_INVALID when somebody has taken one of a block's ends away. */
int ssh_block_add(struct span text, bool is_new, const char *path, struct buf *out, struct err *err)
	MUST_CHECK;

/*
 * Appends the text without its blocks. *ret_found: it had one; *ret_is_rest: what is left is not
 * what remains of a file that only the block had made. ERR_INVALID as above.
 */
int ssh_block_remove(struct span text, struct buf *out, bool *ret_found, bool *ret_is_rest,
		     struct err *err) MUST_CHECK;
