/* Where cgroups are made, for what /proc says of a host, and what VMs are allowed. */
#include "check.h"

#include "base/mem.h"
#include "priv/private.h"

#define ID "0123456789abcdef0123456789abcdef"

static const char v2_mounts[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

static const char hybrid_mounts[] =
	"30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
	"31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	"32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	"33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	"34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
	"35 30 0:31 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	"36 30 0:29 / /other\\040place rw - cgroup cgroup rw,memory\n"
	"37 30 0:29 / /again rw - cgroup cgroup rw,memory\n";

static size_t parse(const char *mounts, const char *own, struct hierarchy *ret)
{
	return hierarchies_parse(span_str(mounts), span_str(own), ret);
}

static void test_v2(void **state)
{
	struct hierarchy found[HIERARCHIES_MAX];

	(void)state;
	CHECK_INT(parse(v2_mounts, "0::/user.slice/user-0.slice/session-1.scope\n", found), 1);
	assert_true(found[0].is_v2);
	CHECK_STR(found[0].mount_point, "/sys/fs/cgroup");
	CHECK_STR(found[0].own, "/user.slice/user-0.slice/session-1.scope");
	hierarchies_done(found, 1);
}

static void test_hybrid(void **state)
{
	static const char own[] = "9:name=systemd:/x\n4:memory:/somebody/else\n5:pids:/box/in/it\n"
				  "3:cpu,cpuacct:/\n0::/\n";
	static const struct {
		const char *mount_point;
		const char *own;
		bool is_v2;
		unsigned controllers;
	} wanted[] = {
		{ "/sys/fs/cgroup/unified", "/", true, 0 },
		{ "/sys/fs/cgroup/cpu,cpuacct", "/", false,
		  CONTROLLER_BIT(CONTROLLER_CPU) | CONTROLLER_BIT(CONTROLLER_CPUACCT) },
		{ "/sys/fs/cgroup/memory", "/somebody/else", false,
		  CONTROLLER_BIT(CONTROLLER_MEMORY) },
		{ "/sys/fs/cgroup/pids", "/in/it", false, CONTROLLER_BIT(CONTROLLER_PIDS) },
	};
	struct hierarchy found[HIERARCHIES_MAX];
	const size_t count = parse(hybrid_mounts, own, found);

	(void)state;
	CHECK_INT(count, ARRAY_LEN(wanted));
	for (size_t i = 0; i < count; i++) {
		CHECK_STR(found[i].mount_point, wanted[i].mount_point);
		CHECK_STR(found[i].own, wanted[i].own);
		CHECK_INT(found[i].is_v2, wanted[i].is_v2);
		CHECK_INT(found[i].controllers, wanted[i].controllers);
	}
	hierarchies_done(found, count);
}

/* What is not below the mount, or makes no sense, is no place for us. */
static void test_strange_paths(void **state)
{
	static const char *const rows[] = {
		"0::/../outside\n", "0::relative\n", "0::\n", "1:x:/\n", "0:/\n", "", "\n\n:", "0",
	};
	struct hierarchy found[HIERARCHIES_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_ROW(i, parse(v2_mounts, rows[i], found) == 1);
		CHECK_ROW(i, !found[0].own);
		hierarchies_done(found, 1);
	}
	CHECK_INT(parse("35 30 0:31 /box /p rw - cgroup2 c rw\n", "0::/boxer\n", found), 1);
	assert_null(found[0].own);
	hierarchies_done(found, 1);
	CHECK_INT(parse("no mounts\n1 2 3\n1 2 3 4 5 6 cgroup2\n\n", "0::/\n", found), 0);
}

static void test_base(void **state)
{
	static const struct {
		const char *own;
		bool is_delegated;
		bool is_root;
		const char *wanted;
	} rows[] = {
		{ "/", false, true, "/" },
		{ "/", false, false, "/" },
		{ NULL, true, true, NULL },
		{ "/system.slice/bangerd.service", true, true, "/system.slice/bangerd.service" },
		{ "/system.slice/bangerd.service", false, true, "/" },
		{ "/system.slice/bangerd.service", false, false, NULL },
		{ "/user.slice", false, true, "/" },
		{ "/user.slice/user-0.slice/session-1.scope", false, true, "/" },
		{ "/user.slice/user-1000.slice/session-1.scope", false, false, NULL },
		{ "/init.scope", false, true, "/" },
		{ "/user.slices", false, true, NULL },
		{ "/somebody/else", false, true, NULL },
		{ "/somebody/else", true, false, "/somebody/else" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got =
			hierarchy_base(rows[i].own, rows[i].is_delegated, rows[i].is_root);

		CHECK_ROW(i, (!got && !rows[i].wanted) ||
				     (got && rows[i].wanted && strcmp(got, rows[i].wanted) == 0));
	}
}

static void test_keyed_number(void **state)
{
	static const struct {
		const char *text;
		uint64_t wanted;
	} rows[] = {
		{ "low 1\noom 2\noom_kill 3\n", 3 },
		{ "oom_kill 7", 7 },
		{ "oom_killer 5\n", 0 },
		{ "oom_kill x\n", 0 },
		{ "oom_kill -1\n", 0 },
		{ "oom_kill 18446744073709551616\n", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, keyed_number(span_str(rows[i].text), "oom_kill") == rows[i].wanted);
}

static void test_limits(void **state)
{
	const struct priv_limits plain = { .vcpu = 2, .memory_bytes = 1ULL << 30 };
	const struct priv_limits emulated = { .vcpu = 2,
					      .memory_bytes = 1ULL << 30,
					      .is_emulated = true };

	(void)state;
	CHECK_INT(priv_cpus_max(&plain), 3);
	CHECK_INT(priv_processes_max(&plain), 258);
	CHECK_INT(priv_memory_max(&plain), 1232ULL << 20);
	CHECK_INT(priv_memory_max(&emulated), 2256ULL << 20);
}

static void test_ids(void **state)
{
	static const char *const refused[] = {
		"",
		"..",
		"/",
		"0123456789abcdef0123456789abcde",
		ID "0",
		"0123456789ABCDEF0123456789ABCDEF",
		"0123456789abcdef/../89abcdef0123",
		"0123456789abcdef0123456789abcde\n",
		NULL,
	};
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(priv_check_id(ID, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct priv none = { .hierarchy_count = 0 };
		const struct priv_limits limits = { .vcpu = 1 };
		struct priv_entry entry;
		struct priv_usage usage;

		err = ERR_INIT;
		CHECK_ROW(i, priv_cgroup_make(&none, refused[i], &limits, &entry, &err) < 0);
		CHECK_ROW(i, err.kind == ERR_INVALID);
		CHECK_ROW(i, priv_cgroup_end(&none, refused[i], &err) < 0);
		CHECK_ROW(i, priv_cgroup_usage(&none, refused[i], &usage) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_hybrid),
		cmocka_unit_test(test_strange_paths),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_keyed_number),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
