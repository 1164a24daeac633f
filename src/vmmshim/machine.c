#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/confine.h"
#include "vmmshim/journal.h"
#include "vmmshim/vmm.h"
#include "vmmshim/vmm_state.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#define TSC_SPAN_NS	   (20 * NSEC_PER_MSEC) /* long enough for some millionths */
#define TSC_READS	   16			/* one in sixteen is read without a pause */
#define READ_SIZE	   8192
#define LAST_READS_MAX	   64
#define VSOCK_FAILURES_MAX 20 /* restarts of the channel in one VM's life */

static uint64_t read_tsc(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return 0;
#endif
}

static uint64_t raw_time_ns(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

/*
 * Time and counter at one moment. On a busy host we may lose the processor between the two
 * readings, and a few milliseconds of that would make the guest's clock wrong by a tenth: of
 * several pairs the tightest counts.
 */
static void read_pair(uint64_t *ret_tsc, uint64_t *ret_ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < TSC_READS; i++) {
		const uint64_t before = read_tsc();
		const uint64_t now_ns = raw_time_ns();
		const uint64_t gap = read_tsc() - before;

		/* cppcheck-suppress unsignedLessThanZero; it takes what inline assembly sets for 0
		 */
		if (gap >= best)
			continue;
		best = gap;
		*ret_tsc = before + gap / 2;
		*ret_ns = now_ns;
	}
}

void machine_mark_tsc(struct vmm *vmm)
{
	read_pair(&vmm->tsc_begin, &vmm->tsc_begin_ns);
}

uint64_t machine_measure_tsc_khz(const struct vmm *vmm)
{
	const uint64_t elapsed = raw_time_ns() - vmm->tsc_begin_ns;
	uint64_t tsc = 0;
	uint64_t now_ns = 0;

	if (vmm->tsc_begin == 0)
		return 0;
	if (elapsed < TSC_SPAN_NS) {
		const struct timespec rest = { .tv_nsec = (long)(TSC_SPAN_NS - elapsed) };

		(void)nanosleep(&rest, NULL);
	}
	read_pair(&tsc, &now_ns);
	return (uint64_t)((double)(tsc - vmm->tsc_begin) * 1e6 /
			  (double)(now_ns - vmm->tsc_begin_ns));
}

static void set_step(struct vmm *vmm, enum vmm_step step, uint64_t timeout_ms)
{
	vmm->step = step;
	vmm->step_deadline_ns =
		timeout_ms == 0 ? UINT64_MAX : clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
}

static void signal_qemu(const struct vmm *vmm, int signal)
{
	const int r = process_signal(&vmm->qemu.process, signal);

	/* One that is gone already is as good as killed. */
	if (r < 0 && r != -ESRCH)
		journal_warn("signal %d for QEMU: %s, ignoring", signal, strerrordesc_np(-r));
}

/* Everything that belongs to a QEMU process; the configuration stays. */
static void release_machine(struct vmm *vmm)
{
	struct err err = ERR_INIT;

	(void)err_fill(&err, ERR_BAD_STATE, 0, "QEMU has ended");
	if (vmm->has_qmp)
		qmp_disconnect(&vmm->qmp, &err);
	snapshot_abort(vmm, &err);
	qemu_done(&vmm->qemu);
	vsock_done(&vmm->vsock);
	console_done(&vmm->console);
	vmm->qemu = QEMU_INIT;
	vmm->console = CONSOLE_INIT;
}

/* --- QMP --- */

void machine_is_up(struct vmm *vmm)
{
	set_step(vmm, VMM_RUNNING, 0);
}

void machine_give_up(struct vmm *vmm, const struct err *why)
{
	vmm->start_error = *why;
	signal_qemu(vmm, SIGKILL);
}

static void on_ready(void *context, const struct qmp_version *version)
{
	struct vmm *vmm = context;
	struct err err = ERR_INIT;

	journal_info("QEMU %u.%u.%u answers", version->major, version->minor, version->micro);
	if (vmm->step != VMM_STARTING)
		return;
	if (version->major < QEMU_MAJOR_MIN) {
		(void)err_fill(&err, ERR_UNSUPPORTED, 0,
			       "QEMU %u.%u.%u is too old, %d.0 or newer is needed", version->major,
			       version->minor, version->micro, QEMU_MAJOR_MIN);
		machine_give_up(vmm, &err);
		return;
	}
	if (vmm->action == API_LOAD_SNAPSHOT) {
		snapshot_load_ready(vmm);
		return;
	}
	machine_is_up(vmm);
	vmm->api.phase = API_RUNNING;
	requests_start_done(vmm, NULL);
}

