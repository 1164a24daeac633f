#include "vmmshim/vmm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/version.h"
#include "vmmshim/host.h"
#include "vmmshim/journal.h"
#include "vmmshim/sandbox.h"
#include "vmmshim/vmm_state.h"

#define API_BACKLOG	16
#define CONFIG_FILE_MAX (1024ULL * 1024)

/* The places of the fixed entries; the vsock device's follow. */
enum { FD_SIGNAL, FD_HTTP, FD_QMP, FD_CONSOLE, FD_ERRORS, FD_PROCESS, FD_GATE, FD_FIXED_COUNT };

static void vmm_free(struct vmm *vmm)
{
	if (!vmm)
		return;
	qemu_done(&vmm->qemu);
	/* What waits for QEMU is answered before the server goes. */
	if (vmm->has_qmp)
		qmp_done(&vmm->qmp);
	vmm->queue_count = 0;
	snapshot_done(&vmm->snapshot);
	fd_closep(&vmm->memory_fd);
	vsock_done(&vmm->vsock);
	console_done(&vmm->console);
	http_free(vmm->http);
	host_listener_done(&vmm->api_listener);
	api_done(&vmm->api);
	metrics_done(&vmm->metrics);
	json_decref(vmm->action_result);
	fd_closep(&vmm->signal_fd);
	options_done(&vmm->options);
	mem_free(vmm);
}
DEFINE_FREEP(vmm, vmm_free);

static struct vmm *vmm_new(void)
{
	struct vmm *vmm = mem_alloc(1, sizeof(*vmm));

	vmm->metrics = METRICS_INIT;
	vmm->api_listener = UNIX_LISTENER_INIT;
	vmm->signal_fd = -1;
	vmm->step_deadline_ns = UINT64_MAX;
	vmm->metrics_due_ns = UINT64_MAX;
	vmm->qemu = QEMU_INIT;
	vmm->console = CONSOLE_INIT;
	vmm->snapshot = SNAPSHOT_INIT;
	vmm->stall = STALL_INIT;
	vmm->memory_fd = -1;
	vmm->vsock.channel_fd = -1;
	config_init(&vmm->api.config);
	return vmm;
}

/* --- the loop --- */

