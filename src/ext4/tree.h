/*
 * What will be in the file system: inodes, names and block runs, in memory, with the rules by which
 * paths of an archive are resolved. No I/O. Everything is addressed by index, so that the arrays
 * may move.
 *
 * A path of an archive never has "..". A symlink's target, followed because it stands where a
 * folder is needed, may: it is clamped at the image's root, as everything is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define TREE_NONE	UINT32_MAX
#define TREE_ROOT	0U /* the root folder's index */
#define TREE_NAME_MAX	255
#define TREE_PATH_MAX	4095  /* longer paths could not be used in the guest */
#define TREE_LINK_MAX	4095  /* a symlink's target must fit into a block with its end */
#define TREE_FOLLOW_MAX 40    /* as Linux */
#define TREE_LINKS_MAX	65000 /* EXT4_LINK_MAX; folders are counted as 1 beyond it (dir_nlink) */

/* File system blocks in a row: `length` blocks of a file from `logical` on. */
struct tree_run {
	uint64_t physical;
	uint32_t logical;
	uint32_t length; /* at most 32768: what one extent holds */
};

struct tree_attributes {
	uint16_t mode; /* type and permissions */
	uint32_t uid;
	uint32_t gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t xattrs; /* a set of xattr.h, 0 for none */
};

struct tree_inode {
	struct tree_attributes attributes;
	uint32_t number; /* on disk; 0 until numbered */
	uint32_t names;	 /* entries that refer to it; 0: it was removed */
	uint64_t size;
	uint32_t run_first; /* in tree.runs */
	uint32_t run_count;
	uint32_t meta_blocks; /* of its extent tree */
	union {
		struct {
			uint32_t first, last; /* entries; TREE_NONE when empty */
			uint32_t count;
			uint32_t subfolders;
			uint32_t parent; /* folder's index */
			bool is_indexed;
			bool is_implied;    /* nobody described it */
			uint16_t layer;	    /* the last one that has something in it, or it */
			uint16_t described; /* the last one that gave it its attributes */
			uint16_t hidden;    /* the last one that hid what was below it */
		} folder;
		struct {
			uint32_t text; /* in tree.text; its length is `size` */
		} symlink;
		struct {
			uint32_t major, minor;
		} device;
	} u;
};

struct tree_entry {
	uint32_t folder; /* TREE_NONE: removed */
	uint32_t inode;
	uint32_t previous, next; /* in its folder, in the order of making */
	uint32_t hash_next;
	uint32_t text;	/* the name, in tree.text */
	uint16_t layer; /* which made it; for folders, see there */
	uint8_t name_len;
};

struct tree {
	struct tree_inode *inodes; /* owned, as all arrays */
	size_t inode_count, inode_cap;
	struct tree_entry *entries;
	size_t entry_count, entry_cap;
	struct tree_run *runs;
	size_t run_count, run_cap;
	char *text;
	size_t text_len, text_cap;
	uint64_t text_max; /* EXT4_NAME_BYTES_MAX at most: offsets in it have 32 bits */
	uint32_t *buckets;
	size_t bucket_count; /* a power of two */
	uint64_t hash_key[2];
	uint16_t layer;			/* to which changes belong now; see tree_begin_layer() */
	uint32_t lost_found;		/* its inode */
	uint64_t implied_made;		/* folders that were made because nobody described them */
	struct tree_attributes implied; /* of folders that nobody described */
	/* Told of each run whose file was removed; may be NULL. */
	void (*released)(void *context, const struct tree_run *run);
	void *released_context;
};

/*
 * A root folder with lost+found in it, both with the attributes `implied`. Names and symlinks'
 * targets may have `text_max` bytes in all.
 */
void tree_init(struct tree *tree, const struct tree_attributes *implied, uint64_t text_max);
void tree_done(struct tree *tree);

static inline bool tree_is_folder(const struct tree *tree, uint32_t inode)
{
	return (tree->inodes[inode].attributes.mode & S_IFMT) == S_IFDIR;
}

