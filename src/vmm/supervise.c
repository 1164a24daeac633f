#include "vmm/supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/unix_socket.h"

#define CONNECT_PAUSE_FIRST_NS (2 * NSEC_PER_MSEC)
#define CONNECT_PAUSE_MAX_NS   (50 * NSEC_PER_MSEC)
#define LOG_TAIL_BYTES	       2048
#define LOG_TAIL_LINES	       3
#define LOG_TAIL_LINES_MAX     32
#define LOG_LINE_BYTES_MAX     200

void vmm_process_done(struct vmm_process *process)
{
	if (!process)
		return;

	fd_close(process->pidfd);
	*process = VMM_PROCESS_INIT;
}

/* --- words about ends and logs ---------------------------------------------------------------- */

void vmm_exit_text(const struct vmm_exit *exit, struct buf *out)
{
	const char *name;

	if (exit->code == CLD_EXITED) {
		buf_addf(out, "exited with status %d", exit->status);
		return;
	}
	name = sigdescr_np(exit->status);
	buf_addf(out, "was killed by signal %d (%s)", exit->status, name ? name : "unknown");
}

/* The end of a regular file; the rest of `ret` is for the reader. */
static ssize_t read_tail(const char *path, char bytes[static LOG_TAIL_BYTES])
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;
	off_t from;

	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return 0;
	from = status.st_size > LOG_TAIL_BYTES ? status.st_size - LOG_TAIL_BYTES : 0;
	return pread(fd, bytes, LOG_TAIL_BYTES, from);
}

/* Cuts the last line off `text`, blank ones at the end skipped; false when there is none. */
static bool take_last_line(struct span *text, struct span *ret)
{
	size_t begin;

	while (text->len > 0 &&
	       (text->ptr[text->len - 1] == '\n' || text->ptr[text->len - 1] == '\r'))
		text->len--;
	if (text->len == 0)
		return false;

	begin = text->len;
	while (begin > 0 && text->ptr[begin - 1] != '\n')
		begin--;
	*ret = span_skip(*text, begin);
	text->len = begin;
	return true;
}

void vmm_log_tail(const char *path, size_t lines_max, struct buf *out)
{
	char bytes[LOG_TAIL_BYTES];
	struct span lines[LOG_TAIL_LINES_MAX];
	struct span text;
	size_t count = 0;
	const ssize_t n = read_tail(path, bytes);

	if (n <= 0)
		return;
	text = span_of(bytes, (size_t)n);
	while (count < lines_max && count < ARRAY_LEN(lines) &&
	       take_last_line(&text, &lines[count]))
		count++;
	for (size_t i = count; i > 0; i--) {
		text_escape(out, lines[i - 1], LOG_LINE_BYTES_MAX);
		if (i > 1)
			buf_add_str(out, " | ");
	}
}

/* --- starting --------------------------------------------------------------------------------- */

void vmm_launch_argv(const struct vmm_launch *launch, struct strv *ret)
{
	strv_add(ret, launch->binary);
	strv_add(ret, "--id");
	strv_add(ret, launch->id);
	strv_add(ret, "--api-sock");
	strv_add(ret, launch->api_sock);
	strv_add(ret, "--log-path");
	strv_add(ret, launch->log_path);
	strv_add(ret, "--level");
	strv_add(ret, "Info");
	if (launch->engine != VMM_ENGINE_QEMU)
		return;

	strv_add(ret, "--qemu");
	strv_add(ret, launch->qemu_path);
	strv_add(ret, "--accel");
	strv_add(ret, vmm_accelerator_name(launch->accelerator));
	if (launch->uid != 0) {
		strv_add(ret, "--uid");
		strv_addf(ret, "%u", launch->uid);
	}
	for (size_t i = 0; i < launch->overlay_count; i++) {
		strv_add(ret, "--drive-overlay");
		strv_addf(ret, "%s=%s", launch->overlays[i].drive_id,
			  launch->overlays[i].base_path);
	}
}

