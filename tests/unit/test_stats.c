/* Figures from /proc, and how they look. */
#include "check.h"

#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/stats_view.h"
#include "daemon/sample.h"

#define STAT_TAIL " S 1 2 3 4 5 6 7 8 9 10 200 100 13 14 15 16 4 18 19 20 50 22 23\n"

static void test_stat(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1 (x)",
		"1 (x) S",
		"1 (x) S 1 2 3 4 5 6 7 8 9 10 -1 100 13 14 15 16 4 18 19 20 50 22",
		("1 (x) S 1 2 3 4 5 6 7 8 9 10 200 99999999999999999999 13 14 15 16 4 18 19 20 50 "
		 "22"),
		"1 (x) S 1 2 3 4 5 6 7 8 9 10 200 100 13 14 15 16 4 18 19 20 50",
	};
	struct process_sample sum = { 0 };

	(void)state;
	assert_true(sample_add_stat(span_str("1 (a) b) (c)" STAT_TAIL), &sum));
	CHECK_INT(sum.cpu_us, 300 * 1000000 / sysconf(_SC_CLK_TCK));
	CHECK_INT(sum.memory_bytes, 50 * sysconf(_SC_PAGESIZE));
	assert_false(sum.is_frozen);
	assert_true(sample_add_stat(
		span_str("2 (x) T 1 2 3 4 5 6 7 8 9 10 0 0 13 14 15 16 4 18 19 20 1 22\n"), &sum));
	assert_true(sum.is_frozen);
	CHECK_INT(sum.memory_bytes, 51 * sysconf(_SC_PAGESIZE));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct process_sample none = { 0 };

		CHECK_ROW(i, !sample_add_stat(span_str(bad[i]), &none));
		CHECK_ROW(i, none.cpu_us == 0 && none.memory_bytes == 0);
	}
}

static void test_io(void **state)
{
	static const char *const bad[] = { "", "read_bytes: 1\n", "read_bytes: x\nwrite_bytes: 2\n",
					   "write_bytes: 2\nread_bytes: 1" };
	struct process_sample sum = { .read_bytes = 1 };

	(void)state;
	assert_true(sample_add_io(span_str("rchar: 9\nwchar: 9\nread_bytes: 4096\nwrite_bytes: "
					   "8192\ncancelled_write_bytes: 1\n"),
				  &sum));
	CHECK_INT(sum.read_bytes, 4097);
	CHECK_INT(sum.written_bytes, 8192);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_ROW(i, !sample_add_io(span_str(bad[i]), &sum));
}

static void test_host(void **state)
{
	struct host_sample host = { 0 };

	(void)state;
	assert_true(sample_parse_cpu(
		span_str("cpu  100 0 100 5000 9 0 0 50 7 0\ncpu0 1 2\ncpu1 1 2\nintr 1\n"), &host));
	CHECK_INT(host.cpus, 2);
	CHECK_INT(host.cpu_busy_us, 250 * 1000000 / sysconf(_SC_CLK_TCK));
	assert_true(sample_parse_memory(
		span_str("MemTotal:     2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n"),
		&host));
	CHECK_INT(host.memory_total_bytes, 2 << 20);
	CHECK_INT(host.memory_available_bytes, 1 << 20);
	assert_true(sample_parse_load(span_str("12.34 1.00 0.50 1/234 5678\n"), &host));
	CHECK_INT(host.load_milli, 12340);
	assert_false(sample_parse_cpu(span_str("cpu  100 0 x"), &host));
	assert_false(sample_parse_memory(span_str("MemTotal: 1 kB\n"), &host));
	assert_false(sample_parse_load(span_str("12.3"), &host));
	assert_false(sample_parse_load(span_str("a.bc"), &host));
}

static void test_ourselves(void **state)
{
	struct process_sample own;

	(void)state;
	CHECK_INT(sample_process(getpid(), &own), 0);
	assert_true(own.memory_bytes > 0);
	assert_false(own.is_frozen);
	CHECK_INT(sample_process(INT32_MAX, &own), -ESRCH);
}

