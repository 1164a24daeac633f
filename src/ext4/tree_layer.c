#include <assert.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "ext4/tree.h"

#define LOST_FOUND_MODE (S_IFDIR | 0700)

void tree_begin_layer(struct tree *tree)
{
	assert(tree->layer < TREE_LAYERS_MAX);
	tree->layer++;
}

void tree_touch_folder(struct tree *tree, uint32_t folder)
{
	/* Above a folder of this layer there are only others of it. */
	while (tree->inodes[folder].u.folder.layer != tree->layer) {
		tree->inodes[folder].u.folder.layer = tree->layer;
		folder = tree->inodes[folder].u.folder.parent;
	}
}

void tree_touch(struct tree *tree, uint32_t entry)
{
	struct tree_entry *e = &tree->entries[entry];

	e->layer = tree->layer;
	tree_touch_folder(tree, tree_is_folder(tree, e->inode) ? e->inode : e->folder);
}

void tree_describe(struct tree *tree, uint32_t folder, const struct tree_attributes *attributes)
{
	struct tree_inode *in = &tree->inodes[folder];

	in->attributes = *attributes;
	in->u.folder.is_implied = false;
	in->u.folder.described = tree->layer;
	tree_touch_folder(tree, folder);
}

/* Folders that stay and may have something lower in them. */
struct hiding {
	struct tree *tree;
	uint32_t *folders; /* owned */
	size_t count, cap;
};

static void hiding_done(struct hiding *hiding)
{
	mem_free(hiding->folders);
}

static void hiding_add(struct hiding *hiding, uint32_t folder)
{
	struct tree_inode *in = &hiding->tree->inodes[folder];

	/* Once a layer is enough: whatever comes into it afterwards is of this layer. */
	if (in->u.folder.hidden == hiding->tree->layer)
		return;
	in->u.folder.hidden = hiding->tree->layer;
	if (hiding->count == hiding->cap) {
		hiding->cap = hiding->cap ? hiding->cap * 2 : 16;
		hiding->folders = mem_grow(hiding->folders, hiding->cap, sizeof(*hiding->folders));
	}
	hiding->folders[hiding->count++] = folder;
}

/* A folder of which only this layer's part is left. */
static void forget_description(struct tree *tree, uint32_t folder)
{
	struct tree_inode *in = &tree->inodes[folder];

	if (in->u.folder.described == tree->layer)
		return;
	in->attributes = tree->implied;
	if (folder == tree->lost_found)
		in->attributes.mode = LOST_FOUND_MODE;
	in->u.folder.is_implied = true;
	in->u.folder.described = tree->layer;
}

static void hide_entry(struct hiding *hiding, uint32_t entry)
{
	struct tree *tree = hiding->tree;
	const uint32_t inode = tree->entries[entry].inode;

	if (!tree_is_folder(tree, inode)) {
		if (tree->entries[entry].layer != tree->layer)
			tree_remove(tree, entry);
		return;
	}
	if (tree->inodes[inode].u.folder.layer != tree->layer && inode != tree->lost_found) {
		tree_remove(tree, entry);
		return;
	}
	forget_description(tree, inode);
	hiding_add(hiding, inode);
}

static void hide_rest(struct hiding *hiding)
{
	const struct tree *tree = hiding->tree;

	while (hiding->count > 0) {
		const uint32_t folder = hiding->folders[--hiding->count];
		uint32_t at = tree->inodes[folder].u.folder.first;

		while (at != TREE_NONE) {
			const uint32_t next = tree->entries[at].next;

			hide_entry(hiding, at);
			at = next;
		}
	}
}

void tree_hide(struct tree *tree, uint32_t entry)
{
	CLEANUP(hiding_done) struct hiding hiding = { .tree = tree };

	hide_entry(&hiding, entry);
	hide_rest(&hiding);
}

void tree_hide_below(struct tree *tree, uint32_t folder)
{
	CLEANUP(hiding_done) struct hiding hiding = { .tree = tree };

	hiding_add(&hiding, folder);
	hide_rest(&hiding);
}
