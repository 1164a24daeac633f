/* The choice of a VMM: versions, what is found on a host, and every row of the decision. */
#include "vmm_fixture.h"

#include <fcntl.h>
#include <stdlib.h>

#include "vmm/engine.h"

static void test_words(void **state)
{
	enum vmm_engine engine = VMM_ENGINE_COUNT;

	(void)state;
	CHECK_INT(vmm_engine_parse("firecracker", &engine), 0);
	CHECK_INT(engine, VMM_ENGINE_FIRECRACKER);
	CHECK_INT(vmm_engine_parse("qemu", &engine), 0);
	CHECK_INT(engine, VMM_ENGINE_QEMU);
	assert_true(vmm_engine_parse("auto", &engine) < 0);
	assert_true(vmm_engine_parse("", &engine) < 0);
	assert_true(vmm_engine_parse("Qemu", &engine) < 0);
	assert_true(vmm_engine_parse(NULL, &engine) < 0);
	CHECK_STR(vmm_engine_name(VMM_ENGINE_QEMU), "qemu");
	CHECK_STR(vmm_accelerator_name(VMM_ACCELERATOR_TCG), "tcg");
	CHECK_STR(vmm_accelerator_name(VMM_ACCELERATOR_KVM), "kvm");
}

static void test_versions(void **state)
{
	static const struct {
		const char *text;
		bool is_good;
		struct vmm_version version;
	} rows[] = {
		{ "Firecracker v1.7.0\n\nSupported snapshot data format versions: v2.0.0",
		  true,
		  { 1, 7, 0 } },
		{ "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright",
		  true,
		  { 7, 2, 22 } },
		{ "QEMU emulator version 10.0\n", true, { 10, 0, 0 } },
		{ "banger-vmm 0.1.0-dev", true, { 0, 1, 0 } },
		{ "9.1.", true, { 9, 1, 0 } },
		{ "first line\nv2.3", true, { 2, 3, 0 } },
		{ "", false, { 0 } },
		{ "no version", false, { 0 } },
		{ "version 7", false, { 0 } },
		{ "version 7.", false, { 0 } },
		{ "x1.2", false, { 0 } },
		{ "vv1.2", false, { 0 } },
		{ "-1.2", false, { 0 } },
		{ "65536.1", false, { 0 } },
		{ "99999999999999999999.1", false, { 0 } },
		{ "01.2", false, { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmm_version got = { 0 };

		CHECK_ROW(i, vmm_version_parse(rows[i].text, &got) == rows[i].is_good);
		CHECK_ROW(i, memcmp(&got, &rows[i].version, sizeof(got)) == 0);
	}
}

static void test_version_order(void **state)
{
	static const struct {
		struct vmm_version version;
		struct vmm_version least;
		bool is_enough;
	} rows[] = {
		{ { 1, 5, 0 }, { 1, 5, 0 }, true },  { { 1, 4, 9 }, { 1, 5, 0 }, false },
		{ { 2, 0, 0 }, { 1, 5, 0 }, true },  { { 0, 99, 0 }, { 1, 5, 0 }, false },
		{ { 1, 10, 0 }, { 1, 9, 9 }, true }, { { 7, 2, 1 }, { 7, 2, 2 }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, vmm_version_at_least(&rows[i].version, &rows[i].least) ==
				     rows[i].is_enough);
}

/* --- choosing --------------------------------------------------------------------------------- */

static const struct {
	enum vmm_choice choice;
	bool has_firecracker;
	bool has_qemu;
	bool has_shim;
	bool has_kvm;
	bool is_ok;
	enum vmm_engine engine;
	enum vmm_accelerator accelerator;
	const char *reason; /* part of the reason, or of the error */
} choices[] = {
	{ VMM_CHOICE_AUTO, true, true, true, true, true, VMM_ENGINE_FIRECRACKER,
	  VMM_ACCELERATOR_KVM, "Firecracker 1.7.3 with KVM" },
	{ VMM_CHOICE_AUTO, true, false, false, true, true, VMM_ENGINE_FIRECRACKER,
	  VMM_ACCELERATOR_KVM, "Firecracker 1.7.3 with KVM" },
	{ VMM_CHOICE_AUTO, true, true, true, false, true, VMM_ENGINE_QEMU, VMM_ACCELERATOR_TCG,
	  "banger-vmm on QEMU 7.2.1 with TCG: KVM is odd" },
	{ VMM_CHOICE_AUTO, false, true, true, true, true, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
	  "banger-vmm on QEMU 7.2.1 with KVM: firecracker is missing" },
	{ VMM_CHOICE_AUTO, false, true, true, false, true, VMM_ENGINE_QEMU, VMM_ACCELERATOR_TCG,
	  "with TCG: KVM is odd" },
	{ VMM_CHOICE_AUTO, false, false, true, true, false, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
	  "no VMM to run VMs with: QEMU cannot be used: qemu is missing" },
	{ VMM_CHOICE_AUTO, true, false, true, false, false, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
	  "QEMU cannot be used" },
	{ VMM_CHOICE_AUTO, false, true, false, false, false, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
	  "banger-vmm cannot be used: shim is missing" },
	{ VMM_CHOICE_FIRECRACKER, true, true, true, true, true, VMM_ENGINE_FIRECRACKER,
	  VMM_ACCELERATOR_KVM, "Firecracker 1.7.3 with KVM" },
	{ VMM_CHOICE_FIRECRACKER, true, true, true, false, false, VMM_ENGINE_QEMU,
	  VMM_ACCELERATOR_TCG, "Firecracker needs KVM: KVM is odd" },
	{ VMM_CHOICE_FIRECRACKER, false, true, true, true, false, VMM_ENGINE_QEMU,
	  VMM_ACCELERATOR_TCG, "Firecracker cannot be used: firecracker is missing" },
	{ VMM_CHOICE_QEMU, true, true, true, true, true, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
	  "banger-vmm on QEMU 7.2.1 with KVM" },
	{ VMM_CHOICE_QEMU, true, true, true, false, true, VMM_ENGINE_QEMU, VMM_ACCELERATOR_TCG,
	  "with TCG: KVM is odd" },
	{ VMM_CHOICE_QEMU, true, false, true, true, false, VMM_ENGINE_QEMU, VMM_ACCELERATOR_TCG,
	  "QEMU cannot be used: qemu is missing" },
};

static struct vmm_program program_of(bool is_there, const char *path, const char *word,
				     struct vmm_version version)
{
	struct vmm_program program = { .is_usable = is_there, .version = version };

	if (is_there)
		program.path = mem_strdup(path);
	(void)snprintf(program.reason, sizeof(program.reason), "%s is %s", word,
		       is_there ? "there" : "missing");
	return program;
}

static void test_choices(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		CLEANUP(vmm_host_done) struct vmm_host host = { 0 };
		CLEANUP(vmm_decision_done) struct vmm_decision decision = { 0 };
		struct err err = ERR_INIT;
		int r;

		host.firecracker = program_of(choices[i].has_firecracker, "/fc", "firecracker",
					      (struct vmm_version){ 1, 7, 3 });
		host.qemu = program_of(choices[i].has_qemu, "/q", "qemu",
				       (struct vmm_version){ 7, 2, 1 });
		host.shim = program_of(choices[i].has_shim, "/shim", "shim",
				       (struct vmm_version){ 0, 1, 0 });
		host.kvm.finding = choices[i].has_kvm ? KVM_USABLE : KVM_TOO_SLOW;
		(void)snprintf(host.kvm.reason, sizeof(host.kvm.reason), "KVM is odd");
		host.processor = choices[i].has_kvm ? mem_strdup("flags: a\n") : NULL;

		r = vmm_choose(choices[i].choice, &host, &decision, &err);
		CHECK_ROW(i, (r == 0) == choices[i].is_ok);
		CHECK_HAS(r == 0 ? decision.reason : err.message, choices[i].reason);
		if (r < 0) {
			CHECK_ROW(i, err.kind == ERR_UNSUPPORTED);
			CHECK_ROW(i, !decision.binary && !decision.qemu_path);
			continue;
		}
		CHECK_ROW(i, decision.engine == choices[i].engine);
		CHECK_ROW(i, decision.accelerator == choices[i].accelerator);
		CHECK_STR(decision.binary, choices[i].engine == VMM_ENGINE_QEMU ? "/shim" : "/fc");
		CHECK_ROW(i, str_eq(decision.qemu_path,
				    choices[i].engine == VMM_ENGINE_QEMU ? "/q" : NULL));
		CHECK_ROW(i, str_eq(decision.processor, choices[i].has_kvm ? "flags: a\n" : NULL));
	}
}

/* --- looking at a host ------------------------------------------------------------------------ */

/* A program that is a shell script. */
static char *write_program(const char *folder, const char *name, const char *script)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
	AUTO_FREE char *text = mem_printf("#!/bin/sh\n%s\n", script);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, span_str(text)), 0);
	return TAKE_PTR(path);
}