static void on_event(void *context, const char *name, const json_t *details)
{
	struct vmm *vmm = context;
	AUTO_BUF text = BUF_INIT;

	text_escape(&text, span_str(name), 64);
	if (str_eq(name, "SHUTDOWN")) {
		const char *reason = json_get_str(details, "reason");

		journal_info("the guest ends: %s", reason ? reason : "for no known reason");
	} else if (str_eq(name, "MIGRATION") && vmm->action == API_LOAD_SNAPSHOT &&
		   vmm->step == VMM_STARTING) {
		snapshot_load_event(vmm, json_get_str(details, "status"));
	} else if (str_eq(name, "BLOCK_IO_ERROR")) {
		stall_event(vmm, details);
	} else if (str_eq(name, "STOP") && vmm->api.phase == API_RUNNING) {
		journal_debug("QEMU stopped the guest");
	} else {
		journal_debug("QEMU event %s", text.ptr);
	}
}

static const struct qmp_ops qmp_ops = { .ready = on_ready, .event = on_event };

/* A control channel that is broken leaves a VM that cannot be controlled: it is ended. */
static void fail_qmp(struct vmm *vmm, const struct err *err)
{
	journal_error("QMP: %s", err->message);
	qmp_disconnect(&vmm->qmp, err);
	fd_closep(&vmm->qemu.qmp_fd);
	if (vmm->step == VMM_STARTING)
		vmm->start_error = *err;
	else if (vmm->step == VMM_RUNNING)
		vmm->exit_status = VMM_EXIT_FAILED;
	signal_qemu(vmm, SIGKILL);
}

static int read_qmp(struct vmm *vmm, struct err *err)
{
	char bytes[READ_SIZE];
	const ssize_t n = fd_read_some(vmm->qemu.qmp_fd, bytes, sizeof(bytes));

	if (n == -EAGAIN)
		return 0;
	if (n < 0 && n != -ECONNRESET)
		return err_sys(err, (int)n, "read from QEMU");
	if (n <= 0) {
		/* The process ends too; its status says how. */
		(void)err_fill(err, ERR_BAD_STATE, 0, "QEMU closed the connection");
		qmp_disconnect(&vmm->qmp, err);
		fd_closep(&vmm->qemu.qmp_fd);
		return 0;
	}
	return qmp_feed(&vmm->qmp, span_of(bytes, (size_t)n), err);
}

void machine_step_qmp(struct vmm *vmm, short revents)
{
	struct err err = ERR_INIT;
	int r = 0;

	if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		r = read_qmp(vmm, &err);
	if (r == 0 && vmm->qemu.qmp_fd >= 0) {
		const struct span output = qmp_output(&vmm->qmp);
		const ssize_t n = output.len == 0 ? 0 : fd_write_some(vmm->qemu.qmp_fd, output);

		if (n > 0)
			qmp_sent(&vmm->qmp, (size_t)n);
		/* A closed connection shows when it is read. */
	}
	if (r < 0)
		fail_qmp(vmm, &err);
}

/* --- start and end --- */

enum qemu_accel machine_choose_accel(const struct options *options)
{
	if (str_eq(options->accel, "kvm"))
		return QEMU_ACCEL_KVM;
	if (str_eq(options->accel, "auto") && access("/dev/kvm", R_OK | W_OK) == 0)
		return QEMU_ACCEL_KVM;
	return QEMU_ACCEL_TCG;
}

const char *machine_accel_name(enum qemu_accel accel)
{
	return accel == QEMU_ACCEL_KVM ? "kvm" : "tcg";
}

