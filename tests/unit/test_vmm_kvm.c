/* The KVM probe: what figures mean, what is kept for the boot, and that a probe always ends. */
#include "vmm_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spawn.h"
#include "vmm/kvm_verdict.h"

static void test_rates(void **state)
{
	static const struct {
		uint64_t rate;
		enum kvm_finding finding;
		const char *reason;
	} rows[] = {
		{ 0, KVM_TOO_SLOW, "0.0 million" },
		{ 1100000, KVM_TOO_SLOW, "1.1 million" },
		{ KVM_TURNS_PER_SECOND_MIN - 1, KVM_TOO_SLOW, "useless: 19.9 million" },
		{ KVM_TURNS_PER_SECOND_MIN, KVM_USABLE, "usable: 20 million" },
		{ 190000000, KVM_USABLE, "usable: 190 million" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kvm_verdict verdict;

		kvm_verdict_of_rate(rows[i].rate, &verdict);
		CHECK_ROW(i, verdict.finding == rows[i].finding);
		CHECK_ROW(i, verdict.turns_per_second == rows[i].rate);
		CHECK_ROW(i, kvm_is_usable(&verdict) == (rows[i].finding == KVM_USABLE));
		CHECK_HAS(verdict.reason, rows[i].reason);
	}
}

static void test_reports(void **state)
{
	static const struct {
		struct kvm_report report;
		enum kvm_finding finding;
		const char *reason;
	} rows[] = {
		{ { .step = KVM_STEP_OPEN, .errnum = ENOENT }, KVM_MISSING, "does not exist" },
		{ { .step = KVM_STEP_OPEN, .errnum = EACCES }, KVM_NO_PERMISSION, "group" },
		{ { .step = KVM_STEP_OPEN, .errnum = EPERM }, KVM_NO_PERMISSION, "group" },
		{ { .step = KVM_STEP_OPEN, .errnum = EBUSY }, KVM_IN_USE, "another hypervisor" },
		{ { .step = KVM_STEP_OPEN, .errnum = ENXIO }, KVM_FAILED, "opening it" },
		{ { .step = KVM_STEP_API_VERSION, .errnum = ENOTTY }, KVM_NOT_KVM, "is not KVM" },
		{ { .step = KVM_STEP_CREATE_VM, .errnum = EBUSY }, KVM_IN_USE, "VirtualBox" },
		{ { .step = KVM_STEP_CREATE_VM, .errnum = ENOMEM }, KVM_FAILED, "making a VM" },
		{ { .step = KVM_STEP_RUN, .errnum = EFAULT }, KVM_FAILED, "running the vcpu" },
		{ { .step = KVM_STEP_EXIT, .exit_reason = KVM_EXIT_SHUTDOWN },
		  KVM_FAILED,
		  "exit reason 8" },
		{ { .step = KVM_STEP_RESULT }, KVM_FAILED, "wrongly" },
		{ { .step = KVM_STEP_DONE, .turns = 160000, .elapsed_ns = 100000000 },
		  KVM_TOO_SLOW,
		  "1.6 million" },
		{ { .step = KVM_STEP_DONE, .turns = UINT64_C(1) << 36, .elapsed_ns = 1000000000 },
		  KVM_USABLE,
		  "68719 million" },
		{ { .step = KVM_STEP_DONE, .turns = 1, .elapsed_ns = 0 }, KVM_TOO_SLOW, "0.0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kvm_verdict verdict;

		kvm_verdict_of_report(&rows[i].report, "/dev/kvm", &verdict);
		CHECK_ROW(i, verdict.finding == rows[i].finding);
		CHECK_HAS(verdict.reason, rows[i].reason);
	}
}

#define BOOT "11111111-2222-3333-4444-555555555555"
#define GOOD "{\"boot_id\":\"" BOOT "\",\"finding\":"

static void test_reading(void **state)
{
	static const struct {
		const char *text;
		enum kvm_finding finding; /* KVM_FINDING_COUNT: refused */
	} rows[] = {
		{ GOOD "\"usable\",\"turns_per_second\":190000000}", KVM_USABLE },
		{ GOOD "\"too_slow\",\"turns_per_second\":1500000,\"reason\":\"x\"}\n",
		  KVM_TOO_SLOW },
		{ GOOD "\"hangs\",\"turns_per_second\":0}", KVM_HANGS },
		{ "{\"boot_id\":\"other\",\"finding\":\"usable\",\"turns_per_second\":190000000}",
		  KVM_FINDING_COUNT },
		{ GOOD "\"usable\",\"turns_per_second\":1500000}", KVM_FINDING_COUNT },
		{ GOOD "\"too_slow\",\"turns_per_second\":190000000}", KVM_FINDING_COUNT },
		{ GOOD "\"missing\",\"turns_per_second\":0}", KVM_FINDING_COUNT },
		{ GOOD "\"usable\"}", KVM_FINDING_COUNT },
		{ GOOD "\"usable\",\"turns_per_second\":-1}", KVM_FINDING_COUNT },
		{ GOOD "\"usable\",\"turns_per_second\":190000000,\"x\":1}", KVM_FINDING_COUNT },
		{ GOOD "\"usable\",\"turns_per_second\":190000000} x", KVM_FINDING_COUNT },
		{ "", KVM_FINDING_COUNT },
		{ "[]", KVM_FINDING_COUNT },
		{ "\"usable\"", KVM_FINDING_COUNT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kvm_verdict got = { .finding = KVM_FINDING_COUNT };

		CHECK_ROW(i, kvm_verdict_read(span_str(rows[i].text), BOOT, &got) ==
				     (rows[i].finding != KVM_FINDING_COUNT));
		CHECK_ROW(i, got.finding == rows[i].finding);
		CHECK_ROW(i, (got.reason[0] != '\0') == (got.finding != KVM_FINDING_COUNT));
	}
}

static void test_writing(void **state)
{
	AUTO_BUF text = BUF_INIT;
	struct kvm_verdict verdict, again;

	(void)state;
	kvm_verdict_of_rate(190000001, &verdict);
	kvm_verdict_write(&verdict, BOOT, &text);
	assert_true(kvm_verdict_read(buf_span(&text), BOOT, &again));
	CHECK_INT(again.turns_per_second, 190000001);
	CHECK_STR(again.reason, verdict.reason);
	assert_true(text.len < KVM_VERDICT_BYTES_MAX);
	assert_false(kvm_verdict_read(buf_span(&text), "another", &again));
}

static void write_cache(int dir_fd, const char *boot_id, uint64_t rate)
{
	AUTO_BUF text = BUF_INIT;
	struct kvm_verdict verdict;

	kvm_verdict_of_rate(rate, &verdict);
	kvm_verdict_write(&verdict, boot_id, &text);
	assert_int_equal(file_replace(dir_fd, KVM_VERDICT_FILE, buf_span(&text), 0600), 0);
}

/* /dev/null opens and is no KVM, so that what comes of it tells a cached verdict from a measured
 * one. */
static void test_cache(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	char boot_id[BOOT_ID_SIZE];
	struct kvm_verdict verdict;
	AUTO_CLOSE int dir_fd = -1;

	(void)state;
	vmm_fixture_init(&fixture);
	dir_fd = dir_open(fixture.folder);
	assert_int_equal(process_boot_id(boot_id), 0);

	kvm_probe(dir_fd, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
	/* What needs no measuring is not kept. */
	CHECK_INT(faccessat(dir_fd, KVM_VERDICT_FILE, F_OK, 0), -1);

	write_cache(dir_fd, boot_id, 190000000);
	kvm_probe(dir_fd, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_USABLE);
	kvm_probe_anew(dir_fd, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
	kvm_probe(-1, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
	/* A cached verdict is worth nothing when the node is gone or may not be opened. */
	kvm_probe(dir_fd, "/no/kvm", &verdict);
	CHECK_INT(verdict.finding, KVM_MISSING);

	write_cache(dir_fd, BOOT, 190000000);
	kvm_probe(dir_fd, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
}

static void test_broken_cache(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	struct kvm_verdict verdict;
	AUTO_CLOSE int dir_fd = -1;

	(void)state;
	vmm_fixture_init(&fixture);
	dir_fd = dir_open(fixture.folder);
	assert_int_equal(mkfifoat(dir_fd, KVM_VERDICT_FILE, 0600), 0);
	kvm_probe(dir_fd, "/dev/null", &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
}

/* Whatever the node is: the probe comes back, and nothing of it stays. */
static void test_odd_nodes(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	AUTO_FREE char *fifo = NULL;
	struct kvm_verdict verdict;

	(void)state;
	vmm_fixture_init(&fixture);
	fifo = mem_printf("%s/fifo", fixture.folder);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	kvm_probe_measure(fifo, PATIENCE_MS, &verdict);
	CHECK_INT(verdict.finding, KVM_NOT_KVM);
	kvm_probe_measure(fixture.folder, PATIENCE_MS, &verdict);
	CHECK_INT(verdict.finding, KVM_FAILED);
	kvm_probe_measure("/no/kvm", PATIENCE_MS, &verdict);
	CHECK_INT(verdict.finding, KVM_MISSING);
}

/* Out of time is how a KVM_RUN that hangs looks; the child is killed and reaped. */
static void test_deadline(void **state)
{
	struct kvm_verdict verdict;

	(void)state;
	kvm_probe_measure("/dev/null", 0, &verdict);
	CHECK_INT(verdict.finding, KVM_HANGS);
	CHECK_HAS(verdict.reason, "guests hang");
	CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),	  cmocka_unit_test(test_reports),
		cmocka_unit_test(test_reading),	  cmocka_unit_test(test_writing),
		cmocka_unit_test(test_cache),	  cmocka_unit_test(test_broken_cache),
		cmocka_unit_test(test_odd_nodes), cmocka_unit_test(test_deadline),
	};

	return cmocka_run_group_tests_name("vmm_kvm", tests, NULL, NULL);
}
