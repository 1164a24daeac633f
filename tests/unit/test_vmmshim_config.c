/* banger-vmm's configuration: Firecracker's rules for each resource, and that a failure changes
 * nothing. */
#include "check.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim_fixture.h"

#define DRIVE(id, file, root)                                                               \
	"{\"drive_id\":\"" id "\",\"path_on_host\":\"@/" file "\",\"is_root_device\":" root \
	",\"is_read_only\":false}"

/* FAULTS VMM4. */
static void test_machine(void **state)
{
	static const char *const vcpus = "The number of vCPUs must be greater than 0, less than 32 "
					 "and must be 1 or an even number if SMT is enabled.";
	static const char *const memory = "The memory size (MiB) is either 0, or not a multiple of "
					  "the configured page size.";
	const struct {
		const char *fields;
		unsigned status;
		const char *text;
	} rows[] = {
		{ "\"vcpu_count\":0,\"mem_size_mib\":128", 400, vcpus },
		{ "\"vcpu_count\":33,\"mem_size_mib\":128", 400, vcpus },
		{ "\"vcpu_count\":32,\"mem_size_mib\":128", 204, "" },
		{ "\"vcpu_count\":3,\"mem_size_mib\":128,\"smt\":true", 400, vcpus },
		{ "\"vcpu_count\":3,\"mem_size_mib\":128,\"smt\":false", 204, "" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":true", 204, "" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":0", 400, memory },
		{ "\"vcpu_count\":1,\"mem_size_mib\":129,\"huge_pages\":\"2M\"", 400, memory },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"huge_pages\":\"2M\"", 204, "" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":9,\"huge_pages\":\"Transparent\"", 400,
		  memory },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"cpu_template\":\"None\"", 204, "" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"cpu_template\":\"T2\"", 400,
		  "a CPU template is not supported by banger-vmm" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"cpu_template\":\"foo\"", 400,
		  "unknown variant `foo`" },
		{ "\"vcpu_count\":1,\"mem_size_mib\":128,\"track_dirty_pages\":true", 400,
		  "dirty page tracking is not supported by banger-vmm" },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct machine_body before = shim.api.config.machine;
		AUTO_FREE char *body = mem_printf("{%s}", rows[i].fields);

		shim_expect(&shim, "PUT", "/machine-config", body, rows[i].status, rows[i].text);
		if (rows[i].status == 400)
			CHECK_ROW(i,
				  memcmp(&before, &shim.api.config.machine, sizeof(before)) == 0);
	}
	shim_expect(&shim, "PUT", "/machine-config",
		    "{\"vcpu_count\":2,\"mem_size_mib\":128,\"smt\":true,\"huge_pages\":\"2M\"}",
		    204, "");
	shim_expect(&shim, "PATCH", "/machine-config", "{\"vcpu_count\":3}", 400, vcpus);
	shim_expect(&shim, "PATCH", "/machine-config", "{\"mem_size_mib\":127}", 400, memory);
	shim_expect(&shim, "PATCH", "/machine-config", "{\"mem_size_mib\":256}", 204, "");
	shim_expect(
		&shim, "GET", "/machine-config", NULL, 200,
		"{\"vcpu_count\":2,\"mem_size_mib\":256,\"smt\":true,\"track_dirty_pages\":false,"
		"\"huge_pages\":\"2M\"}");
	/* A PUT sets what it does not name back to the default. */
	shim_expect(&shim, "PUT", "/machine-config", "{\"vcpu_count\":3,\"mem_size_mib\":127}", 204,
		    "");
	shim_done(&shim);
}

/* FAULTS VMM5. */
static void test_boot_source(void **state)
{
	static const struct {
		const char *body;
		const char *text;
	} rows[] = {
		{ "{\"kernel_image_path\":\"@/none\"}", "Boot source error: The kernel file cannot "
							"be opened: No such file or directory (os "
							"error 2)" },
		{ "{\"kernel_image_path\":\"@/folder\"}", "Is a directory (os error 21)" },
		{ "{\"kernel_image_path\":\"/dev/null\"}", "Invalid argument (os error 22)" },
		{ "{\"kernel_image_path\":\"@/kernel\",\"initrd_path\":\"@/none\"}",
		  "Boot source error: The initrd file cannot be opened due to invalid path or "
		  "invalid "
		  "permissions. No such file or directory (os error 2)" },
		{ "{\"kernel_image_path\":\"@/kernel\",\"boot_args\":\"a\\nb\"}",
		  "Boot source error: The kernel command line is invalid: String contains a "
		  "non-printable ASCII character." },
	};
	AUTO_FREE char *long_body = NULL;
	struct shim shim;
	char args[CONFIG_BOOT_ARGS_MAX + 2];

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/boot-source",
		    "{\"kernel_image_path\":\"@/kernel\",\"boot_args\":\"quiet\"}", 204, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		shim_expect(&shim, "PUT", "/boot-source", rows[i].body, 400, rows[i].text);
	memset(args, 'x', sizeof(args));
	args[sizeof(args) - 1] = '\0';
	long_body = mem_printf("{\"kernel_image_path\":\"@/kernel\",\"boot_args\":\"%s\"}", args);
	shim_expect(&shim, "PUT", "/boot-source", long_body, 400,
		    "would make command line too long");
	CHECK_STR(shim.api.config.boot.boot_args, "quiet");
	assert_true(shim.api.config.kernel_fd >= 0 && shim.api.config.initrd_fd < 0);
	shim_done(&shim);
}