char *machine_describe_cpu(enum qemu_accel accel)
{
#if defined(__x86_64__)
	unsigned eax = 0, ebx = 0, ecx = 0, edx = 0, model = 0;
	char vendor[13] = "";

	if (accel == QEMU_ACCEL_KVM && __get_cpuid(0, &eax, &ebx, &ecx, &edx) != 0) {
		memcpy(vendor, &ebx, 4);
		memcpy(vendor + 4, &edx, 4);
		memcpy(vendor + 8, &ecx, 4);
		(void)__get_cpuid(1, &model, &ebx, &ecx, &edx);
		return mem_printf("%s %x", vendor, model);
	}
#endif
	return mem_strdup(accel == QEMU_ACCEL_KVM ? "host" : "max");
}

static int attach_channels(struct vmm *vmm, struct err *err)
{
	const struct vm_config *config = &vmm->api.config;
	int r;

	r = console_open(&vmm->console, config->serial.serial_out_path, vmm->qemu.console_fd, err);
	if (r < 0)
		return r;
	vmm->qemu.console_fd = -1; /* given */
	if (config->vsock.given == 0)
		return 0;
	r = vsock_init(&vmm->vsock, config->vsock_listener.fd, config->vsock.uds_path,
		       vmm->qemu.agent_fd, err);
	if (r == 0)
		vmm->qemu.agent_fd = -1; /* given */
	return r;
}

/* What QEMU needs to be another user than we are. */
static int prepare_user(struct vmm *vmm, struct qemu_settings *settings, struct err *err)
{
	struct vm_config *config = &vmm->api.config;
	struct confine_kvm kvm;
	int r = 0;

	settings->uid = (uid_t)vmm->options.uid;
	if (settings->uid == 0)
		return 0;
	kvm = confine_kvm(settings->uid, settings->accel);
	settings->gid = kvm.gid;
	settings->own_device = kvm.device;
	if (config->kernel_fd >= 0)
		r = confine_readable(&config->kernel_fd, settings->uid, "kernel", err);
	if (r == 0 && config->initrd_fd >= 0)
		r = confine_readable(&config->initrd_fd, settings->uid, "initrd", err);
	return r;
}

void machine_start(struct vmm *vmm, int state_fd)
{
	struct qemu_settings settings = {
		.id = vmm->options.id,
		.accel = machine_choose_accel(&vmm->options),
		.is_sandboxed = !vmm->options.is_without_seccomp,
		.qmp_fd = -1,
		.console_fd = -1,
		.agent_fd = -1,
		.saved_fd = -1,
		.memory_fd = state_fd >= 0 ? vmm->memory_fd : -1,
		.state_fd = state_fd,
	};
	struct err err = ERR_INIT;
	int r;

	vmm->accel = settings.accel;
	if (settings.accel == QEMU_ACCEL_TCG && state_fd < 0) {
		settings.tsc_khz = machine_measure_tsc_khz(vmm);
		vmm->tsc_khz = settings.tsc_khz;
	}
	r = prepare_user(vmm, &settings, &err);
	if (r == 0)
		r = qemu_start(vmm->options.qemu, &vmm->api.config, &settings, &vmm->qemu, &err);
	if (r == 0)
		r = attach_channels(vmm, &err);
	if (r < 0) {
		release_machine(vmm);
		requests_start_done(vmm, &err);
		return;
	}
	journal_info("started QEMU, process %d, with %s", vmm->qemu.process.pid,
		     settings.accel == QEMU_ACCEL_KVM ? "KVM" : "TCG");
	if (vmm->has_qmp)
		qmp_done(&vmm->qmp);
	qmp_init(&vmm->qmp, &qmp_ops, vmm);
	vmm->has_qmp = true;
	set_step(vmm, VMM_STARTING, VMM_START_TIMEOUT_MS);
}

void machine_stop(struct vmm *vmm)
{
	switch (vmm->step) {
	case VMM_IDLE:
		set_step(vmm, VMM_ENDED, 0);
		return;
	case VMM_STARTING:
		set_step(vmm, VMM_STOPPING, VMM_STOP_TIMEOUT_MS);
		signal_qemu(vmm, SIGTERM);
		return;
	case VMM_RUNNING:
		/* In order, so that disks are flushed; SIGTERM does the same for a lost QMP. */
		set_step(vmm, VMM_STOPPING, VMM_STOP_TIMEOUT_MS);
		if (vmm->qmp.state == QMP_READY)
			qmp_command(&vmm->qmp, "quit", NULL, NULL, NULL);
		else
			signal_qemu(vmm, SIGTERM);
		return;
	case VMM_STOPPING:
		/* Asked twice: no more patience. */
		signal_qemu(vmm, SIGKILL);
		return;
	case VMM_ENDED:
		return;
	}
}

