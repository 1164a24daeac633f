/*
 * HEAD and its branch in a guest, and whether a prepare may set them anew: only where nobody but
 * banger has moved them. Pure: of what the guest says.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/manifest.h"
#include "workspace/prepare.h"

/* What script_refs said of the branch that HEAD is to be on; all empty: there is no such one. */
struct head_refs {
	struct span tip;   /* borrowed, as all: the commit of the guest's branch; empty: none */
	struct span put;   /* where a prepare has put it last; empty: never */
	struct span rival; /* a branch beside which there cannot be one of this name; empty: none */
};

/* ERR_PROTOCOL. */
int head_read_refs(struct span said, struct head_refs *ret, struct err *err) MUST_CHECK;

/*
 * ERR_BAD_STATE with what the guest has moved itself, between what it was given and what it is to
 * have. `force` takes all of that, but no two branches that cannot be side by side.
 */
int head_check(const struct guest_look *look, const struct manifest_head *had,
	       const struct manifest_head *gets, const struct head_refs *refs, bool force,
	       struct err *err) MUST_CHECK;