static void test_bar(void **state)
{
	static const struct {
		uint64_t part;
		uint64_t whole;
		const char *wanted;
	} rows[] = {
		{ 0, 100, "[          ]" },
		{ 55, 100, "[=====     ]" },
		{ 100, 100, "[==========]" },
		{ 300, 100, "[==========]" },
		{ 0, 0, "[          ]" },
		{ 1, 2, "[=====     ]" },
		{ UINT64_MAX, UINT64_MAX, "[==========]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF text = BUF_INIT;

		stats_view_bar(rows[i].part, rows[i].whole, &text);
		CHECK_STR(text.ptr, rows[i].wanted);
	}
}

static json_t *make_answer(void)
{
	static const char text[] =
		"{\"time\":\"2026-11-22T03:00:00Z\",\"vms\":[{\"name\":\"box\",\"state\":"
		"\"running\","
		"\"frozen\":false,\"vcpu\":2,\"cpu_milli\":155,\"memory_bytes\":134217728,"
		"\"guest_memory_used_bytes\":67108864,\"guest_memory_total_bytes\":536870912,"
		"\"guest_disk_used_bytes\":null,\"guest_disk_total_bytes\":null,"
		"\"disk_read_bytes\":1048576,\"disk_written_bytes\":0,"
		"\"net_in_bytes\":3145728,\"net_out_bytes\":2048,\"net_in_rate\":2097152,"
		"\"net_out_rate\":1024},"
		"{\"name\":\"stuck\",\"state\":\"running\",\"frozen\":true},"
		"{\"name\":\"off\",\"state\":\"stopped\",\"frozen\":false}],"
		"\"host\":{\"cpus\":2,\"cpu_milli\":700,\"load_milli\":710,"
		"\"memory_used_bytes\":1073741824,\"memory_total_bytes\":4294967296,"
		"\"vms_running\":2,\"vms_net_in_rate\":2097152,\"vms_net_out_rate\":1024}}";

	return json_loads(text, 0, NULL);
}

static void test_views(void **state)
{
	AUTO_JSON *answer = make_answer();
	AUTO_BUF table = BUF_INIT;
	AUTO_BUF narrow = BUF_INIT;
	AUTO_BUF wide = BUF_INIT;
	AUTO_BUF lines = BUF_INIT;

	(void)state;
	assert_non_null(answer);
	stats_view_table(answer, &(struct stats_look){ .width = 0 }, &table);
	CHECK_HAS(table.ptr, "box    running  15.5%  128 MiB   3 MiB    2 KiB  64 MiB of 512 MiB");
	CHECK_HAS(table.ptr, "stuck  frozen");
	CHECK_HAS(table.ptr,
		  "host: 70.0% of 200% CPU, load 0.71, memory 1 GiB of 4 GiB, 2 VMs, network "
		  "2 MiB/s in, 1 KiB/s out\n");
	stats_view_table(answer, &(struct stats_look){ .width = 60, .rows = 4, .has_bars = true },
			 &narrow);
	CHECK_HAS(narrow.ptr, "[          ] 15.5%");
	CHECK_HAS(narrow.ptr, "and 2 more\n");
	assert_null(strstr(narrow.ptr, "stuck"));
	stats_view_table(answer, &(struct stats_look){ .width = 200, .has_bars = true }, &wide);
	/* The busiest fills its bar. */
	CHECK_HAS(wide.ptr, " 128 MiB  [==========] 2 MiB/s  [          ] 1 KiB/s  [=");
	CHECK_HAS(wide.ptr, "stuck  frozen                    -        -                     -");
	stats_view_lines(answer, &lines);
	CHECK_STR(lines.ptr, "2026-11-22T03:00:00Z box running cpu=15.5% memory=134217728 "
			     "guest_memory=67108864 read=1048576 written=0 net_in=3145728 "
			     "net_out=2048 net_in_rate=2097152 net_out_rate=1024\n"
			     "2026-11-22T03:00:00Z stuck frozen\n"
			     "2026-11-22T03:00:00Z off stopped\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat), cmocka_unit_test(test_io),
		cmocka_unit_test(test_host), cmocka_unit_test(test_ourselves),
		cmocka_unit_test(test_bar),  cmocka_unit_test(test_views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