static void test_drives(void **state)
{
	struct shim shim;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/drives/one", DRIVE("one", "disk", "false"), 204, "");
	shim_expect(&shim, "PUT", "/drives/two", DRIVE("two", "other", "false"), 204, "");
	shim_expect(&shim, "PUT", "/drives/root", DRIVE("root", "disk", "true"), 204, "");
	CHECK_STR(shim.api.config.drives[0].body.drive_id, "root");
	CHECK_STR(shim.api.config.drives[1].body.drive_id, "one");
	CHECK_STR(shim.api.config.drives[2].body.drive_id, "two");

	shim_expect(&shim, "PUT", "/drives/three", DRIVE("three", "disk", "true"), 400,
		    "Drive config error: A root block device already exists!");
	shim_expect(&shim, "PUT", "/drives/two", DRIVE("two", "disk", "true"), 400,
		    "A root block device already exists!");
	shim_expect(
		&shim, "PUT", "/drives/one", DRIVE("one", "none", "false"), 400,
		"Drive config error: Unable to create the virtio block device: Virtio backend "
		"error: Error manipulating the backing file: No such file or directory (os error "
		"2) /tmp/banger-shim-");
	shim_expect(&shim, "PUT", "/drives/one", DRIVE("one", "folder", "false"), 400,
		    "Is a directory (os error 21)");
	CHECK_STR(shim.api.config.drives[1].body.path_on_host, shim_path(&shim, "disk"));

	/* The same id replaces, the root too. */
	shim_expect(&shim, "PUT", "/drives/one", DRIVE("one", "other", "false"), 204, "");
	CHECK_STR(shim.api.config.drives[1].body.path_on_host, shim_path(&shim, "other"));
	shim_expect(&shim, "PUT", "/drives/root", DRIVE("root", "other", "false"), 204, "");
	shim_expect(&shim, "PUT", "/drives/two", DRIVE("two", "disk", "true"), 204, "");
	CHECK_STR(shim.api.config.drives[0].body.drive_id, "two");
	CHECK_INT(shim.api.config.drive_count, 3);
	shim_done(&shim);
}

static void test_refused_drives(void **state)
{
	static const struct {
		const char *fields;
		const char *text;
	} rows[] = {
		{ "\"is_read_only\":false", "Invalid block config." },
		{ "\"path_on_host\":\"@/disk\"", "Invalid block config." },
		{ "\"socket\":\"@/socket\"", "a vhost-user drive is not supported by banger-vmm" },
		{ "\"path_on_host\":\"@/disk\",\"is_read_only\":true,\"rate_limiter\":{}",
		  "a rate limiter is not supported by banger-vmm" },
		{ "\"path_on_host\":\"@/disk\",\"is_read_only\":true,\"partuuid\":\"a b\"",
		  "the partuuid is invalid" },
		{ "\"path_on_host\":\"@/disk\",\"is_read_only\":true,\"cache_type\":\"Fast\"",
		  "unknown variant `Fast`, expected `Unsafe` or `Writeback`" },
		{ "\"path_on_host\":\"@/disk\",\"is_read_only\":true,\"io_engine\":\"x\"",
		  "unknown variant `x`, expected `Sync` or `Async`" },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *body = mem_printf(
			"{\"drive_id\":\"a\",\"is_root_device\":false,%s}", rows[i].fields);

		shim_expect(&shim, "PUT", "/drives/a", body, 400, rows[i].text);
	}
	CHECK_INT(shim.api.config.drive_count, 0);
	for (int i = 0; i <= CONFIG_DRIVES_MAX; i++) {
		AUTO_FREE char *path = mem_printf("/drives/d%d", i);
		AUTO_FREE char *body = mem_printf(
			"{\"drive_id\":\"d%d\",\"is_root_device\":false,\"is_read_only\":true,"
			"\"path_on_host\":\"@/disk\"}",
			i);

		shim_expect(&shim, "PUT", path, body, i < CONFIG_DRIVES_MAX ? 204 : 400,
			    i < CONFIG_DRIVES_MAX ? "" : "banger-vmm takes at most 10 drives");
	}
	shim_done(&shim);
}

