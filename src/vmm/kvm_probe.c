#include "vmm/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/spawn.h"
#include "base/text.h"
#include "vmm/kvm_guest.h"
#include "vmm/kvm_verdict.h"

#define KILL_TIMEOUT_MS 500

static const char *const finding_names[] = {
	[KVM_USABLE] = "usable", [KVM_MISSING] = "missing",   [KVM_NO_PERMISSION] = "no_permission",
	[KVM_IN_USE] = "in_use", [KVM_NOT_KVM] = "not_kvm",   [KVM_FAILED] = "failed",
	[KVM_HANGS] = "hangs",	 [KVM_TOO_SLOW] = "too_slow",
};
_Static_assert(ARRAY_LEN(finding_names) == KVM_FINDING_COUNT, "each finding needs its word");

/* --- from figures to words -------------------------------------------------------------------- */

static void set_reason(struct kvm_verdict *verdict, const char *format, ...) PRINTF_LIKE(2, 3);

static void set_reason(struct kvm_verdict *verdict, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(verdict->reason, sizeof(verdict->reason), format, args);
	va_end(args);
}

void kvm_verdict_of_rate(uint64_t turns_per_second, struct kvm_verdict *ret)
{
	const unsigned long long whole = turns_per_second / 1000000;
	const unsigned long long tenth = turns_per_second / 100000 % 10;
	const bool is_usable = turns_per_second >= KVM_TURNS_PER_SECOND_MIN;

	*ret = (struct kvm_verdict){ .finding = is_usable ? KVM_USABLE : KVM_TOO_SLOW,
				     .turns_per_second = turns_per_second };
	if (is_usable)
		set_reason(ret, "KVM is usable: %llu million turns a second in a 64-bit test loop",
			   whole);
	else
		set_reason(ret,
			   "KVM opens but is useless: %llu.%llu million turns a second in a 64-bit "
			   "test loop, where real KVM makes hundreds of millions",
			   whole, tenth);
}

static void verdict_of_hang(struct kvm_verdict *ret)
{
	*ret = (struct kvm_verdict){ .finding = KVM_HANGS };
	set_reason(ret, "KVM opens but guests hang: a test loop of milliseconds did not end");
}

/* Failures of opening the node and of making a VM mean something; the rest are named by step. */
static void verdict_of_errno(const struct kvm_report *report, const char *node,
			     struct kvm_verdict *ret)
{
	static const char *const step_names[] = {
		[KVM_STEP_OPEN] = "opening it",
		[KVM_STEP_API_VERSION] = "asking for its version",
		[KVM_STEP_CREATE_VM] = "making a VM",
		[KVM_STEP_MEMORY] = "giving the VM memory",
		[KVM_STEP_CREATE_VCPU] = "making a vcpu",
		[KVM_STEP_REGISTERS] = "setting the vcpu's registers",
		[KVM_STEP_RUN] = "running the vcpu",
		[KVM_STEP_EXIT] = "running the test loop",
		[KVM_STEP_RESULT] = "counting in the test loop",
		[KVM_STEP_DONE] = "",
	};
	_Static_assert(ARRAY_LEN(step_names) == KVM_STEP_COUNT, "each step needs its words");
	const char *description = strerrordesc_np(report->errnum);

	*ret = (struct kvm_verdict){ .finding = KVM_FAILED };
	if (report->step == KVM_STEP_OPEN && report->errnum == ENOENT) {
		ret->finding = KVM_MISSING;
		set_reason(ret,
			   "%s does not exist: no KVM in this kernel or CPU, or it is not "
			   "passed through",
			   node);
	} else if (report->step == KVM_STEP_OPEN &&
		   (report->errnum == EACCES || report->errnum == EPERM)) {
		ret->finding = KVM_NO_PERMISSION;
		set_reason(ret, "no permission to open %s: join the group that owns it (kvm)",
			   node);
	} else if (report->errnum == EBUSY) {
		ret->finding = KVM_IN_USE;
		set_reason(ret,
			   "another hypervisor (VirtualBox, VMware) holds the CPU's "
			   "virtualization: %s says busy",
			   node);
	} else if (report->step == KVM_STEP_API_VERSION) {
		ret->finding = KVM_NOT_KVM;
		set_reason(ret, "%s is not KVM as we know it", node);
	} else {
		set_reason(ret, "%s fails at %s: %s", node, step_names[report->step],
			   description ? description : "unknown error");
	}
}