static inline struct span tree_entry_name(const struct tree *tree, uint32_t entry)
{
	const struct tree_entry *e = &tree->entries[entry];

	return span_of(tree->text + e->text, e->name_len);
}

/* Where an archive's path leads: the folder that holds or will hold it and the last component. */
struct tree_place {
	uint32_t folder;
	struct span name;  /* borrowed from the path; empty for the root itself */
	uint32_t existing; /* the entry that is there, or TREE_NONE */
};

/*
 * Resolves the path of an archive's entry. Parents that are symlinks are followed; parents that are
 * missing are made with the tree's implied attributes when `make_parents`, else ERR_NOT_FOUND. The
 * last component is never followed. Messages say what is wrong and leave naming the entry to the
 * caller.
 */
int tree_place(struct tree *tree, struct span path, bool make_parents, struct tree_place *ret,
	       struct err *err) MUST_CHECK;

/* The entry of that name in a folder, or TREE_NONE. */
uint32_t tree_lookup(const struct tree *tree, uint32_t folder, struct span name);

/* The folder at a path, with all symlinks followed; TREE_NONE when there is none. */
uint32_t tree_find_folder(struct tree *tree, struct span path);

/* The inode at an absolute path, with all symlinks followed; TREE_NONE when there is none. */
uint32_t tree_find(struct tree *tree, const char *path);

/* Makes an inode under a name that is free. ERR_LIMIT when names take up too much. */
int tree_add(struct tree *tree, const struct tree_place *place,
	     const struct tree_attributes *attributes, uint32_t *ret_inode, struct err *err)
	MUST_CHECK;

/* One more name, which is free, for an inode that is no folder. ERR_LIMIT with TREE_LINKS_MAX
 * names. */
int tree_link(struct tree *tree, const struct tree_place *place, uint32_t inode, struct err *err)
	MUST_CHECK;

/* Removes an entry and, when it is a folder, all that is in it. */
void tree_remove(struct tree *tree, uint32_t entry);

/*
 * Layers (tree_layer.c). A change belongs to the current layer: 0 at first, TREE_LAYERS_MAX at
 * most. When something is in a layer, so are the folders above it.
 */
#define TREE_LAYERS_MAX 65535U
void tree_begin_layer(struct tree *tree);

/* An entry that is there already is one of this layer, too. */
void tree_touch(struct tree *tree, uint32_t entry);

/* A folder's attributes, given by this layer. */
void tree_describe(struct tree *tree, uint32_t folder, const struct tree_attributes *attributes);

/*
 * Removes what comes from lower layers: an entry with all below it, or all below a folder. What is
 * of this layer stays; folders of which it says nothing but what is in them get the implied
 * attributes. lost+found itself stays.
 */
void tree_hide(struct tree *tree, uint32_t entry);
void tree_hide_below(struct tree *tree, uint32_t folder);

/* Marks a folder, and those above it, as of this layer. For tree.c. */
void tree_touch_folder(struct tree *tree, uint32_t folder);

/* Stores a symlink's target. ERR_INVALID when it is empty or too long. */
int tree_set_target(struct tree *tree, uint32_t inode, struct span target, struct err *err)
	MUST_CHECK;

static inline struct span tree_target(const struct tree *tree, uint32_t inode)
{
	const struct tree_inode *i = &tree->inodes[inode];

	return span_of(tree->text + i->u.symlink.text, (size_t)i->size);
}

/*
 * Appends blocks to a file; joins them to its last run when they follow it. Only for the inode that
 * was given runs last, or that has none yet.
 */
void tree_add_run(struct tree *tree, uint32_t inode, uint32_t logical, uint64_t physical,
		  uint32_t length);

/*
 * Gives the inodes in use their numbers: root 2, lost+found 11, then 12 and on in the order of
 * making. Returns the last one.
 */
uint32_t tree_number(struct tree *tree);

/* What the inode's link count is on disk. */
uint16_t tree_disk_links(const struct tree *tree, uint32_t inode);
