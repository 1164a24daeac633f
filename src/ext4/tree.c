#include "ext4/tree.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "ext4/limit.h"
#include "ext4/space.h"

#define BUCKETS_MIN 1024U

/* --- names: a hash table over (folder, name) --- */

static uint64_t rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[static 4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 with a key nobody knows: names are chosen by whoever made the archive. */
static uint64_t name_hash(const struct tree *tree, uint32_t folder, struct span name)
{
	const uint64_t *key = tree->hash_key;
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU,
			  key[0] ^ 0x6c7967656e657261U, key[1] ^ 0x7465646279746573U };
	uint64_t word = folder;
	size_t i;

	for (i = 0;; i += 8) {
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
		if (i >= name.len)
			break;
		word = 0;
		memcpy(&word, name.ptr + i, name.len - i < 8 ? name.len - i : 8);
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t bucket_of(const struct tree *tree, uint32_t folder, struct span name)
{
	return (size_t)name_hash(tree, folder, name) & (tree->bucket_count - 1);
}

uint32_t tree_lookup(const struct tree *tree, uint32_t folder, struct span name)
{
	uint32_t at = tree->buckets[bucket_of(tree, folder, name)];

	while (at != TREE_NONE) {
		if (tree->entries[at].folder == folder && span_eq(tree_entry_name(tree, at), name))
			return at;
		at = tree->entries[at].hash_next;
	}
	return TREE_NONE;
}

static void hash_insert(struct tree *tree, uint32_t entry)
{
	size_t bucket = bucket_of(tree, tree->entries[entry].folder, tree_entry_name(tree, entry));

	tree->entries[entry].hash_next = tree->buckets[bucket];
	tree->buckets[bucket] = entry;
}

static void hash_remove(struct tree *tree, uint32_t entry)
{
	size_t bucket = bucket_of(tree, tree->entries[entry].folder, tree_entry_name(tree, entry));
	uint32_t *at = &tree->buckets[bucket];

	while (*at != entry)
		at = &tree->entries[*at].hash_next;
	*at = tree->entries[entry].hash_next;
}

static void hash_grow(struct tree *tree)
{
	uint32_t i;

	if (tree->entry_count < tree->bucket_count)
		return;
	tree->bucket_count *= 2;
	mem_free(tree->buckets);
	tree->buckets = mem_alloc(tree->bucket_count, sizeof(*tree->buckets));
	memset(tree->buckets, 0xff, tree->bucket_count * sizeof(*tree->buckets));
	for (i = 0; i < tree->entry_count; i++) {
		if (tree->entries[i].folder != TREE_NONE)
			hash_insert(tree, i);
	}
}

/* --- arrays --- */

static void *grown(void *array, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	return mem_grow(array, *cap, size);
}

static int text_add(struct tree *tree, struct span bytes, uint32_t *ret, struct err *err)
{
	if (bytes.len > tree->text_max - tree->text_len)
		return limit_reached(err, "name_bytes", tree->text_max,
				     "bytes of names and symbolic links");
	while (tree->text_cap - tree->text_len < bytes.len) {
		tree->text_cap = tree->text_cap ? tree->text_cap * 2 : 65536;
		tree->text = mem_grow(tree->text, tree->text_cap, 1);
	}
	*ret = (uint32_t)tree->text_len;
	if (bytes.len > 0)
		memcpy(tree->text + tree->text_len, bytes.ptr, bytes.len);
	tree->text_len += bytes.len;
	return 0;
}

static uint32_t inode_new(struct tree *tree, const struct tree_attributes *attributes)
{
	struct tree_inode *inode;

	tree->inodes =
		grown(tree->inodes, tree->inode_count, &tree->inode_cap, sizeof(*tree->inodes));
	inode = &tree->inodes[tree->inode_count];
	*inode = (struct tree_inode){ .attributes = *attributes };
	if ((attributes->mode & S_IFMT) == S_IFDIR) {
		inode->u.folder.first = TREE_NONE;
		inode->u.folder.last = TREE_NONE;
		inode->u.folder.parent = TREE_NONE;
		inode->u.folder.is_implied = false;
		inode->u.folder.layer = tree->layer;
		inode->u.folder.described = tree->layer;
		inode->u.folder.hidden = tree->layer; /* there is nothing lower in it */
	}
	return (uint32_t)tree->inode_count++;
}

/* Enters a name that is free. */
static int entry_new(struct tree *tree, uint32_t folder, struct span name, uint32_t inode,
		     struct err *err)
{
	struct tree_inode *in = &tree->inodes[folder];
	struct tree_entry *entry;
	uint32_t at = (uint32_t)tree->entry_count;
	uint32_t text = 0;
	int r;

	r = text_add(tree, name, &text, err);
	if (r < 0)
		return r;
	tree->entries =
		grown(tree->entries, tree->entry_count, &tree->entry_cap, sizeof(*tree->entries));
	entry = &tree->entries[at];
	*entry = (struct tree_entry){ .folder = folder,
				      .inode = inode,
				      .previous = in->u.folder.last,
				      .next = TREE_NONE,
				      .hash_next = TREE_NONE,
				      .text = text,
				      .layer = tree->layer,
				      .name_len = (uint8_t)name.len };
	if (in->u.folder.last == TREE_NONE)
		in->u.folder.first = at;
	else
		tree->entries[in->u.folder.last].next = at;
	in->u.folder.last = at;
	in->u.folder.count++;
	tree->entry_count++;
	tree->inodes[inode].names++;
	if (tree_is_folder(tree, inode)) {
		in->u.folder.subfolders++;
		tree->inodes[inode].u.folder.parent = folder;
	}
	tree_touch_folder(tree, folder);
	hash_insert(tree, at);
	hash_grow(tree);
	return 0;
}

void tree_init(struct tree *tree, const struct tree_attributes *implied, uint64_t text_max)
{
	struct tree_attributes attributes = *implied;
	struct err err = ERR_INIT;
	int r;

	*tree = (struct tree){ .implied = *implied,
			       .bucket_count = BUCKETS_MIN,
			       .text_max = text_max };
	/* Without random numbers the table is only slower on hostile names. */
	if (getrandom(tree->hash_key, sizeof(tree->hash_key), 0) < 0)
		tree->hash_key[0] = 1;
	tree->buckets = mem_alloc(tree->bucket_count, sizeof(*tree->buckets));
	memset(tree->buckets, 0xff, tree->bucket_count * sizeof(*tree->buckets));

	inode_new(tree, &attributes);
	tree->inodes[TREE_ROOT].names = 1;
	tree->inodes[TREE_ROOT].u.folder.parent = TREE_ROOT;
	attributes.mode = S_IFDIR | 0700;
	tree->lost_found = inode_new(tree, &attributes);
	r = entry_new(tree, TREE_ROOT, span_str("lost+found"), tree->lost_found, &err);
	assert(r == 0);
	tree->inodes[TREE_ROOT].u.folder.is_implied = true;
	tree->inodes[tree->lost_found].u.folder.is_implied = true;
}

void tree_done(struct tree *tree)
{
	mem_free(tree->inodes);
	mem_free(tree->entries);
	mem_free(tree->runs);
	mem_free(tree->text);
	mem_free(tree->buckets);
	*tree = (struct tree){ .bucket_count = 0 };
}

/* --- changes --- */

int tree_add(struct tree *tree, const struct tree_place *place,
	     const struct tree_attributes *attributes, uint32_t *ret_inode, struct err *err)
{
	uint32_t inode;
	int r;

	assert(place->name.len > 0 && place->name.len <= TREE_NAME_MAX);
	assert(place->existing == TREE_NONE);
	inode = inode_new(tree, attributes);
	r = entry_new(tree, place->folder, place->name, inode, err);
	if (r < 0)
		return r;
	*ret_inode = inode;
	return 0;
}

int tree_link(struct tree *tree, const struct tree_place *place, uint32_t inode, struct err *err)
{
	assert(!tree_is_folder(tree, inode));
	if (tree->inodes[inode].names >= TREE_LINKS_MAX)
		return err_set(err, ERR_LIMIT, "a file cannot have more than %d hard links",
			       TREE_LINKS_MAX);
	return entry_new(tree, place->folder, place->name, inode, err);
}

static void inode_release(struct tree *tree, uint32_t inode)
{
	const struct tree_inode *in = &tree->inodes[inode];
	uint32_t i;

	if (!tree->released)
		return;
	for (i = 0; i < in->run_count; i++)
		tree->released(tree->released_context, &tree->runs[in->run_first + i]);
}

/* Removes one entry, whose folder, if it is one, is empty. */
static void entry_remove(struct tree *tree, uint32_t at)
{
	struct tree_entry *entry = &tree->entries[at];
	struct tree_inode *folder = &tree->inodes[entry->folder];
	struct tree_inode *inode = &tree->inodes[entry->inode];

	hash_remove(tree, at);
	if (entry->previous == TREE_NONE)
		folder->u.folder.first = entry->next;
	else
		tree->entries[entry->previous].next = entry->next;
	if (entry->next == TREE_NONE)
		folder->u.folder.last = entry->previous;
	else
		tree->entries[entry->next].previous = entry->previous;
	folder->u.folder.count--;
	if (tree_is_folder(tree, entry->inode))
		folder->u.folder.subfolders--;
	entry->folder = TREE_NONE;
	inode->names--;
	if (inode->names == 0)
		inode_release(tree, entry->inode);
}

void tree_remove(struct tree *tree, uint32_t entry)
{
	uint32_t top = tree->entries[entry].inode;
	uint32_t at = top;

	/* Depth first without recursion: down to an empty folder or another thing, away with it, up
	 * again. */
	while (tree_is_folder(tree, top) && tree->inodes[top].u.folder.first != TREE_NONE) {
		uint32_t first = tree->inodes[at].u.folder.first;

		if (first == TREE_NONE) {
			at = tree->inodes[at].u.folder.parent;
			entry_remove(tree, tree->inodes[at].u.folder.first);
		} else if (tree_is_folder(tree, tree->entries[first].inode)) {
			at = tree->entries[first].inode;
		} else {
			entry_remove(tree, first);
		}
	}
	entry_remove(tree, entry);
}

int tree_set_target(struct tree *tree, uint32_t inode, struct span target, struct err *err)
{
	uint32_t text = 0;
	int r;

	if (target.len == 0)
		return err_set(err, ERR_INVALID, "the symlink's target is empty");
	if (target.len > TREE_LINK_MAX)
		return err_set(err, ERR_INVALID, "the symlink's target has %zu bytes, more than %d",
			       target.len, TREE_LINK_MAX);
	r = text_add(tree, target, &text, err);
	if (r < 0)
		return r;
	tree->inodes[inode].u.symlink.text = text;
	tree->inodes[inode].size = target.len;
	return 0;
}

void tree_add_run(struct tree *tree, uint32_t inode, uint32_t logical, uint64_t physical,
		  uint32_t length)
{
	struct tree_inode *in = &tree->inodes[inode];
	struct tree_run *last;

	if (in->run_count == 0)
		in->run_first = (uint32_t)tree->run_count;
	assert(in->run_first + in->run_count == tree->run_count);
	last = in->run_count > 0 ? &tree->runs[tree->run_count - 1] : NULL;
	if (last && last->logical + last->length == logical &&
	    last->physical + last->length == physical && last->length + length <= SPACE_RUN_MAX) {
		last->length += length;
		return;
	}
	tree->runs = grown(tree->runs, tree->run_count, &tree->run_cap, sizeof(*tree->runs));
	tree->runs[tree->run_count++] =
		(struct tree_run){ .physical = physical, .logical = logical, .length = length };
	in->run_count++;
}

/* --- numbers --- */

uint32_t tree_number(struct tree *tree)
{
	uint32_t next = SPACE_INODES_RESERVED + 1;
	uint32_t i;

	for (i = 0; i < tree->inode_count; i++) {
		struct tree_inode *inode = &tree->inodes[i];

		inode->number = 0;
		if (i == TREE_ROOT)
			inode->number = 2;
		else if (i == tree->lost_found && inode->names > 0)
			inode->number = SPACE_INODES_RESERVED;
		else if (inode->names > 0)
			inode->number = next++;
	}
	return next - 1;
}

uint16_t tree_disk_links(const struct tree *tree, uint32_t inode)
{
	const struct tree_inode *in = &tree->inodes[inode];
	uint32_t links = in->names;

	if (tree_is_folder(tree, inode))
		links = in->u.folder.subfolders + 2;
	return links > TREE_LINKS_MAX ? 1 : (uint16_t)links;
}
