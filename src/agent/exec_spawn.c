#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"

#define TTY_GROUP      5		    /* "tty", the group of terminals everywhere */
#define FILES_SOFT     1024		    /* what programs with select() can bear */
#define FILES_HARD     (512UL * 1024)	    /* what those that need more may ask for */
#define ARGS_PLAIN_MAX (1024UL * 1024)	    /* fits in a quarter of the usual 8 MiB stack */
#define STACK_FOR_ARGS (32UL * 1024 * 1024) /* the kernel then takes 6 MiB of arguments */

/* Where the child's failure lies; the parent makes the message. */
enum spawn_step { STEP_SESSION, STEP_USER, STEP_CWD, STEP_EXEC, STEP_COUNT };

struct spawn_failure {
	enum spawn_step step;
	int errnum;
};

/* The child's ends. */
struct child_files {
	int input;
	int output;
	int errors;
	int report;
};

static int open_terminal(const struct exec_command *command, int *ret_master, int *ret_slave)
{
	AUTO_CLOSE int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	AUTO_CLOSE int slave = -1;
	const struct winsize size = {
		.ws_row = command->size.rows,
		.ws_col = command->size.cols,
	};
	struct termios settings;

	if (master < 0 || unlockpt(master) < 0)
		return -errno;
	/* By descriptor: the path in /dev/pts may be another mount's. */
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || ioctl(master, TIOCSWINSZ, &size) < 0)
		return -errno;
	if (tcgetattr(slave, &settings) == 0) {
		settings.c_iflag |= IUTF8; /* so that erase takes whole characters */
		(void)tcsetattr(slave, TCSANOW, &settings);
	}
	/* Without it programs of that user could not open /dev/tty's own name. */
	if (command->user->uid != geteuid() &&
	    (fchown(slave, command->user->uid, TTY_GROUP) < 0 || fchmod(slave, 0620) < 0))
		return -errno;

	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

static NORETURN void child_fail(int report, enum spawn_step step)
{
	const struct spawn_failure failure = { .step = step, .errnum = errno };

	IGNORE_RESULT(fd_write_all(report, span_of(&failure, sizeof(failure))));
	_exit(127);
}

void exec_set_limits(size_t arg_bytes)
{
	const struct rlimit files = { .rlim_cur = FILES_SOFT, .rlim_max = FILES_HARD };
	struct rlimit stack;
	AUTO_CLOSE int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* What cannot be raised stays as it is: no reason not to run the command. */
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (arg_bytes > ARGS_PLAIN_MAX && getrlimit(RLIMIT_STACK, &stack) == 0) {
		stack.rlim_cur = stack.rlim_max < STACK_FOR_ARGS ? stack.rlim_max : STACK_FOR_ARGS;
		(void)setrlimit(RLIMIT_STACK, &stack);
	}
	if (oom >= 0)
		IGNORE_RESULT(fd_write_all(
			oom, span_str("0"))); /* the agent is spared, its commands not */
	(void)umask(022);
}

static void child_take_files(const struct exec_command *command, const struct child_files *files)
{
	if (setsid() < 0)
		child_fail(files->report, STEP_SESSION);
	if (command->has_tty && ioctl(files->input, TIOCSCTTY, 0) < 0)
		child_fail(files->report, STEP_SESSION);
	if (dup2(files->input, STDIN_FILENO) < 0 || dup2(files->output, STDOUT_FILENO) < 0 ||
	    dup2(files->errors, STDERR_FILENO) < 0)
		child_fail(files->report, STEP_SESSION);
}

