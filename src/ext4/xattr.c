#include "ext4/xattr.h"

#include <endian.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ext4/acl.h"
#include "ext4/limit.h"

#define PAD	     4U
#define MAGIC	     0xEA020000U
#define ENTRY_SIZE   ((uint32_t)sizeof(struct ext2_ext_attr_entry))
#define HEADER_SIZE  ((uint32_t)sizeof(struct ext2_ext_attr_header))
#define BODY_MAGIC   4U /* the magic number alone heads the attributes in an inode */
#define TERMINATOR   4U /* an entry whose first four bytes are zero */
#define SET_OVERHEAD sizeof(struct xattr_set)

static const struct {
	const char *prefix;
	uint8_t index;
	bool is_whole; /* nothing may follow */
} prefixes[] = {
	{ "user.", 1, false },
	{ "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true },
	{ "trusted.", 4, false },
	{ "security.", 6, false },
};

void xattr_table_init(struct xattr_table *table, uint64_t bytes_max)
{
	*table = (struct xattr_table){ .count = 1, .cap = 16, .bytes_max = bytes_max };
	table->sets = mem_alloc(table->cap, sizeof(*table->sets));
}

void xattr_table_done(struct xattr_table *table)
{
	size_t i;

	for (i = 0; i < table->count; i++) {
		mem_free(table->sets[i].body);
		mem_free(table->sets[i].block);
	}
	mem_free(table->sets);
	*table = (struct xattr_table){ .count = 0 };
}

void xattr_list_done(struct xattr_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		mem_free(list->items[i].value);
	mem_free(list->items);
	*list = (struct xattr_list){ .count = 0 };
}

/* --- gathering --- */

static int find_prefix(const char *name, size_t *ret_row, struct err *err)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(prefixes); i++) {
		bool is_match = prefixes[i].is_whole ? str_eq(name, prefixes[i].prefix)
						     : str_starts(name, prefixes[i].prefix);

		if (is_match) {
			*ret_row = i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "ext4 cannot hold the attribute '%.64s'", name);
}

static struct xattr_item *item_slot(struct xattr_list *list, uint8_t index, const char *name,
				    struct err *err)
{
	struct xattr_item *item;
	size_t i;

	for (i = 0; i < list->count; i++) {
		item = &list->items[i];
		if (item->index == index && str_eq(item->name, name))
			return item;
	}
	if (list->count == XATTR_COUNT_MAX) {
		(void)err_set(err, ERR_LIMIT, "there are more than %u attributes", XATTR_COUNT_MAX);
		return NULL;
	}
	list->items = mem_grow(list->items, list->count + 1, sizeof(*list->items));
	item = &list->items[list->count++];
	*item = (struct xattr_item){ .index = index, .name_len = (uint8_t)strlen(name) };
	memcpy(item->name, name, item->name_len);
	return item;
}

int xattr_list_add(struct xattr_list *list, const char *name, struct span value, struct err *err)
{
	AUTO_BUF acl = BUF_INIT;
	struct xattr_item *item;
	const char *rest;
	size_t row = 0;
	int r;

	r = find_prefix(name, &row, err);
	if (r < 0)
		return r;
	rest = name + strlen(prefixes[row].prefix);
	if (strlen(rest) > UINT8_MAX || (rest[0] == '\0' && !prefixes[row].is_whole))
		return err_set(err, ERR_INVALID, "ext4 cannot hold the attribute '%.64s'", name);
	if (prefixes[row].is_whole) {
		r = acl_encode(value, &acl);
		if (r < 0)
			return err_set(err, ERR_INVALID, "the attribute '%s' is malformed", name);
		value = buf_span(&acl);
	}
	if (value.len > SPACE_BLOCK_SIZE)
		return err_set(err, ERR_LIMIT,
			       "the attribute '%.64s' has %zu bytes, and ext4 holds less than %u",
			       name, value.len, SPACE_BLOCK_SIZE);
	item = item_slot(list, prefixes[row].index, rest, err);
	if (!item)
		return -err->errnum < 0 ? -err->errnum : -EOVERFLOW;
	mem_free(item->value);
	item->value = mem_alloc(value.len + 1, 1);
	item->value_len = value.len;
	if (value.len > 0)
		memcpy(item->value, value.ptr, value.len);
	return 0;
}

/* --- encoding --- */

/* The order that ext4 wants in a block: prefix, length of the name, name. */
static int compare_items(const void *a, const void *b)
{
	const struct xattr_item *x = a;
	const struct xattr_item *y = b;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	return memcmp(x->name, y->name, x->name_len);
}

static uint32_t padded(size_t size)
{
	return ((uint32_t)size + PAD - 1) & ~(PAD - 1);
}

/* Entries grow from `at` up, values from `end` down; offsets of values count from `base`. */
struct area {
	uint8_t *bytes;
	uint32_t base;
	uint32_t at;
	uint32_t end;
};

static bool area_add(struct area *area, const struct xattr_item *item)
{
	uint32_t entry_size = ENTRY_SIZE + padded(item->name_len);
	uint32_t value_size = padded(item->value_len);
	struct ext2_ext_attr_entry *entry;

	if (area->end - area->at < entry_size + value_size + TERMINATOR)
		return false;
	area->end -= value_size;
	entry = (struct ext2_ext_attr_entry *)(void *)(area->bytes + area->at);
	entry->e_name_len = item->name_len;
	entry->e_name_index = item->index;
	entry->e_value_size = htole32((uint32_t)item->value_len);
	if (item->value_len > 0)
		entry->e_value_offs = htole16((uint16_t)(area->end - area->base));
	memcpy(area->bytes + area->at + ENTRY_SIZE, item->name, item->name_len);
	if (item->value_len > 0)
		memcpy(area->bytes + area->end, item->value, item->value_len);
	entry->e_hash = htole32(ext2fs_ext_attr_hash_entry(entry, area->bytes + area->end));
	area->at += entry_size;
	return true;
}