static void test_overlays(void **state)
{
	struct err err = ERR_INIT;
	struct shim shim;
	AUTO_FREE char *good = NULL;
	AUTO_FREE char *missing = NULL;

	(void)state;
	shim_init(&shim);
	good = mem_printf("one=%s", shim_path(&shim, "other"));
	missing = mem_printf("two=%s", shim_path(&shim, "none"));
	assert_int_equal(config_add_overlay(&shim.api.config, good, &err), 0);
	assert_int_equal(config_add_overlay(&shim.api.config, missing, &err), 0);
	assert_true(config_add_overlay(&shim.api.config, good, &err) < 0);
	CHECK_STR(err.message, "drive 'one' has two bases");
	assert_true(config_add_overlay(&shim.api.config, "=x", &err) < 0);
	assert_true(config_add_overlay(&shim.api.config, "x=", &err) < 0);
	assert_true(config_add_overlay(&shim.api.config, "x", &err) < 0);
	CHECK_STR(err.message, "'x' is not DRIVE_ID=BASE_PATH");
	shim_expect(&shim, "PUT", "/drives/one", DRIVE("one", "disk", "true"), 204, "");
	assert_true(shim.api.config.drives[0].base_fd >= 0);
	shim_expect(&shim, "PUT", "/drives/two", DRIVE("two", "disk", "false"), 400, "none");
	shim_expect(&shim, "PUT", "/drives/three", DRIVE("three", "disk", "false"), 204, "");
	assert_true(shim.api.config.drives[1].base_fd < 0);
	shim_done(&shim);
}

static void test_nets(void **state)
{
	static const struct {
		const char *fields;
		const char *text;
	} rows[] = {
		{ "\"host_dev_name\":\"name-of-16-bytes\"",
		  "Network config error: Could not create the network device: Open tap device "
		  "failed: "
		  "Invalid interface name" },
		{ "\"host_dev_name\":\"\"", "Invalid interface name" },
		{ "\"host_dev_name\":\"a/b\"", "Invalid interface name" },
		{ "\"host_dev_name\":\"t\",\"guest_mac\":\"06:00:00:00:00\"",
		  "The provided MAC address is invalid." },
		{ "\"host_dev_name\":\"t\",\"guest_mac\":\"06:00:00:00:00:0g\"",
		  "The provided MAC address is invalid." },
		{ "\"host_dev_name\":\"t\",\"guest_mac\":\"06-00-00-00-00-01\"",
		  "The provided MAC address is invalid." },
		{ "\"host_dev_name\":\"t\",\"mtu\":67",
		  "Could not create the network device: MTU 67 is out of range [68, 65535]" },
		{ "\"host_dev_name\":\"t\",\"mtu\":65536",
		  "invalid value: integer `65536`, expected u16" },
		{ "\"host_dev_name\":\"t\",\"rx_rate_limiter\":{\"ops\":{\"size\":1,"
		  "\"refill_time\":1}}",
		  "a rate limiter is not supported by banger-vmm" },
		{ "\"host_dev_name\":\"t\",\"guest_mac\":\"06:00:00:00:00:AA\"",
		  "The MAC address is already in use: 06:00:00:00:00:aa" },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	/* One that is there, without a TAP device behind it. */
	shim.api.config.nets[0] = (struct config_net){
		.body = { .given = 1U << NET_ID | 1U << NET_HOST_NAME | 1U << NET_MAC,
			  .iface_id = mem_strdup("other"),
			  .host_dev_name = mem_strdup("tap0"),
			  .guest_mac = mem_strdup("06:00:00:00:00:aa") },
		.fd = -1,
	};
	shim.api.config.net_count = 1;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *body = mem_printf("{\"iface_id\":\"a\",%s}", rows[i].fields);

		shim_expect(&shim, "PUT", "/network-interfaces/a", body, 400, rows[i].text);
	}
	CHECK_INT(shim.api.config.net_count, 1);
	shim.api.phase = API_RUNNING;
	shim_expect(&shim, "PATCH", "/network-interfaces/a", "{\"iface_id\":\"a\"}", 400,
		    "Network config error: Unable to update the net device");
	shim_expect(&shim, "PATCH", "/network-interfaces/other", "{\"iface_id\":\"other\"}", 204,
		    "");
	shim_expect(&shim, "PATCH", "/network-interfaces/other",
		    "{\"iface_id\":\"other\",\"tx_rate_limiter\":{}}", 400,
		    "a rate limiter is not supported by banger-vmm");
	shim_done(&shim);
}