static const struct {
	const char *script;
	bool is_usable;
	const char *reason;
} programs[] = {
	{ "[ \"$1\" = --version ] && echo 'Firecracker v1.5.0'", true, "fc 1.5.0" },
	{ "echo 'Firecracker v1.4.9'", false, "fc 1.4.9 is older than 1.5" },
	{ "echo hello", false, "names no version" },
	{ "echo 'cannot open' >&2; exit 3", false, "ended with status 3: cannot open" },
	{ "kill -SEGV $$", false, "killed by signal 11" },
	{ "yes 1.9", false, "" },
	{ "head -c 16385 /dev/zero; echo 1.9", false, "" },
};

static void test_gathering(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		CLEANUP(vmm_host_done) struct vmm_host host = { 0 };
		struct vmm_host_options options = { .state_dir_fd = -1,
						    .qemu_bin = "/no/qemu",
						    .shim_bin = "/no/shim",
						    .kvm_node = "/no/kvm" };
		AUTO_FREE char *path = NULL;
		struct err err = ERR_INIT;

		vmm_fixture_init(&fixture);
		path = write_program(fixture.folder, "fc", programs[i].script);
		options.firecracker_bin = path;
		assert_int_equal(vmm_host_gather(&options, NULL, &host, &err), 0);
		CHECK_ROW(i, host.firecracker.is_usable == programs[i].is_usable);
		CHECK_HAS(host.firecracker.reason, programs[i].reason);
		CHECK_ROW(i, host.firecracker.reason[0] != '\0');
		CHECK_ROW(i, !host.qemu.is_usable && !host.shim.is_usable);
		CHECK_HAS(host.qemu.reason, "'/no/qemu': No such file");
		CHECK_HAS(host.shim.reason, "'/no/shim': No such file");
		CHECK_INT(host.kvm.finding, KVM_MISSING);
		CHECK_HAS(host.kvm.reason, "/no/kvm does not exist");
	}
}