static void put_le32(uint8_t *into, uint32_t value)
{
	value = htole32(value);
	memcpy(into, &value, sizeof(value));
}

/* Small attributes fill the inode's room first; the others go to the block. */
static int encode(const struct xattr_list *list, struct xattr_set *set, struct err *err)
{
	uint8_t *body = mem_alloc(1, XATTR_BODY_SIZE);
	uint8_t *block = mem_alloc(1, SPACE_BLOCK_SIZE);
	struct area in_body = {
		.bytes = body, .base = BODY_MAGIC, .at = BODY_MAGIC, .end = XATTR_BODY_SIZE
	};
	struct area in_block = {
		.bytes = block, .base = 0, .at = HEADER_SIZE, .end = SPACE_BLOCK_SIZE
	};
	struct ext2_ext_attr_header *header = (void *)block;
	size_t i;

	set->body = body;
	set->block = block;
	for (i = 0; i < list->count; i++) {
		if (area_add(&in_body, &list->items[i]) || area_add(&in_block, &list->items[i]))
			continue;
		return err_set(err, ERR_LIMIT,
			       "its attributes are too large: ext4 holds about %u bytes of them",
			       SPACE_BLOCK_SIZE);
	}
	if (in_body.at > BODY_MAGIC) {
		put_le32(body, MAGIC);
	} else {
		mem_free(set->body);
		set->body = NULL;
	}
	if (in_block.at > HEADER_SIZE) {
		header->h_magic = htole32(MAGIC);
		header->h_blocks = htole32(1);
		ext2fs_ext_attr_block_rehash(header, (void *)(block + in_block.at));
	} else {
		mem_free(set->block);
		set->block = NULL;
	}
	return 0;
}

/* --- the table --- */

static uint64_t fnv(uint64_t hash, const uint8_t *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static uint64_t set_hash(const struct xattr_set *set)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	if (set->body)
		hash = fnv(hash, set->body, XATTR_BODY_SIZE);
	if (set->block)
		hash = fnv(hash, set->block, SPACE_BLOCK_SIZE);
	return hash;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t size)
{
	if (!a || !b)
		return a == b;
	return memcmp(a, b, size) == 0;
}

/* Looks at the latest sets only: files of a package come together, and a hostile list stays cheap.
 */
#define LOOK_BACK 256U

static uint32_t find_set(const struct xattr_table *table, const struct xattr_set *set)
{
	size_t i;

	for (i = table->count; i > 1 && table->count - i < LOOK_BACK; i--) {
		const struct xattr_set *other = &table->sets[i - 1];

		if (other->hash == set->hash &&
		    same_bytes(other->body, set->body, XATTR_BODY_SIZE) &&
		    same_bytes(other->block, set->block, SPACE_BLOCK_SIZE))
			return (uint32_t)(i - 1);
	}
	return 0;
}

static size_t set_size(const struct xattr_set *set)
{
	return SET_OVERHEAD + (set->body ? XATTR_BODY_SIZE : 0) +
	       (set->block ? SPACE_BLOCK_SIZE : 0);
}

/* `set` is given. */
static uint32_t append_set(struct xattr_table *table, struct xattr_set *set)
{
	if (table->count == table->cap) {
		table->cap *= 2;
		table->sets = mem_grow(table->sets, table->cap, sizeof(*table->sets));
	}
	table->bytes += set_size(set);
	table->sets[table->count] = *set;
	*set = (struct xattr_set){ .body = NULL };
	return (uint32_t)table->count++;
}

static void set_done(struct xattr_set *set)
{
	mem_free(set->body);
	mem_free(set->block);
}

int xattr_table_add(struct xattr_table *table, struct xattr_list *list, uint32_t *ret_set,
		    struct err *err)
{
	CLEANUP(set_done) struct xattr_set set = { .body = NULL };
	uint32_t found;
	int r;

	if (list->count == 0) {
		*ret_set = 0;
		return 0;
	}
	qsort(list->items, list->count, sizeof(*list->items), compare_items);
	r = encode(list, &set, err);
	if (r < 0)
		return r;
	set.hash = set_hash(&set);
	found = find_set(table, &set);
	if (found == 0) {
		if (set_size(&set) > table->bytes_max - table->bytes)
			return limit_reached(err, "xattr_bytes", table->bytes_max,
					     "bytes of extended attributes");
		found = append_set(table, &set);
	}
	*ret_set = found;
	return 0;
}

static uint8_t *copy_bytes(const uint8_t *bytes, size_t size)
{
	uint8_t *copy;

	if (!bytes)
		return NULL;
	copy = mem_alloc(1, size);
	memcpy(copy, bytes, size);
	return copy;
}

uint32_t xattr_table_copy(struct xattr_table *to, const struct xattr_table *from, uint32_t set)
{
	CLEANUP(set_done) struct xattr_set copy = { .body = NULL };
	uint32_t found;

	if (set == 0)
		return 0;
	copy.body = copy_bytes(from->sets[set].body, XATTR_BODY_SIZE);
	copy.block = copy_bytes(from->sets[set].block, SPACE_BLOCK_SIZE);
	copy.hash = from->sets[set].hash;
	found = find_set(to, &copy);
	return found > 0 ? found : append_set(to, &copy);
}
