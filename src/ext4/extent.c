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

static int write_node(uint8_t *node, uint32_t checksum_start, struct space *space,
		      struct sink *sink, uint64_t *ret_physical)
{
	uint32_t checked = HEADER_SIZE + EXTENT_NODE_MAX * ENTRY_SIZE;
	uint64_t taken;

	put_le32(node + checked, ext2fs_crc32c_le(checksum_start, node, checked));
	*ret_physical = space_take(space, 1, &taken);
	return sink_write(sink, *ret_physical * SPACE_BLOCK_SIZE, span_of(node, SPACE_BLOCK_SIZE));
}

/* Writes nodes over `count` runs (depth 0) or children; `ret` gets one child for each. */
static int write_level(const struct tree_run *runs, const struct child *children, size_t count,
		       unsigned depth, uint32_t checksum_start, struct space *space,
		       struct sink *sink, struct child *ret)
{
	size_t from, i;

	for (from = 0; from < count; from += EXTENT_NODE_MAX) {
		size_t n = count - from < EXTENT_NODE_MAX ? count - from : EXTENT_NODE_MAX;
		uint8_t node[SPACE_BLOCK_SIZE] = { 0 };
		struct child *child = &ret[from / EXTENT_NODE_MAX];
		int r;

		put_header(node, n, EXTENT_NODE_MAX, depth);
		for (i = 0; i < n; i++) {
			uint8_t *entry = node + HEADER_SIZE + i * ENTRY_SIZE;

			if (depth == 0)
				put_run(entry, &runs[from + i]);
			else
				put_child(entry, &children[from + i]);
		}
		child->logical = depth == 0 ? runs[from].logical : children[from].logical;
		r = write_node(node, checksum_start, space, sink, &child->physical);
		if (r < 0)
			return r;
	}
	return 0;
}

int extent_encode(const struct tree_run *runs, size_t count, uint32_t checksum_start,
		  struct space *space, struct sink *sink, uint8_t root[static EXTENT_ROOT_SIZE],
		  uint32_t *ret_blocks)
{
	AUTO_FREE struct child *children = NULL;
	uint32_t blocks = 0;
	unsigned depth = 0;
	size_t i;

	memset(root, 0, EXTENT_ROOT_SIZE);
	while (count > EXTENT_ROOT_MAX) {
		size_t nodes = (count + EXTENT_NODE_MAX - 1) / EXTENT_NODE_MAX;
		struct child *above = mem_alloc(nodes, sizeof(*above));
		int r = write_level(runs, children, count, depth, checksum_start, space, sink,
				    above);

		mem_free(children);
		children = above;
		if (r < 0)
			return r;
		blocks += (uint32_t)nodes;
		count = nodes;
		depth++;
	}
	put_header(root, count, EXTENT_ROOT_MAX, depth);
	for (i = 0; i < count; i++) {
		uint8_t *entry = root + HEADER_SIZE + i * ENTRY_SIZE;

		if (depth == 0)
			put_run(entry, &runs[i]);
		else
			put_child(entry, &children[i]);
	}
	*ret_blocks = blocks;
	return 0;
}
