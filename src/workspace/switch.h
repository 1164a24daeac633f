/* A checkout as it would be after `git switch -c NEW REF`, without doing that on the host. */
#pragma once

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/git.h"

/*
 * Rewrites the entries of a manifest from commit `from` to `to`: what is as in the one becomes as
 * in the other, and uncommitted work is carried over. ERR_BAD_STATE names a file with such work
 * that is different in the two.
 */
int switch_commit(const struct git *git, const char *from, const char *to,
		  const struct cancel *cancel, struct buf *manifest, struct err *err) MUST_CHECK;

/* The same with the list of what is different, as `git diff-tree -r -z --raw` prints it. Pure. */
int switch_entries(struct span entries, struct span changes, struct buf *ret, struct err *err)
	MUST_CHECK;
