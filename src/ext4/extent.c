#include "ext4/extent.h"

#include <endian.h>
#include <ext2fs/ext2fs.h>
#include <string.h>

#include "base/mem.h"

#define MAGIC	    0xF30AU
#define HEADER_SIZE 12U
#define ENTRY_SIZE  12U

/* What an index entry points to. */
struct child {
	uint64_t physical;
	uint32_t logical;
};

static void put_le16(uint8_t *into, size_t value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(into, &le, sizeof(le));
}

static void put_le32(uint8_t *into, uint64_t value)
{
	uint32_t le = htole32((uint32_t)value);

	memcpy(into, &le, sizeof(le));
}

static void put_header(uint8_t *node, size_t count, size_t max, unsigned depth)
{
	put_le16(node, MAGIC);
	put_le16(node + 2, count);
	put_le16(node + 4, max);
	put_le16(node + 6, depth);
}

static void put_run(uint8_t *entry, const struct tree_run *run)
{
	put_le32(entry, run->logical);
	put_le16(entry + 4, run->length);
	put_le16(entry + 6, (size_t)(run->physical >> 32));
	put_le32(entry + 8, run->physical);
}

static void put_child(uint8_t *entry, const struct child *child)
{
	put_le32(entry, child->logical);
	put_le32(entry + 4, child->physical);
	put_le16(entry + 8, (size_t)(child->physical >> 32));
}

static int write_node(uint8_t *node, const struct extent_target *target, uint64_t *ret_physical)
{
	const uint32_t checked = HEADER_SIZE + EXTENT_NODE_MAX * ENTRY_SIZE;
	uint64_t taken;

	put_le32(node + checked, ext2fs_crc32c_le(target->checksum_start, node, checked));
	*ret_physical = space_take(target->space, 1, &taken);
	return sink_write(target->sink, *ret_physical * SPACE_BLOCK_SIZE,
			  span_of(node, SPACE_BLOCK_SIZE));
}

/* The entries of a level: the runs themselves at the bottom, else what is below. */
struct level {
	const struct tree_run *runs;
	const struct child *children; /* NULL at the bottom */
	size_t count;
	unsigned depth;
};

static void put_entries(uint8_t *node, const struct level *level, size_t from, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		uint8_t *entry = node + HEADER_SIZE + i * ENTRY_SIZE;

		if (level->children)
			put_child(entry, &level->children[from + i]);
		else
			put_run(entry, &level->runs[from + i]);
	}
}

/* Writes the nodes that hold a level; `ret` gets one child for each. */
static int write_level(const struct level *level, const struct extent_target *target,
		       struct child *ret)
{
	size_t from;

	for (from = 0; from < level->count; from += EXTENT_NODE_MAX) {
		const size_t rest = level->count - from;
		const size_t count = rest < EXTENT_NODE_MAX ? rest : EXTENT_NODE_MAX;
		uint8_t node[SPACE_BLOCK_SIZE] = { 0 };
		struct child *child = &ret[from / EXTENT_NODE_MAX];
		int r;

		put_header(node, count, EXTENT_NODE_MAX, level->depth);
		put_entries(node, level, from, count);
		child->logical =
			level->children ? level->children[from].logical : level->runs[from].logical;
		r = write_node(node, target, &child->physical);
		if (r < 0)
			return r;
	}
	return 0;
}

int extent_encode(const struct tree_run *runs, size_t count, const struct extent_target *target,
		  uint8_t root[static EXTENT_ROOT_SIZE], uint32_t *ret_blocks)
{
	AUTO_FREE struct child *children = NULL;
	struct level level = { .runs = runs, .count = count };
	uint32_t blocks = 0;

	while (level.count > EXTENT_ROOT_MAX) {
		const size_t nodes = (level.count + EXTENT_NODE_MAX - 1) / EXTENT_NODE_MAX;
		struct child *above = mem_alloc(nodes, sizeof(*above));
		const int r = write_level(&level, target, above);

		mem_free(children);
		children = above;
		if (r < 0)
			return r;
		level.children = children;
		level.count = nodes;
		level.depth++;
		blocks += (uint32_t)nodes;
	}
	memset(root, 0, EXTENT_ROOT_SIZE);
	put_header(root, level.count, EXTENT_ROOT_MAX, level.depth);
	put_entries(root, &level, 0, level.count);
	*ret_blocks = blocks;
	return 0;
}
