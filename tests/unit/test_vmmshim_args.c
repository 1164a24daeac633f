/*
 * QEMU's command line against golden files (golden/qemu/NAME, one argument a line, then the
 * descriptors; BANGER_UPDATE_GOLDEN=1 writes them anew, to be reviewed as a diff).
 */
#include "check.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/qemu_args.h"

#define GOLDEN_MAX (64 * 1024)

static void write_plan(const struct qemu_plan *plan, struct buf *out)
{
	for (size_t i = 0; i < plan->argv.count; i++)
		buf_addf(out, "%s%s", plan->argv.items[i],
			 i + 1 < plan->argv.count && plan->argv.items[i][0] == '-' &&
					 plan->argv.items[i + 1][0] != '-'
				 ? " "
				 : "\n");
	for (size_t i = 0; i < plan->fd_count; i++)
		buf_addf(out, "fd %d -> %d\n", plan->fds[i].from, plan->fds[i].to);
}

static void check_golden(const char *name, const struct vm_config *config,
			 const struct qemu_settings *settings)
{
	AUTO_CLOSE int dir_fd = dir_open(SOURCE_ROOT "/tests/unit/golden/qemu");
	struct qemu_plan plan = { .fd_count = 0 };
	struct err err = ERR_INIT;
	AUTO_BUF got = BUF_INIT;
	AUTO_BUF wanted = BUF_INIT;

	assert_true(dir_fd >= 0);
	if (qemu_plan(config, settings, &plan, &err) < 0)
		fail_msg("%s: %s", name, err.message);
	write_plan(&plan, &got);
	qemu_plan_done(&plan);
	if (getenv("BANGER_UPDATE_GOLDEN")) {
		assert_int_equal(file_replace(dir_fd, name, buf_span(&got), 0644), 0);
		return;
	}
	if (file_read(dir_fd, name, GOLDEN_MAX, &wanted) < 0)
		fail_msg("there is no golden/qemu/%s; BANGER_UPDATE_GOLDEN=1 writes it", name);
	CHECK_STR(got.ptr, wanted.ptr);
}

/* Descriptors are numbers only: nothing is opened, so nothing is released either. */
static void config_clear(struct vm_config *config)
{
	for (size_t i = 0; i < config->drive_count; i++)
		config->drives[i].fd = config->drives[i].base_fd = -1;
	for (size_t i = 0; i < config->net_count; i++)
		config->nets[i].fd = -1;
	config->kernel_fd = config->initrd_fd = -1;
	config_done(config);
}

static void add_drive(struct vm_config *config, const char *id, int fd, int base_fd)
{
	config->drives[config->drive_count] = (struct config_drive){
		.body = { .given = 1U << DRIVE_ID | 1U << DRIVE_PATH,
			  .drive_id = mem_strdup(id),
			  .path_on_host = mem_strdup("/not/shown") },
		.fd = fd,
		.base_fd = base_fd,
	};
	config->drive_count++;
}

static const struct qemu_settings tcg = {
	.id = "vm-1",
	.accel = QEMU_ACCEL_TCG,
	.is_sandboxed = true,
	.tsc_khz = 2500000,
	.qmp_fd = 40,
	.console_fd = 41,
	.agent_fd = -1,
	.saved_fd = 43,
	.memory_fd = -1,
	.state_fd = -1,
};

static void test_minimal(void **state)
{
	struct qemu_settings settings = tcg;
	struct vm_config config;

	(void)state;
	config_init(&config);
	config.kernel_fd = 50;
	check_golden("minimal", &config, &settings);
	settings.accel = QEMU_ACCEL_KVM;
	settings.is_sandboxed = false;
	check_golden("kvm", &config, &settings);
	config_clear(&config);
}

