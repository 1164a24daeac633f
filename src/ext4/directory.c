#include "ext4/directory.h"

#include <endian.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define TAIL_SIZE      12U /* the checksum, dressed as an entry without a name */
#define TAIL_TYPE      0xDE
#define LEAF_SIZE      (SPACE_BLOCK_SIZE - TAIL_SIZE)
#define LEAF_FILL      (LEAF_SIZE - LEAF_SIZE / 5)
#define HEAD_SIZE      8U /* inode, length, name length, type */
#define DOT_SIZE       12U
#define ROOT_ENTRIES   32U /* where the index begins: after ".", ".." and the root's information */
#define NODE_ENTRIES   8U  /* after an entry that spans the block */
#define DX_ENTRY_SIZE  8U
#define DX_TAIL_SIZE   8U
#define ROOT_LIMIT     ((SPACE_BLOCK_SIZE - ROOT_ENTRIES - DX_TAIL_SIZE) / DX_ENTRY_SIZE)
#define NODE_LIMIT     ((SPACE_BLOCK_SIZE - NODE_ENTRIES - DX_TAIL_SIZE) / DX_ENTRY_SIZE)
#define HASH_CONTINUES 1U /* the lowest bit: names of this hash are in the block before, too */

static void put_le16(uint8_t *into, size_t value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(into, &le, sizeof(le));
}

static void put_le32(uint8_t *into, uint32_t value)
{
	value = htole32(value);
	memcpy(into, &value, sizeof(value));
}

static uint32_t entry_size(size_t name_len)
{
	return (HEAD_SIZE + (uint32_t)name_len + 3) & ~3U;
}

static void put_entry(uint8_t *at, uint32_t inode, uint32_t length, struct span name, uint8_t type)
{
	put_le32(at, inode);
	put_le16(at + 4, length);
	at[6] = (uint8_t)name.len;
	at[7] = type;
	if (name.len > 0)
		memcpy(at + HEAD_SIZE, name.ptr, name.len);
}

static void put_tail(uint8_t *block, uint32_t start)
{
	uint8_t *tail = block + LEAF_SIZE;

	put_entry(tail, 0, TAIL_SIZE, span_of(NULL, 0), TAIL_TYPE);
	put_le32(tail + HEAD_SIZE, ext2fs_crc32c_le(start, block, LEAF_SIZE));
}

static uint8_t *add_block(struct buf *out)
{
	size_t at = out->len;

	buf_reserve(out, SPACE_BLOCK_SIZE);
	memset(out->ptr + at, 0, SPACE_BLOCK_SIZE);
	buf_advance(out, SPACE_BLOCK_SIZE);
	return (uint8_t *)out->ptr + at;
}

/* --- linear --- */

/* The last entry of a block reaches to the tail. */
static void stretch_last(uint8_t *block, uint32_t last, uint32_t end)
{
	if (end > 0)
		put_le16(block + last + 4, LEAF_SIZE - last);
	else
		put_entry(block, 0, LEAF_SIZE, span_of(NULL, 0), 0);
}

static void put_dots(const struct directory *directory, uint8_t *block, uint32_t second_length)
{
	put_entry(block, directory->inode, DOT_SIZE, span_str("."), EXT2_FT_DIR);
	put_entry(block + DOT_SIZE, directory->parent, second_length, span_str(".."), EXT2_FT_DIR);
}

static bool fits_linear(const struct directory *directory)
{
	uint32_t size = 2 * DOT_SIZE;
	size_t i;

	if (directory->count > LEAF_SIZE / entry_size(1))
		return false;
	for (i = 0; i < directory->count; i++)
		size += entry_size(directory->entries[i].name.len);
	return size <= LEAF_SIZE;
}

