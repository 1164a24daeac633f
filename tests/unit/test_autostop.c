/* When a VM that nobody uses is stopped. */
#include "check.h"

#include <string.h>

#include "base/mem.h"
#include "daemon/autostop.h"

#define HOUR 3600000ULL

static void test_last_use(void **state)
{
	static const struct {
		uint64_t known, stored, now, last;
	} rows[] = {
		{ 0, 0, 50, 50 },		       /* nobody knows: from now on */
		{ 10, 0, 50, 10 },  { 0, 20, 50, 20 }, /* of an earlier daemon */
		{ 10, 20, 50, 20 }, { 30, 20, 50, 30 },
		{ 0, 60, 50, 50 }, /* of another boot's clock: no mass expiry, no eternal life */
		{ 10, 60, 50, 50 }, { 50, 50, 50, 50 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(autostop_last_use(rows[i].known, rows[i].stored, rows[i].now),
			  rows[i].last);
}

static void test_stale(void **state)
{
	static const struct {
		uint64_t last, now, after;
		bool is_stale;
	} rows[] = {
		{ 100, 100, 10, false },
		{ 100, 109, 10, false },
		{ 100, 110, 10, true },
		{ 100, 100 + HOUR, HOUR, true },
		{ 100, 99 + HOUR, HOUR, false },
		{ 200, 100, 10, false }, /* a clock set back */
		{ 0, UINT64_MAX, UINT64_MAX, true },
		{ 1, UINT64_MAX, UINT64_MAX, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, autostop_is_stale(rows[i].last, rows[i].now, rows[i].after) ==
				     rows[i].is_stale);
}

static void test_storing(void **state)
{
	static const struct {
		uint64_t stored, last, after;
		bool must;
	} rows[] = {
		{ 0, 5, 1600, true },	  { 100, 100, 1600, false }, { 100, 199, 1600, false },
		{ 100, 200, 1600, true }, { 300, 200, 1600, true },  { 100, 101, 1, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, autostop_must_store(rows[i].stored, rows[i].last, rows[i].after) ==
				     rows[i].must);
	CHECK_INT(autostop_interval_ms(1), 200);
	CHECK_INT(autostop_interval_ms(16000), 1000);
	CHECK_INT(autostop_interval_ms(24 * HOUR), 10000);
}

#define TITLE		  "Num       RefCount Protocol Flags    Type St Inode Path\n"
#define LINE(state, path) "ffff8881: 00000003 00000000 00000000 0001 " state " 123456 " path "\n"

static void test_streams(void **state)
{
	static const char path[] = "/run/me/vm/0123/vsock.sock";
	static const struct {
		const char *table;
		uint64_t count;
		bool is_there;
	} rows[] = {
		{ "", 0, false },
		{ TITLE, 0, false },
		{ TITLE LINE("01", "/run/me/vm/0123/vsock.sock"), 0, true },
		{ TITLE LINE("01", "/run/me/vm/0123/vsock.sock")
			  LINE("03", "/run/me/vm/0123/vsock.sock")
				  LINE("03", "/run/me/vm/0123/vsock.sock"),
		  2, true },
		{ TITLE LINE("03", "/run/me/vm/0124/vsock.sock")
			  LINE("03", "/run/me/vm/0123/vsock.sock_5")
				  LINE("03", "x /run/me/vm/0123/vsock.sock"),
		  0, false },
		/* Sockets without a name, names with blanks, a table that is cut off. */
		{ TITLE "ffff8881: 00000003 00000000 00000000 0001 03 12345\n" LINE("03", "@a b")
			  LINE("03", "/run/me/vm/0123/vsock.sock") "ffff8881: 00000003 0",
		  1, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool is_there = !rows[i].is_there;

		CHECK_INT(autostop_count_streams(span_str(rows[i].table), path, &is_there),
			  rows[i].count);
		CHECK_ROW(i, is_there == rows[i].is_there);
	}
}

/* A guest's life: what comes in and goes out every so often, and whether that is a talk by its end.
 */
static void test_talks(void **state)
{
	static const struct {
		uint64_t every_ms;
		uint64_t in;
		uint64_t out;
		uint64_t passes;
		bool talks;
	} rows[] = {
		{ 1000, 0, 0, 100, false },
		/* One request and its answer. */
		{ 1000, 5, 4, 1, true },
		{ 10000, 4, 4, 1, true },
		{ 10000, 3, 4, 1000, false },
		{ 10000, 4, 3, 1000, false },
		/* A ping each second, whenever we look; a connection that is kept alive. */
		{ 1000, 1, 1, 5, false },
		{ 1000, 1, 1, 6, true },
		{ 10000, 10, 10, 1, true },
		{ 15000, 1, 1, 1000, false },
		{ 2500, 1, 1, 1000, false },
		/* To nobody, and of broadcasts. */
		{ 1000, 0, 100, 1000, false },
		{ 1000, 100, 0, 1000, false },
		{ 200, UINT32_MAX, UINT32_MAX, 1, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct autostop_talk talk = { 0 };
		bool talks = autostop_talks(&talk, 1000, 1000, 5);

		CHECK_ROW(i, !talks);
		for (uint64_t pass = 1; pass <= rows[i].passes; pass++)
			talks = autostop_talks(&talk, 1000 + pass * rows[i].in,
					       1000 + pass * rows[i].out,
					       5 + pass * rows[i].every_ms);
		CHECK_ROW(i, talks == rows[i].talks);
	}
}

static void test_talk_ends(void **state)
{
	struct autostop_talk talk = { 0 };

	(void)state;
	assert_false(autostop_talks(&talk, 0, 0, 1000));
	assert_true(autostop_talks(&talk, 1000000, 1000000, 1200));
	assert_false(autostop_talks(&talk, 1000000, 1000000, 1400));
	/* A flood before is no reason for a while. */
	assert_false(autostop_talks(&talk, 1000001, 1000001, 11500));
	/* Another device, another time. */
	assert_false(autostop_talks(&talk, 5, 2000000, 11600));
	assert_true(autostop_talks(&talk, 10, 2000005, 11700));
	assert_false(autostop_talks(&talk, 100, 3000000, 100));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_use), cmocka_unit_test(test_stale),
		cmocka_unit_test(test_storing),	 cmocka_unit_test(test_streams),
		cmocka_unit_test(test_talks),	 cmocka_unit_test(test_talk_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
