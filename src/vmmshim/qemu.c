#include "vmmshim/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "vmmshim/confine.h"
#include "vmmshim/journal.h"

#define READ_SIZE  4096
#define READS_TURN 8

/* A pair of connected sockets: ours, non-blocking, and QEMU's. */
static int make_channel(int *ret_ours, int *ret_theirs, struct err *err)
{
	int ends[2];
	int r;

	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "make a channel to QEMU");
	*ret_ours = ends[0];
	*ret_theirs = ends[1];
	r = fd_set_nonblocking(ends[0], true);
	return r < 0 ? err_sys(err, r, "prepare a channel to QEMU") : 0;
}

/* QEMU's ends; closed once the child has them. */
struct far_ends {
	int qmp;
	int console;
	int agent;
	int error;
	int saved;
	int gate;
};

static void far_ends_done(struct far_ends *ends)
{
	fd_closep(&ends->qmp);
	fd_closep(&ends->console);
	fd_closep(&ends->agent);
	fd_closep(&ends->error);
	fd_closep(&ends->saved);
	fd_closep(&ends->gate);
}

static int make_channels(const struct vm_config *config, struct qemu *qemu, struct far_ends *far,
			 struct err *err)
{
	int pipe_ends[2];
	int r;

	r = make_channel(&qemu->qmp_fd, &far->qmp, err);
	if (r == 0)
		r = make_channel(&qemu->console_fd, &far->console, err);
	if (r == 0 && config->vsock.given != 0)
		r = make_channel(&qemu->agent_fd, &far->agent, err);
	if (r < 0)
		return r;
	r = fd_pipe(pipe_ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe for QEMU's errors");
	qemu->error_fd = pipe_ends[0];
	far->error = pipe_ends[1];
	r = fd_set_nonblocking(qemu->error_fd, true);
	return r < 0 ? err_sys(err, r, "prepare the pipe for QEMU's errors") : 0;
}

/* A file in memory for the device state that QEMU saves; its end can only be written to. */
static int make_saved(struct qemu *qemu, struct far_ends *far, struct err *err)
{
	char path[64];

	qemu->saved_fd = memfd_create("state", MFD_CLOEXEC);
	if (qemu->saved_fd < 0)
		return err_sys(err, -errno, "make room for device state");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", qemu->saved_fd);
	far->saved = open(path, O_WRONLY | O_CLOEXEC);
	return far->saved < 0 ? err_sys(err, -errno, "make room for device state") : 0;
}

static int spawn_qemu(const char *program, const struct qemu_settings *settings,
		      struct qemu_plan *plan, const struct far_ends *far, struct process *ret,
		      struct err *err)
{
	AUTO_STRV argv = { .count = 0 };
	struct confinement confinement = { .cover_count = 0 };
	struct spawn spawn = {
		.path = program,
		.new_process_group = true,
		.dies_with_parent = true,
		.no_new_privs = true,
	};
	int r;