static void test_vsock(void **state)
{
	struct shim shim;
	struct stat status;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":2,\"uds_path\":\"@/v\"}", 400,
		    "guest_cid 2 is out of range [3, 4294967295]");
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":4294967296,\"uds_path\":\"@/v\"}", 400,
		    "invalid value: integer `4294967296`, expected u32");
	shim_expect(
		&shim, "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"@/disk\"}", 400,
		"Vsock config error: Cannot create backend for vsock device: Error binding to the "
		"host-side Unix socket: Address already in use (os error 98)");
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"@/v\"}", 204, "");
	assert_int_equal(stat(shim_path(&shim, "v"), &status), 0);
	assert_true(S_ISSOCK(status.st_mode) && (status.st_mode & 0777) == 0600);
	/* The same path again keeps the socket; another one moves it. */
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":4,\"uds_path\":\"@/v\"}", 204, "");
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":4,\"uds_path\":\"@/w\"}", 204, "");
	assert_true(stat(shim_path(&shim, "v"), &status) < 0);
	assert_int_equal(stat(shim_path(&shim, "w"), &status), 0);
	config_done(&shim.api.config);
	assert_true(stat(shim_path(&shim, "w"), &status) < 0);
	assert_true(stat(shim_path(&shim, "w.lock"), &status) < 0);
	shim_done(&shim);
}

static void test_balloon(void **state)
{
	struct shim shim;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "GET", "/balloon", NULL, 400,
		    "Balloon config error: No balloon device found.");
	shim_expect(&shim, "PUT", "/balloon", "{\"amount_mib\":129,\"deflate_on_oom\":true}", 400,
		    "Amount of pages requested is too large.");
	shim_expect(&shim, "PUT", "/balloon",
		    "{\"amount_mib\":1,\"deflate_on_oom\":true,\"free_page_hinting\":true}", 400,
		    "free page hinting is not supported by banger-vmm");
	shim_expect(&shim, "PUT", "/balloon", "{\"amount_mib\":100,\"deflate_on_oom\":true}", 204,
		    "");
	shim_expect(&shim, "PUT", "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":99}", 400,
		    "smaller than the previously set balloon device target size");
	shim_expect(&shim, "GET", "/balloon", NULL, 200, "\"amount_mib\":100");
	shim.api.phase = API_RUNNING;
	shim_expect(&shim, "PATCH", "/balloon", "{\"amount_mib\":200}", 400,
		    "Requested memory should be less than 128MiB");
	shim_expect(&shim, "GET", "/balloon/statistics", NULL, 400,
		    "Received stats query when stats are disabled.");
	shim_expect(&shim, "PATCH", "/balloon/statistics", "{\"stats_polling_interval_s\":1}", 400,
		    "Statistics cannot be enabled/disabled after activation.");
	shim_done(&shim);
}

/* What GET /vm/config writes can be read again as a configuration file. */
static void test_whole_configuration(void **state)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON *json = NULL;
	struct err err = ERR_INIT;
	struct shim shim;
	unsigned status;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/boot-source",
		    "{\"kernel_image_path\":\"@/kernel\",\"initrd_path\":\"@/initrd\"}", 204, "");
	shim_expect(&shim, "PUT", "/drives/one", DRIVE("one", "disk", "true"), 204, "");
	shim_expect(&shim, "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"@/v\"}", 204, "");
	shim_expect(&shim, "PUT", "/entropy", "{}", 204, "");
	shim_expect(&shim, "PUT", "/logger", "{\"level\":\"Debug\",\"show_level\":true}", 204, "");
	CHECK_INT(shim_send(&shim, "GET", "/vm/config", NULL, &status, &text), API_ANSWERED);
	CHECK_INT(status, 200);
	config_done(&shim.api.config);
	if (api_load_config(&shim.api, span_str(text), &err) < 0)
		fail_msg("%s: %s", err.message, text);
	json = config_write(&shim.api.config);
	CHECK_STR(json_get_str(json_object_get(json, "boot-source"), "initrd_path"),
		  shim_path(&shim, "initrd"));
	CHECK_INT(json_array_size(json_object_get(json, "drives")), 1);
	CHECK_INT(json_get_u64(json_object_get(json, "vsock"), "guest_cid"), 3);
	shim_done(&shim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_boot_source),
		cmocka_unit_test(test_drives),
		cmocka_unit_test(test_refused_drives),
		cmocka_unit_test(test_overlays),
		cmocka_unit_test(test_nets),
		cmocka_unit_test(test_vsock),
		cmocka_unit_test(test_balloon),
		cmocka_unit_test(test_whole_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
