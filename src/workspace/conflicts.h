/* What stands in the way of files that are to be written in a guest. Pure: of what it says. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

struct conflicts {
	struct buf lines; /* owned: those of the plan whose files are in question */
	struct strv gone; /* owned: paths of them that the guest has removed */
};

#define CONFLICTS_INIT ((struct conflicts){ .lines = BUF_INIT })

void conflicts_done(struct conflicts *conflicts);

/*
 * `said` is script_apply()'s answer with APPLY_CONFLICT, `plan` the lines of tree_info. ERR_SYSTEM
 * with git's reason when none of them is in question.
 */
int conflicts_find(struct span said, struct span plan, struct conflicts *ret, struct err *err)
	MUST_CHECK;

/*
 * What the guest has only staged, and the host's index would replace: `said` is script_staged()'s
 * answer, `before` and `now` entries as the host gave them and has them. Adds "path\0"s.
 */
int conflicts_staged(struct span said, struct span before, struct span now, struct buf *ret,
		     struct err *err) MUST_CHECK;

/*
 * `others` is script_compare()'s answer. Adds "path\0" of files that are to be written over the
 * guest's and of those that are to be removed although the guest has changed them.
 */
int conflicts_remaining(const struct conflicts *conflicts, struct span others,
			struct buf *ret_writes, struct buf *ret_removes, struct err *err)
	MUST_CHECK;