void kvm_verdict_of_report(const struct kvm_report *report, const char *node,
			   struct kvm_verdict *ret)
{
	switch (report->step) {
	case KVM_STEP_EXIT:
		*ret = (struct kvm_verdict){ .finding = KVM_FAILED };
		set_reason(ret, "%s cannot run a 64-bit test loop: it ended with exit reason %u",
			   node, report->exit_reason);
		return;
	case KVM_STEP_RESULT:
		*ret = (struct kvm_verdict){ .finding = KVM_FAILED };
		set_reason(ret, "%s runs a 64-bit test loop wrongly", node);
		return;
	case KVM_STEP_DONE:
		kvm_verdict_of_rate(report->elapsed_ns > 0
					    ? (uint64_t)((__uint128_t)report->turns * NSEC_PER_SEC /
							 report->elapsed_ns)
					    : 0,
				    ret);
		return;
	case KVM_STEP_OPEN:
	case KVM_STEP_API_VERSION:
	case KVM_STEP_CREATE_VM:
	case KVM_STEP_MEMORY:
	case KVM_STEP_CREATE_VCPU:
	case KVM_STEP_REGISTERS:
	case KVM_STEP_RUN:
	case KVM_STEP_COUNT:
		break;
	}
	verdict_of_errno(report, node, ret);
}

/* --- measuring in a child --------------------------------------------------------------------- */

/* Between fork and _exit only async-signal-safe calls. */
static NORETURN void child_main(const char *node, int report_fd, pid_t parent)
{
	struct kvm_report report;
	ssize_t n;

	/* Nothing of the daemon's is held on to: sockets of clients, locks, pipes. */
	if (dup2(report_fd, STDIN_FILENO) >= 0) {
		(void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
		report_fd = STDIN_FILENO;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	kvm_guest_measure(node, &report);
	n = write(report_fd, &report, sizeof(report));
	_exit(n == sizeof(report) ? 0 : 1);
}

/* Waits for the report, and for the child's end after it was killed. */
static int take_report(pid_t child, int report_fd, uint64_t timeout_ms, struct kvm_report *ret)
{
	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	int r;

	r = cancel_poll(NULL, report_fd, POLLIN, deadline_ns);
	if (r > 0)
		r = fd_read_exact(report_fd, ret, sizeof(*ret));

	/* Whatever it does now, it is not needed any more. */
	(void)kill(child, SIGKILL);
	/*
	 * Its end of the pipe closes when it ends. One that cannot even be killed is left behind as
	 * a zombie to be: waiting for it would hang the daemon.
	 */
	if (cancel_poll(NULL, report_fd, POLLIN, clock_now_ns() + KILL_TIMEOUT_MS * NSEC_PER_MSEC) >
	    0) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	} else {
		(void)waitpid(child, NULL, WNOHANG);
	}
	return r;
}

void kvm_probe_measure(const char *node, uint64_t timeout_ms, struct kvm_verdict *ret)
{
	AUTO_CLOSE int read_end = -1;
	AUTO_CLOSE int write_end = -1;
	struct kvm_report report = { .step = KVM_STEP_COUNT };
	const pid_t parent = getpid();
	int ends[2], r;
	pid_t child;

	*ret = (struct kvm_verdict){ .finding = KVM_FAILED };
	r = fd_pipe(ends);
	if (r < 0) {
		set_reason(ret, "KVM could not be tested: %s", strerrordesc_np(-r));
		return;
	}
	read_end = ends[0];
	write_end = ends[1];
	child = fork();
	if (child < 0) {
		set_reason(ret, "KVM could not be tested: %s", strerrordesc_np(errno));
		return;
	}
	if (child == 0)
		child_main(node, write_end, parent);

	fd_closep(&write_end);
	r = take_report(child, read_end, timeout_ms, &report);
	if (r == -ETIMEDOUT)
		verdict_of_hang(ret);
	else if (r < 0 || (unsigned)report.step >= KVM_STEP_COUNT)
		set_reason(ret, "KVM could not be tested: the test died");
	else
		kvm_verdict_of_report(&report, node, ret);
}

/* --- the verdict of this boot ----------------------------------------------------------------- */

struct verdict_file {
	char *boot_id;
	char *finding;
	char *reason;
	uint64_t turns_per_second;
};

static const struct json_field verdict_fields[] = {
	{ "boot_id", JSON_FIELD_STRING, true, offsetof(struct verdict_file, boot_id), 64,
	  "the boot that it is about" },
	{ "finding", JSON_FIELD_STRING, true, offsetof(struct verdict_file, finding), 32,
	  "usable, too_slow or hangs" },
	{ "turns_per_second", JSON_FIELD_U64, true, offsetof(struct verdict_file, turns_per_second),
	  0, "of the test loop" },
	{ "reason", JSON_FIELD_STRING, false, offsetof(struct verdict_file, reason), 0,
	  "for people; made anew when it is read" },
};

bool kvm_verdict_read(struct span text, const char *boot_id, struct kvm_verdict *ret)
{
	AUTO_JSON *document = NULL;
	struct verdict_file file = { 0 };
	struct kvm_verdict verdict = { .finding = KVM_FINDING_COUNT };
	struct err ignored = ERR_INIT;
	bool is_good;

	if (text.len > KVM_VERDICT_BYTES_MAX || json_read(text, &document, &ignored) < 0 ||
	    json_read_fields(document, verdict_fields, ARRAY_LEN(verdict_fields), &file, &ignored) <
		    0)
		return false;

	/* The figure says what to think of it; a finding that does not fit it is not believed. */
	if (str_eq(file.finding, finding_names[KVM_HANGS]))
		verdict_of_hang(&verdict);
	else
		kvm_verdict_of_rate(file.turns_per_second, &verdict);
	is_good = str_eq(file.boot_id, boot_id) &&
		  str_eq(file.finding, finding_names[verdict.finding]);
	json_fields_done(verdict_fields, ARRAY_LEN(verdict_fields), &file);
	if (is_good)
		*ret = verdict;
	return is_good;
}

void kvm_verdict_write(const struct kvm_verdict *verdict, const char *boot_id, struct buf *out)
{
	AUTO_JSON *document = json_new_object();

	json_put_str(document, "boot_id", boot_id);
	json_put_str(document, "finding", finding_names[verdict->finding]);
	json_put_u64(document, "turns_per_second", verdict->turns_per_second);
	json_put_str(document, "reason", verdict->reason);
	json_write(document, out);
	buf_add_byte(out, '\n');
}

/* Whether the node can be opened now; if not, the verdict is ready. */
static bool node_opens(const char *node, struct kvm_verdict *ret)
{
	struct kvm_report report = { .step = KVM_STEP_OPEN };
	const int fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		report.errnum = errno;
		kvm_verdict_of_report(&report, node, ret);
		return false;
	}
	fd_close(fd);
	return true;
}