static void encode_linear(const struct directory *directory, uint32_t start, struct buf *out)
{
	uint8_t *block = add_block(out);
	uint32_t at = 2 * DOT_SIZE;
	uint32_t last = DOT_SIZE;
	uint32_t n;
	size_t i;

	put_dots(directory, block, DOT_SIZE);
	for (i = 0; i < directory->count; i++) {
		const struct directory_entry *entry = &directory->entries[i];
		uint32_t size = entry_size(entry->name.len);

		put_entry(block + at, entry->inode, size, entry->name, entry->type);
		last = at;
		at += size;
	}
	stretch_last(block, last, at);
	put_tail(block, start);
	for (n = 1; n < directory->blocks_min; n++) {
		block = add_block(out);
		stretch_last(block, 0, 0);
		put_tail(block, start);
	}
}

/* --- the hash tree --- */

struct hashed {
	uint32_t hash;
	uint32_t minor;
	uint32_t index;
};

static int compare_hashed(const void *a, const void *b)
{
	const struct hashed *x = a;
	const struct hashed *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int hash_names(const struct directory *directory, const struct fs_identity *identity,
		      struct hashed **ret, struct err *err)
{
	struct hashed *hashed = mem_alloc(directory->count, sizeof(*hashed));
	uint32_t seed[4];
	size_t i;

	memcpy(seed, identity->hash_seed, sizeof(seed));
	for (i = 0; i < directory->count; i++) {
		struct span name = directory->entries[i].name;
		errcode_t e =
			ext2fs_dirhash(EXT2_HASH_HALF_MD4_UNSIGNED, (const char *)name.ptr,
				       (int)name.len, seed, &hashed[i].hash, &hashed[i].minor);

		if (e != 0) {
			mem_free(hashed);
			return err_set(err, ERR_UNSUPPORTED, "hash a name for a folder's index");
		}
		hashed[i].hash &= ~HASH_CONTINUES;
		hashed[i].index = (uint32_t)i;
	}
	qsort(hashed, directory->count, sizeof(*hashed), compare_hashed);
	*ret = hashed;
	return 0;
}

struct leaves {
	uint32_t *hashes; /* owned: the lowest hash of each, perhaps with HASH_CONTINUES */
	size_t count;
	size_t cap;
};

static void leaves_done(struct leaves *leaves)
{
	mem_free(leaves->hashes);
}

static void leaf_begin(struct leaves *leaves, uint32_t hash)
{
	if (leaves->count == leaves->cap) {
		leaves->cap = leaves->cap ? leaves->cap * 2 : 64;
		leaves->hashes = mem_grow(leaves->hashes, leaves->cap, sizeof(*leaves->hashes));
	}
	leaves->hashes[leaves->count++] = hash;
}

static void encode_leaves(const struct directory *directory, const struct hashed *hashed,
			  uint32_t start, struct leaves *leaves, struct buf *out)
{
	uint8_t *block = NULL;
	uint32_t at = 0;
	uint32_t last = 0;
	size_t i;

	for (i = 0; i < directory->count; i++) {
		const struct directory_entry *entry = &directory->entries[hashed[i].index];
		uint32_t size = entry_size(entry->name.len);

		if (!block || at + size > LEAF_FILL) {
			bool continues = i > 0 && hashed[i].hash == hashed[i - 1].hash;

			if (block) {
				stretch_last(block, last, at);
				put_tail(block, start);
			}
			leaf_begin(leaves, hashed[i].hash | (continues ? HASH_CONTINUES : 0));
			block = add_block(out);
			at = 0;
		}
		put_entry(block + at, entry->inode, size, entry->name, entry->type);
		last = at;
		at += size;
	}
	if (block) {
		stretch_last(block, last, at);
		put_tail(block, start);
	}
}

/* An index block: every `stride`-th of `hashes`, each for one of the blocks from `first_block` on.
 */
struct dx {
	uint32_t entries_at;
	uint32_t limit;
	const uint32_t *hashes;
	size_t stride;
	size_t count;
	size_t first_block;
};

/* The first entry's hash is the room for limit and count. */
static void put_index(uint8_t *block, const struct dx *dx, uint32_t start)
{
	uint8_t *entries = block + dx->entries_at;
	uint8_t *tail = entries + (size_t)dx->limit * DX_ENTRY_SIZE;
	uint32_t crc;
	size_t i;

	for (i = 0; i < dx->count; i++) {
		put_le32(entries + i * DX_ENTRY_SIZE, dx->hashes[i * dx->stride]);
		put_le32(entries + i * DX_ENTRY_SIZE + 4, (uint32_t)(dx->first_block + i));
	}
	put_le16(entries, dx->limit);
	put_le16(entries + 2, dx->count);
	crc = ext2fs_crc32c_le(start, block, dx->entries_at + dx->count * DX_ENTRY_SIZE);
	/* The tail with its checksum taken as zero. */
	put_le32(tail + 4, ext2fs_crc32c_le(crc, tail, DX_TAIL_SIZE));
}

static void put_root(const struct directory *directory, uint8_t *block, uint8_t levels)
{
	put_dots(directory, block, SPACE_BLOCK_SIZE - DOT_SIZE);
	block[24 + 4] = EXT2_HASH_HALF_MD4;
	block[24 + 5] = 8; /* the length of this */
	block[24 + 6] = levels;
}

static int encode_indexed(const struct directory *directory, const struct hashed *hashed,
			  uint32_t start, struct buf *out, struct err *err)
{
	CLEANUP(leaves_done) struct leaves leaves = { .hashes = NULL };
	AUTO_BUF blocks = BUF_INIT;
	struct dx dx;
	size_t nodes, i;
	uint8_t *block;

	encode_leaves(directory, hashed, start, &leaves, &blocks);
	if (leaves.count > (size_t)ROOT_LIMIT * NODE_LIMIT)
		return err_set(err, ERR_LIMIT,
			       "it has %zu names, more than an index of two levels can hold",
			       directory->count);

	nodes = leaves.count <= ROOT_LIMIT ? 0 : (leaves.count + NODE_LIMIT - 1) / NODE_LIMIT;
	dx = (struct dx){ .entries_at = ROOT_ENTRIES,
			  .limit = ROOT_LIMIT,
			  .hashes = leaves.hashes,
			  .stride = nodes > 0 ? NODE_LIMIT : 1,
			  .count = nodes > 0 ? nodes : leaves.count,
			  .first_block = 1 };
	block = add_block(out);
	put_root(directory, block, nodes > 0);
	put_index(block, &dx, start);
	for (i = 0; i < nodes; i++) {
		const size_t from = i * NODE_LIMIT;
		const size_t rest = leaves.count - from;

		dx = (struct dx){ .entries_at = NODE_ENTRIES,
				  .limit = NODE_LIMIT,
				  .hashes = leaves.hashes + from,
				  .stride = 1,
				  .count = rest < NODE_LIMIT ? rest : NODE_LIMIT,
				  .first_block = 1 + nodes + from };
		block = add_block(out);
		put_entry(block, 0, SPACE_BLOCK_SIZE, span_of(NULL, 0), 0);
		put_index(block, &dx, start);
	}
	buf_add(out, buf_span(&blocks));
	return 0;
}

int directory_encode(const struct directory *directory, const struct fs_identity *identity,
		     struct buf *out, bool *ret_is_indexed, struct err *err)
{
	uint32_t start = identity_inode_seed(identity, directory->inode);
	AUTO_FREE struct hashed *hashed = NULL;
	int r;

	if (fits_linear(directory)) {
		encode_linear(directory, start, out);
		*ret_is_indexed = false;
		return 0;
	}
	r = hash_names(directory, identity, &hashed, err);
	if (r < 0)
		return r;
	r = encode_indexed(directory, hashed, start, out, err);
	if (r < 0)
		return r;
	*ret_is_indexed = true;
	return 0;
}