static void child_become(const struct exec_command *command, int report)
{
	const struct user *user = command->user;

	/* An agent that is not root (a test's) runs commands as itself. */
	if (geteuid() != 0 && user->uid == geteuid())
		return;
	if (setgroups(user->group_count, user->groups) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		child_fail(report, STEP_USER);
}

static NORETURN void child_run(const struct exec_command *command, const struct child_files *files)
{
	process_reset_signals();
	exec_set_limits(command->bytes);
	child_take_files(command, files);
	child_become(command, files->report);
	if (command->cwd) {
		if (chdir(command->cwd) < 0)
			child_fail(files->report, STEP_CWD);
	} else if (chdir(command->user->home) < 0 && chdir("/") < 0) {
		child_fail(files->report, STEP_CWD);
	}
	/* execvp() looks into the PATH of `environ`, which is the command's own from here on. */
	environ = (char **)(uintptr_t)command->env; // NOLINT(performance-no-int-to-ptr)
	(void)execvp(command->program, command->argv);
	child_fail(files->report, STEP_EXEC);
}

/* The kind tells a program that is not there from one that is, but cannot be executed. */
static int exec_error(const struct exec_command *command, int r, struct err *err)
{
	const int result = err_sys(err, r, "exec '%s'", command->program);

	switch (-r) {
	case ENOENT:
	case ENOTDIR:
		err->kind = ERR_NOT_FOUND;
		break;
	case EACCES:
	case ENOEXEC:
	case EISDIR:
	case ELIBBAD:
	case ETXTBSY:
		err->kind = ERR_UNSUPPORTED;
		break;
	default:
		break;
	}
	return result;
}

static int spawn_error(const struct exec_command *command, const struct spawn_failure *failure,
		       struct err *err)
{
	const int r = -failure->errnum;
	const char *cwd = command->cwd ? command->cwd : "/";

	switch (failure->step) {
	case STEP_SESSION:
		return err_sys(err, r, "set up the command's files");
	case STEP_USER:
		return err_sys(err, r, "become user '%s'", command->user->name);
	case STEP_CWD:
		return err_sys(err, r, "cwd '%s'", cwd);
	case STEP_EXEC:
		return exec_error(command, r, err);
	case STEP_COUNT:
		break;
	}
	return err_set(err, ERR_PROTOCOL, "the command's process reported nonsense");
}

/* Waits until the program was executed (the pipe closes) or could not be. */
static int await_exec(const struct exec_command *command, pid_t pid, int report, struct err *err)
{
	struct spawn_failure failure;
	const int r = fd_read_exact(report, &failure, sizeof(failure));

	if (r == -ENODATA)
		return 0;
	(void)waitpid(pid, NULL, 0);
	if (r < 0)
		return err_sys(err, r, "start the command");
	return spawn_error(command, &failure, err);
}

/* Both ends of what joins us and the command. */
struct ends {
	struct exec_process ours;
	struct child_files theirs;
};

static void ends_close_theirs(struct ends *ends)
{
	fd_assign(&ends->theirs.input, -1);
	fd_assign(&ends->theirs.output, -1);
	fd_assign(&ends->theirs.errors, -1);
	fd_assign(&ends->theirs.report, -1);
}

static void ends_done(struct ends *ends)
{
	ends_close_theirs(ends);
	exec_process_done(&ends->ours);
}

static int ends_make_terminal(const struct exec_command *command, struct ends *ends)
{
	const int r = open_terminal(command, &ends->ours.input, &ends->theirs.input);

	if (r < 0)
		return r;
	ends->ours.output = fd_clone(ends->ours.input);
	ends->theirs.output = fd_clone(ends->theirs.input);
	ends->theirs.errors = fd_clone(ends->theirs.input);
	if (ends->ours.output < 0 || ends->theirs.output < 0 || ends->theirs.errors < 0)
		return -EMFILE;
	return 0;
}

static int ends_make_pipes(struct ends *ends)
{
	int pair[2];
	int r = fd_pipe(pair);

	if (r < 0)
		return r;
	ends->theirs.input = pair[0];
	ends->ours.input = pair[1];
	r = fd_pipe(pair);
	if (r < 0)
		return r;
	ends->ours.output = pair[0];
	ends->theirs.output = pair[1];
	r = fd_pipe(pair);
	if (r < 0)
		return r;
	ends->ours.errors = pair[0];
	ends->theirs.errors = pair[1];
	return 0;
}

/* A command that fills its pipe while we fill its stdin must find us reading. */
static int ends_set_nonblocking(const struct exec_process *ours)
{
	int r = fd_set_nonblocking(ours->input, true);

	if (r == 0)
		r = fd_set_nonblocking(ours->output, true);
	if (r == 0 && ours->errors >= 0)
		r = fd_set_nonblocking(ours->errors, true);
	return r;
}

int exec_spawn(const struct exec_command *command, struct exec_process *ret, struct err *err)
{
	CLEANUP(ends_done)
	struct ends ends = {
		.ours = EXEC_PROCESS_INIT,
		.theirs = { -1, -1, -1, -1 },
	};
	int report[2];
	int r = command->has_tty ? ends_make_terminal(command, &ends) : ends_make_pipes(&ends);

	if (r == 0)
		r = ends_set_nonblocking(&ends.ours);
	if (r < 0)
		return err_sys(err, r, command->has_tty ? "open a terminal" : "open pipes");
	r = fd_pipe(report);
	if (r < 0)
		return err_sys(err, r, "open pipes");
	ends.theirs.report = report[1];

	AUTO_CLOSE int reported = report[0];
	const pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, -errno, "fork");
	if (pid == 0)
		child_run(command, &ends.theirs);
	ends_close_theirs(&ends);
	r = await_exec(command, pid, reported, err);
	if (r < 0)
		return r;

	ends.ours.pid = pid;
	ends.ours.has_tty = command->has_tty;
	ends.ours.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (ends.ours.pidfd < 0) {
		r = -errno;
		(void)kill(-pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return err_sys(err, r, "watch the command");
	}
	*ret = ends.ours;
	ends.ours = EXEC_PROCESS_INIT;
	return 0;
}

void exec_process_done(struct exec_process *process)
{
	if (!process)
		return;
	fd_assign(&process->pidfd, -1);
	fd_assign(&process->input, -1);
	fd_assign(&process->output, -1);
	fd_assign(&process->errors, -1);
}