/* Why QEMU ended: what was known before, else its status and its last words. */
static void describe_end(const struct vmm *vmm, int status, struct err *err)
{
	const char *colon = vmm->qemu.last_line[0] == '\0' ? "" : ": ";

	if (vmm->start_error.kind != ERR_NONE)
		*err = vmm->start_error;
	else if (WIFSIGNALED(status))
		(void)err_fill(err, ERR_BAD_STATE, 0, "QEMU was killed by signal %d%s%s",
			       WTERMSIG(status), colon, vmm->qemu.last_line);
	else if (WEXITSTATUS(status) != 0)
		(void)err_fill(err, ERR_BAD_STATE, 0, "QEMU ended with status %d%s%s",
			       WEXITSTATUS(status), colon, vmm->qemu.last_line);
	else
		(void)err_fill(err, ERR_BAD_STATE, 0, "QEMU ended");
}

/* What it said before it ended is still in the channels. */
static void read_last_words(struct vmm *vmm)
{
	for (int i = 0; i < LAST_READS_MAX && vmm->has_qmp && vmm->qemu.qmp_fd >= 0; i++)
		machine_step_qmp(vmm, POLLIN);
	for (int i = 0; i < LAST_READS_MAX && vmm->console.fd >= 0; i++)
		console_step(&vmm->console);
	for (int i = 0; i < LAST_READS_MAX && vmm->qemu.error_fd >= 0; i++)
		qemu_read_errors(&vmm->qemu);
}

/* A QEMU that does not get its memory says so itself. */
void machine_step_gate(struct vmm *vmm)
{
	struct err err = ERR_INIT;

	if (gate_step(&vmm->qemu.gate, &err) == 0)
		return;
	journal_error("%s", err.message);
	gate_done(&vmm->qemu.gate);
}

void machine_exited(struct vmm *vmm)
{
	const bool was_stopping = vmm->step == VMM_STOPPING;
	struct err err = ERR_INIT;
	int status = 0;

	if (process_wait(&vmm->qemu.process, NULL, 0, &status) < 0)
		return; /* not yet */
	read_last_words(vmm);
	describe_end(vmm, status, &err);
	journal_info("%s", err.message);
	metrics_write(&vmm->metrics);
	release_machine(vmm);
	if (vmm->step == VMM_STARTING) {
		/* As when Firecracker cannot build the VM: the client may try again. */
		set_step(vmm, VMM_IDLE, 0);
		vmm->start_error = ERR_INIT;
		requests_start_done(vmm, &err);
		return;
	}
	if (!was_stopping && status != 0)
		vmm->exit_status = VMM_EXIT_FAILED;
	set_step(vmm, VMM_ENDED, 0);
}

void machine_deadline(struct vmm *vmm)
{
	if (clock_now_ns() < vmm->step_deadline_ns)
		return;
	vmm->step_deadline_ns = UINT64_MAX;
	if (vmm->step == VMM_STARTING)
		(void)err_fill(&vmm->start_error, ERR_TIMEOUT, 0,
			       "QEMU did not answer within %d ms", VMM_START_TIMEOUT_MS);
	else
		journal_warn("QEMU did not end within %d ms, killing it", VMM_STOP_TIMEOUT_MS);
	signal_qemu(vmm, SIGKILL);
}

void machine_step_vsock(struct vmm *vmm, const struct pollfd *fds, size_t count)
{
	struct err err = ERR_INIT;

	if (vsock_step(&vmm->vsock, fds, count, &err) == 0)
		return;
	vmm->vsock_failures++;
	if (err.kind == ERR_PROTOCOL && vmm->vsock_failures <= VSOCK_FAILURES_MAX &&
	    vsock_restart(&vmm->vsock) == 0) {
		journal_warn("the agent's channel: %s, starting it anew", err.message);
		return;
	}
	/* The channel ends with QEMU; otherwise the guest misbehaves, and loses its channel. */
	if (err.kind == ERR_PROTOCOL)
		journal_error("the agent's channel: %s, closing it", err.message);
	vsock_done(&vmm->vsock);
}