static void read_signals(struct vmm *vmm)
{
	struct signalfd_siginfo info;

	while (fd_read_some(vmm->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		journal_info("signal %u: ending", info.ssi_signo);
		if (info.ssi_signo == SIGHUP)
			vmm->exit_status = VMM_EXIT_SIGHUP;
		machine_stop(vmm);
	}
}

/* While a snapshot is made the guest's memory and devices must not change behind its back. */
static bool is_frozen(const struct vmm *vmm)
{
	return vmm->action == API_CREATE_SNAPSHOT;
}

static size_t fill_fds(struct vmm *vmm)
{
	const bool wants_qmp = vmm->has_qmp && vmm->qemu.qmp_fd >= 0;
	const bool has_output = wants_qmp && qmp_output(&vmm->qmp).len > 0;

	vmm->fds[FD_SIGNAL] = (struct pollfd){ .fd = vmm->signal_fd, .events = POLLIN };
	vmm->fds[FD_HTTP] =
		(struct pollfd){ .fd = vmm->http ? http_poll_fd(vmm->http) : -1, .events = POLLIN };
	vmm->fds[FD_QMP] = (struct pollfd){
		.fd = wants_qmp ? vmm->qemu.qmp_fd : -1,
		.events = (short)(has_output ? POLLIN | POLLOUT : POLLIN),
	};
	vmm->fds[FD_CONSOLE] = (struct pollfd){ .fd = vmm->console.fd, .events = POLLIN };
	vmm->fds[FD_ERRORS] = (struct pollfd){ .fd = vmm->qemu.error_fd, .events = POLLIN };
	vmm->fds[FD_PROCESS] = (struct pollfd){ .fd = vmm->qemu.process.pidfd, .events = POLLIN };
	vmm->fds[FD_GATE] = (struct pollfd){ .fd = vmm->qemu.gate.listener_fd, .events = POLLIN };
	if (is_frozen(vmm))
		return FD_FIXED_COUNT;
	return FD_FIXED_COUNT + vsock_poll_fds(&vmm->vsock, vmm->fds + FD_FIXED_COUNT,
					       ARRAY_LEN(vmm->fds) - FD_FIXED_COUNT);
}

static int next_timeout_ms(struct vmm *vmm)
{
	const uint64_t vsock_ns = is_frozen(vmm) ? UINT64_MAX : vsock_deadline(&vmm->vsock);
	uint64_t deadline = vmm->step_deadline_ns;
	int timeout = -1;
	int http;

	if (vmm->snapshot.is_writing)
		return 0;
	if (vmm->metrics_due_ns < deadline)
		deadline = vmm->metrics_due_ns;
	if (vsock_ns < deadline)
		deadline = vsock_ns;
	if (vmm->stall.due_ns < deadline)
		deadline = vmm->stall.due_ns;
	if (deadline != UINT64_MAX)
		timeout = clock_poll_ms(deadline);
	http = vmm->http ? http_timeout_ms(vmm->http) : -1;
	if (http >= 0 && (timeout < 0 || http < timeout))
		timeout = http;
	return timeout;
}

static void dispatch(struct vmm *vmm, size_t count)
{
	if (vmm->fds[FD_SIGNAL].revents != 0)
		read_signals(vmm);
	if (vmm->has_qmp && vmm->qemu.qmp_fd >= 0)
		machine_step_qmp(vmm, vmm->fds[FD_QMP].revents);
	if (vmm->fds[FD_CONSOLE].revents != 0)
		console_step(&vmm->console);
	vmm->metrics.console_bytes = vmm->console.bytes;
	if (vmm->fds[FD_ERRORS].revents != 0)
		qemu_read_errors(&vmm->qemu);
	if (vmm->fds[FD_GATE].revents != 0)
		machine_step_gate(vmm);
	if (vmm->vsock.pump && count > FD_FIXED_COUNT)
		machine_step_vsock(vmm, vmm->fds + FD_FIXED_COUNT, count - FD_FIXED_COUNT);
	vmm->metrics.vsock_connections = vmm->vsock.opened;
	vmm->metrics.vsock_refused = vmm->vsock.refused;
	if (vmm->fds[FD_PROCESS].revents != 0)
		machine_exited(vmm);
	machine_deadline(vmm);
	stall_step(vmm);
	if (vmm->snapshot.is_writing)
		snapshot_step(vmm);
	if (clock_now_ns() >= vmm->metrics_due_ns) {
		metrics_write(&vmm->metrics);
		vmm->metrics_due_ns += METRICS_PERIOD_MS * NSEC_PER_MSEC;
	}
	if (vmm->http)
		http_run(vmm->http);
}

static int run_loop(struct vmm *vmm, struct err *err)
{
	while (vmm->step != VMM_ENDED) {
		size_t count;

		/* Without an API nobody can try again. */
		if (vmm->step == VMM_IDLE && !vmm->http) {
			vmm->exit_status = VMM_EXIT_FAILED;
			return 0;
		}
		count = fill_fds(vmm);
		if (poll(vmm->fds, count, next_timeout_ms(vmm)) >= 0)
			dispatch(vmm, count);
		else if (errno != EINTR)
			return err_sys(err, -errno, "wait for events");
	}
	return 0;
}

/* --- the beginning --- */

static int open_signals(struct vmm *vmm, struct err *err)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return err_sys(err, -errno, "block signals");
	vmm->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return vmm->signal_fd < 0 ? err_sys(err, -errno, "watch signals") : 0;
}

static int open_api(struct vmm *vmm, struct err *err)
{
	const char *path = vmm->options.api_sock;
	struct err reason = ERR_INIT;
	int r;

	r = host_listen(path, API_BACKLOG, &vmm->api_listener, &reason);
	if (r < 0)
		return err_set(err, ERR_BUSY,
			       "Failed to open the API socket at: %s. Check that it is not already "
			       "used. (%s)",
			       path, reason.message);
	r = fd_set_nonblocking(vmm->api_listener.fd, true);
	if (r < 0)
		return err_sys(err, r, "prepare the API socket");
	r = http_new(vmm->api_listener.fd, (size_t)vmm->options.payload_max, requests_receive, vmm,
		     &vmm->http, err);
	if (r == 0)
		journal_info("listening on the API socket '%s'", path);
	return r;
}

static int configure_journal(const struct options *options, struct err *err)
{
	const struct journal_settings settings = {
		.path = options->log_path,
		.level = options->level,
		.show_level = options->shows_level ? &options->shows_level : NULL,
		.show_origin = options->shows_origin ? &options->shows_origin : NULL,
		.module = options->module,
	};
	const int r = journal_configure(&settings, err);

	return r < 0 ? err_context(err, r, "Could not initialize logger") : 0;
}

