#include "ext4/whiteout.h"

#include <string.h>

#include "ext4/path.h"

#define PREFIX	    ".wh."
#define META_PREFIX ".wh..wh."
#define OPAQUE	    ".wh..wh..opq"

static bool starts(struct span name, const char *prefix)
{
	const size_t len = strlen(prefix);

	return name.len >= len && memcmp(name.ptr, prefix, len) == 0;
}

/* The folders on the way, which a layer cannot have. */
static int check_parents(struct span parent, enum whiteout_kind *ret, struct err *err)
{
	struct span name;

	while (path_next(&parent, &name)) {
		if (starts(name, META_PREFIX))
			*ret = WHITEOUT_IGNORED;
		else if (starts(name, PREFIX))
			return err_set(
				err, ERR_INVALID,
				"a folder's name begins with '.wh.', which is for whiteouts");
	}
	return 0;
}

static int check_name(struct span name, struct err *err)
{
	if (name.len == 0 || path_is_dot(name) || path_is_dot_dot(name))
		return err_set(err, ERR_INVALID, "the whiteout names nothing");
	return 0;
}

int whiteout_parse(struct span path, struct whiteout *ret, struct err *err)
{
	struct whiteout whiteout = { .kind = WHITEOUT_NONE };
	int r = 0;

	path_split(path, &whiteout.folder, &whiteout.name);
	if (whiteout.folder.len > 0)
		r = path_check(whiteout.folder, err);
	if (r == 0)
		r = check_parents(whiteout.folder, &whiteout.kind, err);
	if (r < 0)
		return r;
	if (whiteout.kind == WHITEOUT_NONE && span_eq(whiteout.name, span_str(OPAQUE))) {
		whiteout.kind = WHITEOUT_OPAQUE;
	} else if (whiteout.kind == WHITEOUT_NONE && starts(whiteout.name, PREFIX)) {
		whiteout.kind = WHITEOUT_NAME;
		whiteout.name = span_skip(whiteout.name, strlen(PREFIX));
		r = check_name(whiteout.name, err);
		if (r < 0)
			return r;
	}
	*ret = whiteout;
	return 0;
}

void whiteout_apply(struct tree *tree, const struct whiteout *whiteout)
{
	const uint32_t folder = tree_find_folder(tree, whiteout->folder);
	uint32_t entry;

	/* Where lower layers have no folder, there is nothing to hide. */
	if (folder == TREE_NONE)
		return;
	if (whiteout->kind == WHITEOUT_OPAQUE) {
		tree_hide_below(tree, folder);
		return;
	}
	entry = tree_lookup(tree, folder, whiteout->name);
	if (entry != TREE_NONE)
		tree_hide(tree, entry);
}