static void test_search_path(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	CLEANUP(vmm_host_done) struct vmm_host host = { 0 };
	struct vmm_host_options options = { .state_dir_fd = -1, .kvm_node = "/no/kvm" };
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *search = NULL;
	struct err err = ERR_INIT;

	(void)state;
	vmm_fixture_init(&fixture);
	path = write_program(fixture.folder, "qemu-system-x86_64",
			     "echo 'QEMU emulator version 6.9.9'");
	search = mem_printf(":relative:%s", fixture.folder);
	assert_int_equal(setenv("PATH", search, 1), 0);
	assert_int_equal(vmm_host_gather(&options, NULL, &host, &err), 0);
	CHECK_STR(host.qemu.path, path);
	CHECK_HAS(host.qemu.reason, "6.9.9 is older than 7.0");
	assert_false(host.qemu.is_usable);
	assert_null(host.firecracker.path);
	CHECK_STR(host.firecracker.reason, "firecracker is not installed");
	/* No banger-vmm is beside the test program. */
	CHECK_STR(host.shim.reason, "banger-vmm is not beside this program");
}

static void test_gathering_cancelled(void **state)
{
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	const struct vmm_host_options options = { .state_dir_fd = -1, .kvm_node = "/no/kvm" };
	struct vmm_host host;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_true(vmm_host_gather(&options, &cancel, &host, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),	      cmocka_unit_test(test_versions),
		cmocka_unit_test(test_version_order), cmocka_unit_test(test_choices),
		cmocka_unit_test(test_gathering),     cmocka_unit_test(test_gathering_cancelled),
		cmocka_unit_test(test_search_path),
	};

	return cmocka_run_group_tests_name("vmm_engine", tests, NULL, NULL);
}
