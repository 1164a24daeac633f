/* Where things are: against libext2fs, which must come to the same layout, and for what is too
 * small or too much. */
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"
#include "check.h"
#include "ext4/space.h"
#include "ext4_fixture.h"

static void test_super_groups(void **state)
{
	static const uint64_t with[] = {
		0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729
	};
	uint64_t group;
	size_t i = 0;

	(void)state;
	for (group = 0; group <= 729; group++) {
		const bool wanted = group == with[i];

		CHECK_ROW(group, space_has_super(group) == wanted);
		i += wanted;
	}
}

/* What is taken never lies in a superblock's place, nor twice, and is in one piece where it can be.
 */
static void test_taking(void **state)
{
	struct space space;
	uint64_t last_end = 0;
	uint64_t total = 0;
	int i;

	(void)state;
	space_init(&space, 0);
	CHECK_INT(space.next, 1025);
	for (i = 0; i < 3000; i++) {
		const uint64_t want = (uint64_t)i % 700 + 1;
		uint64_t count = 0;
		const uint64_t start = space_take(&space, want, &count);
		const uint64_t group = start / SPACE_GROUP_BLOCKS;

		CHECK_ROW(i, count >= 1 && count <= want && start >= last_end);
		if (space_has_super(group))
			CHECK_ROW(i, start % SPACE_GROUP_BLOCKS >= 1025);
		if (space_has_super(group + 1))
			CHECK_ROW(i, start + count <= (group + 1) * SPACE_GROUP_BLOCKS);
		last_end = start + count;
		total += count;
	}
	assert_true(total > 10ULL * SPACE_GROUP_BLOCKS);
	for (i = 0; i < 100; i++) {
		const uint64_t start = space_take_whole(&space, 2048);

		CHECK_ROW(i, start >= last_end && space.next >= start + 2048);
		last_end = start + 2048;
	}
}

static void test_descriptors(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t blocks;
	} rows[] = {
		{ 0, 1024 },	      { 4ULL << 40, 1024 },
		{ 1ULL << 30, 1024 }, { (1ULL << 30) - 4096, 128 },
		{ 128ULL << 20, 16 }, { 32ULL << 20, 4 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(space_descriptor_blocks(rows[i].size), rows[i].blocks);
}

/* libext2fs asserts inside that it comes to the same; its answer is compared here as well. */
static void test_sizes(void **state)
{
	uint64_t size;

	(void)state;
	for (size = EXT4_SIZE_MIN; size < 1200ULL << 20; size += (7ULL << 20) + 4096 * 13 + 5) {
		const struct ext4_options options = { .size_bytes = size, .seed_fd = -1 };
		AUTO_CLOSE int fd = new_image();
		struct ext4_summary summary;
		struct err err = ERR_INIT;
		ext2_filsys fs;

		if (ext4_seed(fd, &options, &summary, &err) < 0)
			fail_msg("%llu: %s", (unsigned long long)size, err.message);
		fs = open_image(fd);
		CHECK_ROW(size, ext2fs_blocks_count(fs->super) <= size / 4096);
		CHECK_ROW(size, ext2fs_blocks_count(fs->super) + 2200 > size / 4096);
		CHECK_ROW(size, fs->super->s_reserved_gdt_blocks * 4U <=
					fs->super->s_jnl_blocks[16] / 4096);
		ext2fs_free(fs);
	}
}

static void test_decisions(void **state)
{
	static const struct {
		uint64_t taken, size, inodes;
		uint32_t groups; /* 0: it does not fit */
	} rows[] = {
		{ 2000, 0, 20, 8 },
		/* Content times 1.5: 400000 blocks become 19 groups. */
		{ 400000, 0, 20, 19 },
		/* Half a million inodes, and a half more: 23 groups of 32768. */
		{ 2000, 0, 500000, 23 },
		{ 2000, 1ULL << 30, 20, 8 },
		{ 250000, 1ULL << 30, 20, 0 },
		{ 2000, 1ULL << 30, 8 * 32768, 8 },
		{ 2000, 1ULL << 30, 8 * 32768 + 1, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct layout layout = { .groups = 77 };
		struct err err = ERR_INIT;
		struct space space;
		int r;

		space_init(&space, rows[i].size);
		space.next = rows[i].taken;
		r = layout_decide(&space, rows[i].size, rows[i].inodes, &layout, &err);
		if (rows[i].groups == 0) {
			CHECK_ROW(i, r < 0 && err.kind == ERR_LIMIT && layout.groups == 77);
			CHECK_HAS(err.message, "is too small: the content with its");
		} else {
			CHECK_ROW(i, r == 0);
			CHECK_INT(layout.groups, rows[i].groups);
			CHECK_ROW(i, (uint64_t)layout.groups * layout.inodes_per_group >=
					     rows[i].inodes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_super_groups), cmocka_unit_test(test_taking),
		cmocka_unit_test(test_descriptors),  cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_decisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