/* The same machine without its kernel, and nothing runs before the state is there. */
static void test_snapshot(void **state)
{
	struct qemu_settings settings = tcg;
	struct qemu_plan plan = { .fd_count = 0 };
	struct err err = ERR_INIT;
	struct vm_config config;

	(void)state;
	config_init(&config);
	settings.agent_fd = 42;
	settings.memory_fd = 70;
	settings.state_fd = 71;
	add_drive(&config, "root", 60, 61);
	check_golden("snapshot", &config, &settings);
	assert_int_equal(qemu_plan(&config, &settings, &plan, &err), 0);
	for (size_t i = 0; i < plan.fd_count; i++) {
		if (plan.fds[i].from == 70)
			CHECK_INT(plan.fds[i].to, plan.memory_number);
		if (plan.fds[i].from == 71)
			CHECK_INT(plan.fds[i].to, plan.state_number);
		if (plan.fds[i].from == 43)
			CHECK_INT(plan.fds[i].to, plan.saved_number);
	}
	qemu_plan_done(&plan);
	config_clear(&config);
}

static void test_usual(void **state)
{
	struct qemu_settings settings = tcg;
	struct vm_config config;

	(void)state;
	config_init(&config);
	config.kernel_fd = 50;
	config.initrd_fd = 51;
	config.boot = (struct boot_body){ .given = 1U << BOOT_ARGS,
					  .boot_args = mem_strdup("console=ttyS0 quiet") };
	config.machine.vcpu_count = 4;
	config.machine.smt = true;
	config.machine.mem_size_mib = 2048;
	add_drive(&config, "rootfs", 60, 61);
	config.drives[0].body.is_root_device = true;
	config.drives[0].body.cache_type = CACHE_WRITEBACK;
	add_drive(&config, "work", 62, -1);
	config.vsock.given = 1;
	config.has_entropy = true;
	settings.agent_fd = 42;
	check_golden("usual", &config, &settings);
	config.vsock.given = 0;
	config_clear(&config);
}

static void test_everything(void **state)
{
	struct qemu_settings settings = tcg;
	struct vm_config config;

	(void)state;
	config_init(&config);
	config.kernel_fd = 50;
	config.machine.huge_pages = HUGE_2M;
	for (int i = 0; i < CONFIG_DRIVES_MAX; i++) {
		add_drive(&config, i == 3 ? "a_name_of_more_than_20_bytes" : "d", 60 + i, 80 + i);
		config.drives[i].is_block = i == 1;
		config.drives[i].base_is_block = i == 2;
		config.drives[i].body.is_read_only = i % 2 == 0;
		config.drives[i].body.io_engine = i == 4 ? ENGINE_ASYNC : ENGINE_SYNC;
	}
	config.drives[0].body.is_root_device = true;
	config.drives[0].body.given |= 1U << DRIVE_PARTUUID;
	config.drives[0].body.partuuid = mem_strdup("0eaa91a0-01");
	for (int i = 0; i < CONFIG_NETS_MAX; i++)
		config.nets[i].fd = 100 + i;
	config.net_count = CONFIG_NETS_MAX;
	config.nets[0].body.given = 1U << NET_MAC | 1U << NET_MTU;
	config.nets[0].body.guest_mac = mem_strdup("06:00:00:00:00:01");
	config.nets[0].body.mtu = 1400;
	config.has_entropy = true;
	config.balloon = (struct balloon_body){ .given = 1,
						.deflate_on_oom = true,
						.free_page_reporting = true };
	settings.agent_fd = 42;
	check_golden("everything", &config, &settings);
	config_clear(&config);
}

/* Firecracker's limit holds for what is appended, too. */
static void test_command_line_limit(void **state)
{
	static const char appended[] = " tsc_early_khz=2500000 tsc=reliable";

	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		const size_t len = CONFIG_BOOT_ARGS_MAX - (sizeof(appended) - 1) + extra;
		struct qemu_plan plan = { .fd_count = 0 };
		struct err err = ERR_INIT;
		struct vm_config config;
		int r;

		config_init(&config);
		config.kernel_fd = 50;
		config.boot.given = 1U << BOOT_ARGS;
		config.boot.boot_args = mem_alloc(1, len + 1);
		memset(config.boot.boot_args, 'x', len);
		r = qemu_plan(&config, &tcg, &plan, &err);
		CHECK_INT(r == 0, extra == 0);
		if (r < 0)
			CHECK_STR(
				err.message,
				"Invalid kernel command line: it has 2048 bytes, at most 2047 fit");
		qemu_plan_done(&plan);
		config_clear(&config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_minimal),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_usual),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_command_line_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