static uint64_t cpu_time_us(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* As Firecracker: from the times that whoever started us has noted, which are CLOCK_MONOTONIC. */
static void note_startup(struct vmm *vmm)
{
	const struct options *options = &vmm->options;
	struct timespec now = { 0 };
	uint64_t now_us;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	if (options->start_time_us != 0 && options->start_time_us <= now_us)
		vmm->metrics.startup_us = now_us - options->start_time_us;
	vmm->metrics.startup_cpu_us = cpu_time_us() + options->parent_cpu_time_us;
	if (vmm->metrics.startup_cpu_us >= options->start_time_cpu_us)
		vmm->metrics.startup_cpu_us -= options->start_time_cpu_us;
}

static int open_metrics(struct vmm *vmm, struct err *err)
{
	int r;

	if (!vmm->options.metrics_path)
		return 0;
	r = metrics_open(&vmm->metrics, vmm->options.metrics_path, NULL, NULL, err);
	if (r < 0)
		return err_context(err, r, "Could not initialize metrics");
	vmm->metrics_due_ns = clock_now_ns() + METRICS_PERIOD_MS * NSEC_PER_MSEC;
	return 0;
}

static int load_config(struct vmm *vmm, struct err *err)
{
	const char *path = vmm->options.config_file;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(AT_FDCWD, path, CONFIG_FILE_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read the configuration file '%s'", path);
	r = api_load_config(&vmm->api, buf_span(&text), err);
	if (r < 0)
		return err_context(err, r, "Configuration for VMM from one single json failed");
	return 0;
}

static int prepare(struct vmm *vmm, struct err *err)
{
	int r;

	r = open_signals(vmm, err);
	if (r == 0)
		r = configure_journal(&vmm->options, err);
	if (r < 0)
		return r;
	journal_info("running banger-vmm %s, the Firecracker API %s", banger_version.version,
		     API_FIRECRACKER_VERSION);
	r = open_metrics(vmm, err);
	if (r < 0)
		return r;
	api_init(&vmm->api, vmm->options.id, &requests_api_ops, vmm);
	for (size_t i = 0; i < vmm->options.drive_overlays.count; i++) {
		r = config_add_overlay(&vmm->api.config, vmm->options.drive_overlays.items[i], err);
		if (r < 0)
			return r;
	}
	if (!vmm->options.is_without_api) {
		r = open_api(vmm, err);
		if (r < 0)
			return r;
	}
	note_startup(vmm);
	return 0;
}

static int run(struct vmm *vmm, struct err *err)
{
	int r;

	r = prepare(vmm, err);
	if (r < 0) {
		vmm->exit_status = VMM_EXIT_FAILED;
		return r;
	}
	if (vmm->options.config_file) {
		r = load_config(vmm, err);
		if (r < 0) {
			vmm->exit_status = VMM_EXIT_BAD_CONFIG;
			return r;
		}
		requests_start(vmm);
	}
	r = run_loop(vmm, err);
	if (r < 0)
		vmm->exit_status = VMM_EXIT_FAILED;
	return r;
}

static void report(const struct err *err)
{
	(void)fprintf(stderr, "Error: %s\n", err->message);
	journal_error("%s", err->message);
}

static int print_information(const struct options *options)
{
	AUTO_BUF text = BUF_INIT;

	if (options->wants_help)
		options_help(&text);
	else
		buf_addf(&text, "banger-vmm v%s (%s, %s)\nFirecracker API v%s\n",
			 banger_version.version, banger_version.commit, banger_version.built,
			 API_FIRECRACKER_VERSION);
	return fd_write_all(STDOUT_FILENO, buf_span(&text)) < 0 ? VMM_EXIT_FAILED : VMM_EXIT_OK;
}

int vmm_main(int argc, char **argv)
{
	CLEANUP(vmm_freep) struct vmm *vmm = vmm_new();
	struct err err = ERR_INIT;
	int status;

	machine_mark_tsc(vmm);
	if (sandbox_begin(&err) < 0) {
		(void)fprintf(stderr, "Error: %s\n", err.message);
		return VMM_EXIT_FAILED;
	}
	if (options_parse(argc, argv, &vmm->options, &err) < 0) {
		(void)fprintf(
			stderr,
			"Error: Arguments parsing error: %s\n\nFor more information try --help.\n",
			err.message);
		return VMM_EXIT_BAD_ARGS;
	}
	if (vmm->options.wants_help || vmm->options.wants_version)
		return print_information(&vmm->options);
	journal_init(vmm->options.id);
	if (run(vmm, &err) < 0)
		report(&err);
	status = vmm->exit_status;
	journal_info("banger-vmm ends, exit status %d", status);
	vmm_free(TAKE_PTR(vmm));
	journal_done();
	return status;
}
