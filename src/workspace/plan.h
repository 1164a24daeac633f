/*
 * What has to be done in a guest that has `before` so that it has `now`: lists in the forms that
 * git's plumbing there takes, and which files' content has to be sent. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct plan {
	bool is_first;
	struct buf tree_info;	/* owned, as all: `update-index -z --index-info` for the files */
	struct buf index_info;	/* the same for the repository's own index */
	struct buf skip;	/* paths for `update-index --skip-worktree` */
	struct buf unskip;	/* and for `--no-skip-worktree` */
	struct buf content;	/* "MODE OID\tpath\0": files that no commit has */
	struct buf objects;	/* "OID\n": staged content, for pack-objects */
	uint64_t content_count; /* files in `content` */
	uint64_t added;
	uint64_t changed;
	uint64_t removed;
};

#define PLAN_INIT                               \
	((struct plan){ .tree_info = BUF_INIT,  \
			.index_info = BUF_INIT, \
			.skip = BUF_INIT,       \
			.unskip = BUF_INIT,     \
			.content = BUF_INIT,    \
			.objects = BUF_INIT })

/* Both are entries of manifests without their heads; `is_first`: the guest has nothing. */
int plan_make(struct span before, struct span now, bool is_first, struct plan *ret, struct err *err)
	MUST_CHECK;
void plan_done(struct plan *plan);
#define AUTO_PLAN CLEANUP(plan_done) struct plan

/* Takes the next of tree_info, index_info or content: "MODE OID\tpath\0", mode 0 for a removal. */
struct plan_line {
	uint32_t mode;
	struct span oid; /* borrowed, as the next; empty for a removal */
	struct span path;
};

bool plan_next(struct span *text, struct plan_line *ret) MUST_CHECK;