/* Opens a file for a child to append to. */
static int open_output(const char *path, struct err *err)
{
	AUTO_CLOSE int fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", path);
	if (fchmod(fd, 0600) < 0)
		return err_sys(err, -errno, "protect '%s'", path);
	return TAKE_FD(fd);
}

/* A socket that is there already would be taken for the new VMM's. */
static int check_socket_path(const char *path, struct err *err)
{
	struct stat status;
	int fd = -1, r;

	if (lstat(path, &status) == 0)
		return err_set(err, ERR_EXISTS, "'%s' is in the way", path);
	if (errno != ENOENT)
		return err_sys(err, -errno, "look at '%s'", path);
	/* Says so when the path is too long for a socket. */
	r = unix_connect(path, &fd, err);
	fd_close(fd);
	if (r < 0 && err->kind != ERR_NOT_FOUND)
		return r;
	*err = ERR_INIT;
	return 0;
}

static int start(const struct vmm_launch *launch, struct process *ret, struct err *err)
{
	AUTO_STRV argv = { 0 };
	AUTO_CLOSE int console_fd = -1;
	AUTO_CLOSE int log_fd = -1;
	struct spawn spawn = {
		.path = launch->binary,
		.cwd = launch->folder,
		.new_session = true,
		.no_new_privs = true,
		.spaces = launch->spaces,
		.space_count = launch->space_count,
		.entries = launch->cgroups,
		.entry_count = launch->cgroup_count,
	};

	console_fd = open_output(launch->console_path, err);
	if (console_fd < 0)
		return console_fd;
	log_fd = open_output(launch->log_path, err);
	if (log_fd < 0)
		return log_fd;

	vmm_launch_argv(launch, &argv);
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, console_fd, STDOUT_FILENO);
	spawn_add_fd(&spawn, log_fd, STDERR_FILENO);
	spawn_add_rlimit(&spawn, RLIMIT_CORE, 0);
	return spawn_start(&spawn, ret, err);
}

static int fail_death(const struct vmm_launch *launch, struct process *process, struct err *err)
{
	struct vmm_exit exit = { .code = CLD_EXITED };
	AUTO_BUF how = BUF_INIT;
	AUTO_BUF tail = BUF_INIT;
	int r;

	r = vmm_reap(process->pidfd, &exit);
	if (r > 0) {
		vmm_exit_text(&exit, &how);
		process->pid = 0; /* reaped: its number may be another's by now */
	} else {
		buf_add_str(&how, "ended");
	}
	vmm_log_tail(launch->log_path, LOG_TAIL_LINES, &tail);
	r = err_set(err, ERR_SYSTEM, "the VMM %s before it took requests%s%s", how.ptr,
		    tail.len > 0 ? ": " : "", tail.ptr);
	err_hint(err, "see '%s'", launch->log_path);
	return r;
}

/* One try to connect. 1 when somebody listens, 0 when not yet. */
static int try_connect(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = unix_connect(path, &fd, err);
	if (r == 0)
		return 1;
	if (err->kind != ERR_NOT_FOUND)
		return r;
	*err = ERR_INIT;
	return 0;
}

/*
 * Waits until the API socket takes connections. The pauses grow from 2 to 50 ms and end at once
 * when the VMM dies or `cancel` fires: a file that appears says only that the socket is bound, not
 * that it listens.
 */
