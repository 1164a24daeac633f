#include "ext4/space.h"

#include "base/buf.h"
#include "base/text.h"

#define DESCRIPTOR_BLOCKS_FULL 1024U /* what the resize inode can address */
#define GROWTH_FACTOR	       1024U
#define FULL_SIZE_MIN	       (1ULL << 30) /* from here on the full number is reserved */

/* Blocks that libext2fs wants free in a last, shorter group beside its tables; else it drops the
 * group. */
#define LAST_GROUP_SLACK 50U

/* What one bitmap block counts. */
#define INODES_PER_GROUP_MAX 32768ULL

/* The resize inode's block, and extent tree blocks of a journal in pieces. */
#define JOURNAL_SLACK 8U

static uint64_t div_ceil(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

static bool is_power_of(uint64_t value, uint64_t base)
{
	while (value > 1 && value % base == 0)
		value /= base;
	return value == 1;
}

bool space_has_super(uint64_t group)
{
	return group <= 1 || is_power_of(group, 3) || is_power_of(group, 5) ||
	       is_power_of(group, 7);
}

uint32_t space_descriptor_blocks(uint64_t size_bytes)
{
	uint64_t groups;

	if (size_bytes == 0 || size_bytes >= FULL_SIZE_MIN)
		return DESCRIPTOR_BLOCKS_FULL;
	groups = div_ceil(size_bytes * GROWTH_FACTOR, SPACE_GROUP_BYTES);
	return (uint32_t)div_ceil(groups, SPACE_DESC_PER_BLOCK);
}

void space_init(struct space *space, uint64_t size_bytes)
{
	*space = (struct space){ .descriptor_blocks = space_descriptor_blocks(size_bytes) };
	space->next = 1 + space->descriptor_blocks;
}

/* The first group behind `block` that begins with a superblock. */
static uint64_t next_super_group(uint64_t block)
{
	uint64_t group = block / SPACE_GROUP_BLOCKS + 1;

	while (!space_has_super(group))
		group++;
	return group;
}

uint64_t space_take(struct space *space, uint64_t want, uint64_t *ret_count)
{
	uint64_t start = space->next;
	uint64_t end = next_super_group(start) * SPACE_GROUP_BLOCKS;
	uint64_t count = want < end - start ? want : end - start;

	space->next += count;
	if (space->next == end)
		space->next += 1 + space->descriptor_blocks;
	*ret_count = count;
	return start;
}

/*
 * mke2fs's sizes below 1 GiB; 32 MiB for all others. A step of growing touches each reserved
 * descriptor block and must fit into a quarter of the journal: 1024 of 8192 do, and a 1024th of the
 * size in blocks always does.
 */
static uint32_t journal_blocks(uint64_t blocks)
{
	if (blocks < 32768)
		return 1024;
	if (blocks < 262144)
		return 4096;
	return 8192;
}

/* Groups with a superblock among those that `blocks` blocks reach into. */
static uint64_t super_groups(uint64_t blocks)
{
	uint64_t groups = div_ceil(blocks, SPACE_GROUP_BLOCKS);
	uint64_t count = 0;
	uint64_t group;

	for (group = 0; group < groups; group++)
		count += space_has_super(group);
	return count;
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return div_ceil(value, to) * to;
}

/* The layout of `blocks` blocks for at least `inodes` inodes. */
static void layout_of(const struct space *space, uint64_t blocks, uint64_t inodes,
		      struct layout *ret)
{
	const uint64_t ratio = blocks * SPACE_BLOCK_SIZE / SPACE_BYTES_PER_INODE;
	const uint64_t wanted = inodes > ratio ? inodes : ratio;
	uint64_t per_group;

	ret->descriptor_blocks = space->descriptor_blocks;
	ret->blocks = blocks;
	ret->groups = (uint32_t)div_ceil(blocks, SPACE_GROUP_BLOCKS);
	ret->journal_blocks = journal_blocks(blocks);
	per_group = round_up(div_ceil(wanted, ret->groups), SPACE_INODES_PER_BLOCK);
	if (per_group > INODES_PER_GROUP_MAX)
		per_group = INODES_PER_GROUP_MAX;
	ret->inodes_per_group = (uint32_t)per_group;
	ret->table_blocks = ret->inodes_per_group / SPACE_INODES_PER_BLOCK;
}

/* The same, with a last group that is too short for its tables dropped, as libext2fs does. */
static void layout_fill(const struct space *space, uint64_t blocks, uint64_t inodes,
			struct layout *ret)
{
	const uint64_t rest = blocks % SPACE_GROUP_BLOCKS;
	uint64_t overhead;

	layout_of(space, blocks, inodes, ret);
	overhead = 2 + ret->table_blocks;
	if (space_has_super(ret->groups - 1))
		overhead += 1 + space->descriptor_blocks;
	if (rest > 0 && rest < overhead + LAST_GROUP_SLACK && ret->groups > 1)
		layout_of(space, blocks - rest, inodes, ret);
}

/* Blocks that must be there: what is taken, tables, journal, the resize inode's block, backup
 * places behind. */
static uint64_t blocks_needed(const struct space *space, const struct layout *layout)
{
	uint64_t taken = space->next;
	uint64_t behind = super_groups(layout->blocks);
	uint64_t before = super_groups(taken);
	uint64_t crossed = behind > before ? behind - before : 0;

	/* An inode table is one piece: one that would cross such a place leaves a gap before it. */
	return taken + (uint64_t)layout->groups * (2 + layout->table_blocks) +
	       layout->journal_blocks + JOURNAL_SLACK +
	       crossed * (1 + layout->descriptor_blocks + layout->table_blocks);
}

static bool layout_fits(const struct space *space, const struct layout *layout, uint64_t inodes)
{
	return blocks_needed(space, layout) <= layout->blocks &&
	       inodes <= (uint64_t)layout->groups * layout->inodes_per_group;
}

/* The smallest size of whole groups, from `blocks` on, in which everything has a place. */
static int layout_search(const struct space *space, uint64_t blocks, uint64_t inodes,
			 struct layout *ret)
{
	uint64_t at = round_up(blocks, SPACE_GROUP_BLOCKS);

	for (; at <= (16ULL << 40) / SPACE_BLOCK_SIZE; at += SPACE_GROUP_BLOCKS) {
		layout_fill(space, at, inodes, ret);
		if (layout_fits(space, ret, inodes))
			return 0;
	}
	return -ENOSPC;
}

static int too_small(const struct space *space, uint64_t size_bytes, uint64_t inodes,
		     struct err *err)
{
	AUTO_BUF is = BUF_INIT;
	AUTO_BUF needed = BUF_INIT;
	struct layout layout = { 0 };

	text_size(&is, size_bytes);
	if (layout_search(space, 1, inodes, &layout) < 0)
		return err_set(err, ERR_LIMIT, "the content does not fit into any ext4");
	text_size(&needed, layout.blocks * SPACE_BLOCK_SIZE);
	return err_set(err, ERR_LIMIT,
		       "the size of %s (%llu bytes) is too small: the content with its %llu inodes "
		       "needs %s (%llu bytes)",
		       is.ptr, (unsigned long long)size_bytes, (unsigned long long)inodes,
		       needed.ptr, (unsigned long long)(layout.blocks * SPACE_BLOCK_SIZE));
}

uint64_t space_take_whole(struct space *space, uint64_t count)
{
	uint64_t taken = 0;
	uint64_t start;

	do {
		start = space_take(space, count, &taken);
	} while (taken < count);
	return start;
}

int layout_decide(const struct space *space, uint64_t size_bytes, uint64_t inodes,
		  struct layout *ret, struct err *err)
{
	struct layout layout = { 0 };
	uint64_t wanted;

	if (size_bytes > 0) {
		layout_fill(space, size_bytes / SPACE_BLOCK_SIZE, inodes, &layout);
		if (!layout_fits(space, &layout, inodes))
			return too_small(space, size_bytes, inodes, err);
		*ret = layout;
		return 0;
	}

	wanted = space->next + space->next / 2;
	if (wanted < FULL_SIZE_MIN / SPACE_BLOCK_SIZE)
		wanted = FULL_SIZE_MIN / SPACE_BLOCK_SIZE;
	/* As with the blocks, a half more inodes than are in use. */
	if (layout_search(space, wanted, inodes + inodes / 2, &layout) < 0)
		return err_set(err, ERR_LIMIT, "the content does not fit into any ext4");
	*ret = layout;
	return 0;
}
