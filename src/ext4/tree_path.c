#include "ext4/tree.h"

#include <string.h>
#include <sys/stat.h>

#include "ext4/path.h"

static int make_folder(struct tree *tree, uint32_t folder, struct span name, uint32_t *ret,
		       struct err *err)
{
	char copy[TREE_NAME_MAX] = { 0 }; /* the name may lie in tree.text, which may move */
	struct tree_place place = { .folder = folder,
				    .name = span_of(copy, name.len),
				    .existing = TREE_NONE };

	int r;

	memcpy(copy, name.ptr, name.len);
	r = tree_add(tree, &place, &tree->implied, ret, err);
	if (r < 0)
		return r;
	tree->inodes[*ret].u.folder.is_implied = true;
	tree->implied_made++;
	return 0;
}

/*
 * What is still to be walked: the rest of the path, and of each symlink's target that led here.
 * Targets are kept by offset, because tree.text may move while folders are made.
 */
struct walk_rest {
	const uint8_t *path; /* NULL: in tree.text */
	size_t from, to;
};

struct walk {
	struct walk_rest rest[TREE_FOLLOW_MAX + 1];
	size_t depth;
	unsigned followed;
	uint32_t at;
};

static struct span rest_span(const struct tree *tree, const struct walk_rest *rest)
{
	if (rest->path)
		return span_of(rest->path + rest->from, rest->to - rest->from);
	return span_of(tree->text + rest->from, rest->to - rest->from);
}

static bool walk_next(const struct tree *tree, struct walk *walk, struct span *ret)
{
	while (walk->depth > 0) {
		struct walk_rest *rest = &walk->rest[walk->depth - 1];
		struct span span = rest_span(tree, rest);
		bool found = path_next(&span, ret);

		rest->from = rest->to - span.len;
		if (found)
			return true;
		walk->depth--;
	}
	return false;
}

static int walk_follow(const struct tree *tree, struct walk *walk, uint32_t inode, struct err *err)
{
	struct span target = tree_target(tree, inode);
	size_t from = tree->inodes[inode].u.symlink.text;

	if (walk->followed++ >= TREE_FOLLOW_MAX)
		return err_set(err, ERR_INVALID, "there are more than %d symlinks on the way",
			       TREE_FOLLOW_MAX);
	walk->rest[walk->depth++] =
		(struct walk_rest){ .path = NULL, .from = from, .to = from + target.len };
	if (target.len > 0 && target.ptr[0] == '/')
		walk->at = TREE_ROOT;
	return 0;
}

/* One component from the folder walk->at. */
static int walk_step(struct tree *tree, struct walk *walk, struct span name, bool make,
		     struct err *err)
{
	uint32_t entry, inode;

	if (!tree_is_folder(tree, walk->at))
		return err_set(err, ERR_INVALID, "a parent is not a folder");
	if (path_is_dot(name))
		return 0;
	if (path_is_dot_dot(name)) {
		walk->at = tree->inodes[walk->at].u.folder.parent;
		return 0;
	}
	if (name.len > TREE_NAME_MAX)
		return err_set(err, ERR_INVALID,
			       "a symlink on the way has a component of %zu bytes", name.len);
	entry = tree_lookup(tree, walk->at, name);
	if (entry == TREE_NONE) {
		if (!make)
			return err_set(err, ERR_NOT_FOUND, "a parent does not exist");
		return make_folder(tree, walk->at, name, &walk->at, err);
	}
	inode = tree->entries[entry].inode;
	if ((tree->inodes[inode].attributes.mode & S_IFMT) == S_IFLNK)
		return walk_follow(tree, walk, inode, err);
	/* A folder of this layer hides what a lower one has instead, as if it had been described.
	 */
	if (make && walk->followed == 0 && !tree_is_folder(tree, inode) &&
	    tree->entries[entry].layer != tree->layer) {
		tree_remove(tree, entry);
		return make_folder(tree, walk->at, name, &walk->at, err);
	}
	walk->at = inode;
	return 0;
}

/* The inode at `path` from the root on, all symlinks followed. */
static int walk_path(struct tree *tree, struct span path, bool make, uint32_t *ret, struct err *err)
{
	struct walk walk = { .rest = { { .path = path.ptr, .to = path.len } },
			     .depth = 1,
			     .at = TREE_ROOT };
	struct span name;

	while (walk_next(tree, &walk, &name)) {
		int r = walk_step(tree, &walk, name, make, err);

		if (r < 0)
			return r;
	}
	*ret = walk.at;
	return 0;
}

int tree_place(struct tree *tree, struct span path, bool make_parents, struct tree_place *ret,
	       struct err *err)
{
	struct tree_place place = { .folder = TREE_ROOT, .existing = TREE_NONE };
	struct span parent;
	int r;

	r = path_check(path, err);
	if (r < 0)
		return r;
	path_split(path, &parent, &place.name);
	r = walk_path(tree, parent, make_parents, &place.folder, err);
	if (r < 0)
		return r;
	if (!tree_is_folder(tree, place.folder))
		return err_set(err, ERR_INVALID, "a parent is not a folder");
	if (place.name.len > 0)
		place.existing = tree_lookup(tree, place.folder, place.name);
	*ret = place;
	return 0;
}

uint32_t tree_find(struct tree *tree, const char *path)
{
	struct err err = ERR_INIT;
	uint32_t inode;

	return walk_path(tree, span_str(path), false, &inode, &err) < 0 ? TREE_NONE : inode;
}

uint32_t tree_find_folder(struct tree *tree, struct span path)
{
	struct err err = ERR_INIT;
	uint32_t inode;

	if (walk_path(tree, path, false, &inode, &err) < 0 || !tree_is_folder(tree, inode))
		return TREE_NONE;
	return inode;
}