static int wait_socket(const struct vmm_launch *launch, struct process *process,
		       const struct cancel *cancel, struct err *err)
{
	const uint64_t timeout_ms =
		launch->timeout_ms > 0 ? launch->timeout_ms : VMM_START_TIMEOUT_MS;
	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	uint64_t pause_ns = CONNECT_PAUSE_FIRST_NS;
	int r;

	for (;;) {
		r = try_connect(launch->api_sock, err);
		if (r != 0)
			return r < 0 ? r : 0;
		if (clock_now_ns() >= deadline_ns)
			break;
		r = cancel_poll(cancel, process->pidfd, POLLIN, clock_now_ns() + pause_ns);
		if (r > 0)
			return fail_death(launch, process, err);
		if (r != -ETIMEDOUT)
			return err_sys(err, r, "wait for the VMM");
		pause_ns =
			pause_ns * 2 > CONNECT_PAUSE_MAX_NS ? CONNECT_PAUSE_MAX_NS : pause_ns * 2;
	}
	r = err_set(err, ERR_TIMEOUT, "the VMM did not open its API socket within %llu ms",
		    (unsigned long long)timeout_ms);
	err_hint(err, "see '%s'", launch->log_path);
	return r;
}

int vmm_spawn(const struct vmm_launch *launch, const struct cancel *cancel, struct vmm_process *ret,
	      struct err *err)
{
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	struct vmm_process started = VMM_PROCESS_INIT;
	int r;

	r = check_socket_path(launch->api_sock, err);
	if (r == 0)
		r = start(launch, &process, err);
	if (r == 0)
		r = wait_socket(launch, &process, cancel, err);
	if (r < 0)
		return err_context(err, r, "start VMM '%s'", launch->binary);

	r = process_start_time(process.pid, &started.start_time);
	if (r == 0)
		r = process_boot_id(started.boot_id);
	if (r < 0)
		return err_sys(err, r, "identify the VMM '%s'", launch->binary);

	started.pid = process.pid;
	started.pidfd = process.pidfd;
	process = PROCESS_INIT;
	*ret = started;
	return 0;
}

/* --- finding again ---------------------------------------------------------------------------- */

/* Opens the process if it is still the same one. */
static int reopen(const struct vmm_process *known, struct vmm_process *ret, struct err *err)
{
	char boot_id[BOOT_ID_SIZE];
	int fd, r;

	r = process_boot_id(boot_id);
	if (r < 0)
		return err_sys(err, r, "tell this boot from others");
	if (known->pid <= 0 || !str_eq(boot_id, known->boot_id))
		return err_set(err, ERR_NOT_FOUND, "VMM process %d was of another boot",
			       (int)known->pid);
	fd = process_open(known->pid, known->start_time);
	if (fd == -ESRCH)
		return err_set(err, ERR_NOT_FOUND, "VMM process %d is gone", (int)known->pid);
	if (fd < 0)
		return err_sys(err, fd, "open VMM process %d", (int)known->pid);

	*ret = *known;
	ret->pidfd = fd;
	return 0;
}

int vmm_adopt(const struct vmm_process *known, const struct vmm_api *api, const char *id,
	      struct vmm_process *ret, struct vmm_description *ret_description, struct err *err)
{
	struct vmm_description description;
	int r;

	*ret = VMM_PROCESS_INIT;
	r = reopen(known, ret, err);
	if (r < 0)
		return r;

	r = vmm_describe(api, &description, err);
	/* It lives, so "not found" would be the wrong word: that one allows cleaning up. */
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		err->kind = ERR_BAD_STATE;
	if (r < 0)
		return err_context(err, r, "VMM process %d lives but does not answer",
				   (int)ret->pid);
	if (id && !str_eq(description.id, id))
		return err_set(err, ERR_PROTOCOL, "VMM process %d says that it runs '%s', not '%s'",
			       (int)ret->pid, description.id, id);
	*ret_description = description;
	return 0;
}

/* --- watching and ending ---------------------------------------------------------------------- */

int vmm_wait_exit(int pidfd, uint64_t deadline_ns, const struct cancel *cancel)
{
	const int r = cancel_poll(cancel, pidfd, POLLIN, deadline_ns);

	return r < 0 ? r : 0;
}

int vmm_kill(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int vmm_reap(int pidfd, struct vmm_exit *ret)
{
	siginfo_t info = { .si_pid = 0 };
	int r;

	do {
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (info.si_pid == 0)
		return 0;
	*ret = (struct vmm_exit){ .code = info.si_code, .status = info.si_status };
	return 1;
}