static bool read_cached(int state_dir_fd, const char *boot_id, struct kvm_verdict *ret)
{
	AUTO_BUF text = BUF_INIT;

	return state_dir_fd >= 0 &&
	       file_read(state_dir_fd, KVM_VERDICT_FILE, KVM_VERDICT_BYTES_MAX, &text) >= 0 &&
	       kvm_verdict_read(buf_span(&text), boot_id, ret);
}

static void measure_and_cache(int state_dir_fd, const char *node, const char *boot_id,
			      struct kvm_verdict *ret)
{
	AUTO_BUF text = BUF_INIT;
	int r = 0;

	kvm_probe_measure(node, KVM_PROBE_TIMEOUT_MS, ret);
	if (state_dir_fd < 0 || (ret->finding != KVM_USABLE && ret->finding != KVM_TOO_SLOW &&
				 ret->finding != KVM_HANGS))
		return;
	kvm_verdict_write(ret, boot_id, &text);
	r = file_replace(state_dir_fd, KVM_VERDICT_FILE, buf_span(&text), 0600);
	(void)r; /* then the next start measures again */
}

void kvm_probe_anew(int state_dir_fd, const char *node, struct kvm_verdict *ret)
{
	char boot_id[BOOT_ID_SIZE] = "";

	if (!node_opens(node, ret))
		return;
	if (process_boot_id(boot_id) < 0)
		state_dir_fd = -1; /* without it no verdict can be known again */
	measure_and_cache(state_dir_fd, node, boot_id, ret);
}

void kvm_probe(int state_dir_fd, const char *node, struct kvm_verdict *ret)
{
	char boot_id[BOOT_ID_SIZE] = "";

	if (!node_opens(node, ret))
		return;
	if (process_boot_id(boot_id) < 0 || !read_cached(state_dir_fd, boot_id, ret))
		kvm_probe_anew(state_dir_fd, node, ret);
}