	strv_add(&argv, program);
	for (size_t i = 0; i < plan->argv.count; i++)
		strv_add(&argv, plan->argv.items[i]);
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, far->error, 2);
	for (size_t i = 0; i < plan->fd_count; i++)
		spawn_add_fd(&spawn, plan->fds[i].from, plan->fds[i].to);
	if (far->gate >= 0) {
		/* The first number that the plan does not use. */
		spawn.filter_fd = plan->fds[plan->fd_count - 1].to + 1;
		spawn.filter = &gate_filter;
		spawn_add_fd(&spawn, far->gate, spawn.filter_fd);
	}
	spawn_add_rlimit(&spawn, RLIMIT_CORE, 0);
	/*
	 * A clone's memory is a file's, which has none. What is left is translated code, of which
	 * an idle one has little: QEMU inherits that it gets only the pages that it touches.
	 */
	if (settings->memory_fd >= 0 && settings->accel == QEMU_ACCEL_TCG)
		(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (settings->uid == 0)
		return spawn_start(&spawn, ret, err);
	spawn.has_user = true;
	spawn.uid = settings->uid;
	spawn.gid = settings->gid;
	spawn.own_device = settings->own_device;
	confine_plan(program, &confinement, &spawn);
	r = spawn_start(&spawn, ret, err);
	/* In some containers root may not do that. */
	if (r == -EPERM && spawn.namespaces != 0) {
		journal_warn("%s; running it in ours", err->message);
		*err = ERR_INIT;
		spawn.namespaces = 0;
		r = spawn_start(&spawn, ret, err);
	}
	return r;
}

/* The filter's descriptor was sent before QEMU began. */
static int open_gate(struct qemu *qemu, int gate_fd, int memory_fd, int number, struct err *err)
{
	int listener_fd = -1;
	char byte;
	const ssize_t n = unix_recv_fd(gate_fd, &byte, 1, &listener_fd);

	if (n < 0 || listener_fd < 0)
		return err_sys(err, n < 0 ? (int)n : -EPROTO, "watch the files that QEMU opens");
	gate_init(&qemu->gate, listener_fd, memory_fd, number);
	return 0;
}

int qemu_start(const char *program, const struct vm_config *config,
	       const struct qemu_settings *settings, struct qemu *ret, struct err *err)
{
	CLEANUP(qemu_done) struct qemu qemu = QEMU_INIT;
	CLEANUP(far_ends_done) struct far_ends far = { -1, -1, -1, -1, -1, -1 };
	CLEANUP(qemu_plan_done) struct qemu_plan plan = { .fd_count = 0 };
	struct qemu_settings complete = *settings;
	AUTO_CLOSE int gate_fd = -1;
	int r;

	r = make_channels(config, &qemu, &far, err);
	if (r == 0)
		r = make_saved(&qemu, &far, err);
	if (r < 0)
		return r;
	complete.qmp_fd = far.qmp;
	complete.console_fd = far.console;
	complete.agent_fd = far.agent;
	complete.saved_fd = far.saved;
	r = qemu_plan(config, &complete, &plan, err);
	if (r < 0)
		return r;
	if (settings->memory_fd >= 0) {
		r = make_channel(&gate_fd, &far.gate, err);
		if (r < 0)
			return r;
	}
	r = spawn_qemu(program, settings, &plan, &far, &qemu.process, err);
	if (r == 0 && gate_fd >= 0)
		r = open_gate(&qemu, gate_fd, settings->memory_fd, plan.memory_number, err);
	if (r < 0)
		return r;
	qemu.saved_end_fd = TAKE_FD(far.saved);
	qemu.saved_number = plan.saved_number;
	qemu.state_number = plan.state_number;
	*ret = qemu;
	qemu = QEMU_INIT;
	return 0;
}

static void end_line(struct qemu *qemu)
{
	AUTO_BUF text = BUF_INIT;

	if (qemu->line_len == 0)
		return;
	qemu->line[qemu->line_len] = '\0';
	memcpy(qemu->last_line, qemu->line, qemu->line_len + 1);
	qemu->lines++;
	if (qemu->lines <= QEMU_ERROR_LINES_MAX) {
		text_escape(&text, span_of(qemu->line, qemu->line_len), QEMU_ERROR_LINE_MAX);
		journal_warn("QEMU: %s", text.ptr);
	} else if (qemu->lines == QEMU_ERROR_LINES_MAX + 1) {
		journal_warn("QEMU: more lines, not shown");
	}
	qemu->line_len = 0;
}

void qemu_read_errors(struct qemu *qemu)
{
	char bytes[READ_SIZE];

	for (int turn = 0; qemu->error_fd >= 0 && turn < READS_TURN; turn++) {
		const ssize_t n = fd_read_some(qemu->error_fd, bytes, sizeof(bytes));

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			end_line(qemu);
			fd_assign(&qemu->error_fd, -1);
			return;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (bytes[i] == '\n')
				end_line(qemu);
			else if (qemu->line_len < QEMU_ERROR_LINE_MAX)
				qemu->line[qemu->line_len++] = bytes[i];
		}
	}
}

void qemu_done(struct qemu *qemu)
{
	if (qemu->process.pid != 0)
		process_kill(&qemu->process);
	process_done(&qemu->process);
	fd_closep(&qemu->qmp_fd);
	fd_closep(&qemu->console_fd);
	fd_closep(&qemu->agent_fd);
	fd_closep(&qemu->error_fd);
	fd_closep(&qemu->saved_fd);
	fd_closep(&qemu->saved_end_fd);
	gate_done(&qemu->gate);
}
