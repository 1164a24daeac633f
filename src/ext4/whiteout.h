/* Whiteouts: entries of a layer by which it hides what lower layers have. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "ext4/tree.h"

enum whiteout_kind {
	WHITEOUT_NONE,	  /* an ordinary entry */
	WHITEOUT_NAME,	  /* ".wh.NAME" hides NAME */
	WHITEOUT_OPAQUE,  /* ".wh..wh..opq" hides all that is beside it */
	WHITEOUT_IGNORED, /* something that aufs kept in a folder ".wh..wh.*" */
};

struct whiteout {
	enum whiteout_kind kind;
	struct span folder; /* the path of where it is; borrowed, as the next one */
	struct span name;   /* of what is hidden */
};

/*
 * What the path of a layer's entry means; pure. ERR_INVALID for a whiteout that names nothing, and
 * for folders that a layer cannot have. An ordinary path is not checked further.
 */
int whiteout_parse(struct span path, struct whiteout *ret, struct err *err) MUST_CHECK;

void whiteout_apply(struct tree *tree, const struct whiteout *whiteout);
