#include "ext4/content.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void content_begin(struct content *content, uint32_t inode)
{
	content->inode = inode;
	content->block = 0;
	content->zeros = 0;
	content->fill = 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	/* Each byte equals the one before it, and the first is zero. */
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Gives the file `count` blocks from `logical` on; writes them unless `bytes` is NULL. */
static int place(struct content *content, uint64_t logical, uint64_t count, const uint8_t *bytes)
{
	while (count > 0) {
		uint64_t want = count < SPACE_RUN_MAX ? count : SPACE_RUN_MAX;
		uint64_t taken;
		uint64_t physical = space_take(content->space, want, &taken);

		tree_add_run(content->tree, content->inode, (uint32_t)logical, physical,
			     (uint32_t)taken);
		if (bytes) {
			int r = sink_write(content->sink, physical * SPACE_BLOCK_SIZE,
					   span_of(bytes, (size_t)taken * SPACE_BLOCK_SIZE));

			if (r < 0)
				return r;
			bytes += taken * SPACE_BLOCK_SIZE;
		}
		logical += taken;
		count -= taken;
	}
	return 0;
}

static int emit_data(struct content *content, const uint8_t *bytes, uint64_t count)
{
	uint64_t zeros = content->zeros;
	int r;

	content->zeros = 0;
	/* A fresh file is zero where nothing was written, so short runs need no writing either. */
	if (zeros > 0 && zeros < CONTENT_HOLE_MIN) {
		r = place(content, content->block - zeros, zeros, NULL);
		if (r < 0)
			return r;
	}
	r = place(content, content->block, count, bytes);
	content->block += count;
	return r;
}

static void emit_zeros(struct content *content, uint64_t count)
{
	content->zeros += count;
	content->block += count;
}

/* Whole blocks, in stretches that are all zero or have no zero block. */
static int emit_blocks(struct content *content, const uint8_t *bytes, size_t count)
{
	size_t from = 0;

	assert(bytes);
	while (from < count) {
		bool zero = is_zero(bytes + from * SPACE_BLOCK_SIZE, SPACE_BLOCK_SIZE);
		size_t to = from + 1;

		while (to < count &&
		       is_zero(bytes + to * SPACE_BLOCK_SIZE, SPACE_BLOCK_SIZE) == zero)
			to++;
		if (zero) {
			emit_zeros(content, to - from);
		} else {
			int r = emit_data(content, bytes + from * SPACE_BLOCK_SIZE, to - from);

			if (r < 0)
				return r;
		}
		from = to;
	}
	return 0;
}

/* Fills the rest of the begun block from `bytes`, at most `size`; returns how much was taken. */
static int fill_partial(struct content *content, const uint8_t *bytes, size_t size,
			size_t *ret_taken)
{
	size_t room = SPACE_BLOCK_SIZE - content->fill;
	size_t taken = size < room ? size : room;

	if (bytes)
		memcpy(content->partial + content->fill, bytes, taken);
	else
		memset(content->partial + content->fill, 0, taken);
	content->fill += (uint32_t)taken;
	*ret_taken = taken;
	if (content->fill < SPACE_BLOCK_SIZE)
		return 0;
	content->fill = 0;
	return emit_blocks(content, content->partial, 1);
}

/* Zeros up to `offset`. */
static int skip_to(struct content *content, uint64_t offset)
{
	uint64_t at = content->block * SPACE_BLOCK_SIZE + content->fill;
	size_t taken;

	if (content->fill > 0 && offset > at) {
		uint64_t gap = offset - at;
		size_t size = gap < SPACE_BLOCK_SIZE ? (size_t)gap : SPACE_BLOCK_SIZE;

		int r = fill_partial(content, NULL, size, &taken);

		if (r < 0)
			return r;
		at += taken;
	}
	if (offset == at)
		return 0;
	emit_zeros(content, offset / SPACE_BLOCK_SIZE - content->block);
	return fill_partial(content, NULL, (size_t)(offset % SPACE_BLOCK_SIZE), &taken);
}

int content_add(struct content *content, uint64_t offset, struct span bytes)
{
	size_t whole, taken;
	int r;

	if (offset < content->block * SPACE_BLOCK_SIZE + content->fill ||
	    offset > SPACE_FILE_SIZE_MAX || bytes.len > SPACE_FILE_SIZE_MAX - offset)
		return -EINVAL;
	r = skip_to(content, offset);
	if (r < 0)
		return r;
	if (content->fill > 0) {
		r = fill_partial(content, bytes.ptr, bytes.len, &taken);
		if (r < 0)
			return r;
		bytes = span_skip(bytes, taken);
	}
	whole = bytes.len / SPACE_BLOCK_SIZE;
	if (whole > 0) {
		r = emit_blocks(content, bytes.ptr, whole);
		if (r < 0)
			return r;
		bytes = span_skip(bytes, whole * SPACE_BLOCK_SIZE);
	}
	return bytes.len > 0 ? fill_partial(content, bytes.ptr, bytes.len, &taken) : 0;
}

int content_end(struct content *content, uint64_t size)
{
	assert(size >= content->block * SPACE_BLOCK_SIZE + content->fill);
	if (content->fill > 0) {
		size_t taken;
		int r = fill_partial(content, NULL, SPACE_BLOCK_SIZE, &taken);

		if (r < 0)
			return r;
	}
	content->tree->inodes[content->inode].size = size;
	return 0;
}
