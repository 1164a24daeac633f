#include "base/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/unix_socket.h"

#define TARGET_FD_MAX 199

#define CPU_GRACE_SECONDS 5 /* for one that does not heed SIGXCPU */

enum spawn_step {
	STEP_CGROUP,
	STEP_ENTRY,
	STEP_DESCRIPTORS,
	STEP_SESSION,
	STEP_PARENT,
	STEP_LIMITS,
	STEP_NAMESPACES,
	STEP_USER,
	STEP_FOLDER,
	STEP_FILTER,
	STEP_EXEC,
	STEP_COUNT,
};

static const char *const step_names[] = {
	[STEP_CGROUP] = "find a cgroup for",
	[STEP_ENTRY] = "enter the namespaces for",
	[STEP_DESCRIPTORS] = "set up the descriptors of",
	[STEP_SESSION] = "make a session for",
	[STEP_PARENT] = "tie to its parent",
	[STEP_LIMITS] = "limit",
	[STEP_NAMESPACES] = "make namespaces for",
	[STEP_USER] = "change the user of",
	[STEP_FOLDER] = "enter the folder of",
	[STEP_FILTER] = "watch the system calls of",
	[STEP_EXEC] = "run",
};
_Static_assert(ARRAY_LEN(step_names) == STEP_COUNT, "each step needs its words");

struct spawn_failure {
	int step;
	int errnum;
};

void spawn_add_fd(struct spawn *spawn, int from, int to)
{
	assert(spawn->fd_count < SPAWN_FDS_MAX && to <= TARGET_FD_MAX);
	spawn->fds[spawn->fd_count++] = (struct spawn_fd){ .from = from, .to = to };
}

void spawn_add_rlimit(struct spawn *spawn, int resource, uint64_t value)
{
	assert(spawn->rlimit_count < SPAWN_RLIMITS_MAX);
	spawn->rlimits[spawn->rlimit_count++] =
		(struct spawn_rlimit){ .resource = resource, .soft = value, .hard = value };
}

void spawn_limit_cpu(struct spawn *spawn, uint64_t seconds)
{
	spawn_add_rlimit(spawn, RLIMIT_CPU, seconds);
	spawn->rlimits[spawn->rlimit_count - 1].hard = seconds + CPU_GRACE_SECONDS;
}

/* --- Between fork and exec: only async-signal-safe calls. --- */

static NORETURN void child_fail(int report_fd, enum spawn_step step)
{
	const struct spawn_failure failure = { .step = (int)step, .errnum = errno };
	const ssize_t n = write(report_fd, &failure, sizeof(failure));

	(void)n;
	_exit(127);
}

/* Descriptors are first moved here, out of the way of the numbers that the child wants; as low as
 * can be, since the limit may be low, too. */
static int above_targets(const struct spawn *spawn)
{
	int above = STDERR_FILENO + 1;

	for (size_t i = 0; i < spawn->fd_count; i++)
		above = spawn->fds[i].to >= above ? spawn->fds[i].to + 1 : above;
	return above;
}

static void child_descriptors(const struct spawn *spawn, int *report_fd)
{
	int staged[SPAWN_FDS_MAX];
	const int above = above_targets(spawn);
	int next = 0, null_fd, r;

	for (size_t i = 0; i < spawn->fd_count; i++) {
		staged[i] = fcntl(spawn->fds[i].from, F_DUPFD_CLOEXEC, above);
		if (staged[i] < 0)
			child_fail(*report_fd, STEP_DESCRIPTORS);
	}
	r = fcntl(*report_fd, F_DUPFD_CLOEXEC, above);
	null_fd = r < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
	if (r < 0 || null_fd < 0)
		child_fail(*report_fd, STEP_DESCRIPTORS);
	*report_fd = r;
	null_fd = fcntl(null_fd, F_DUPFD_CLOEXEC, above);
	if (null_fd < 0)
		child_fail(*report_fd, STEP_DESCRIPTORS);

	if (syscall(SYS_close_range, 0U, (unsigned)above - 1, 0) < 0 && errno != ENOSYS)
		child_fail(*report_fd, STEP_DESCRIPTORS);
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (dup2(null_fd, fd) < 0)
			child_fail(*report_fd, STEP_DESCRIPTORS);
	}
	for (size_t i = 0; i < spawn->fd_count; i++) {
		next = spawn->fds[i].to;
		if (dup2(staged[i], next) < 0)
			child_fail(*report_fd, STEP_DESCRIPTORS);
	}
	/* What is left above is ours and closes itself at exec; anything inherited without the flag
	 * too. */
	if (syscall(SYS_close_range, (unsigned)above, ~0U, CLOSE_RANGE_CLOEXEC) < 0 &&
	    errno != ENOSYS && errno != EINVAL)
		child_fail(*report_fd, STEP_DESCRIPTORS);
}

/* The soft limit before it was raised; 0 when it was not. Written once, with one thread. */
static rlim_t files_before;

void process_raise_files_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	files_before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		files_before = 0;
}

/* A program that uses select(), or closes all that it may have, is not to meet our limit. */
static void child_files_limit(void)
{
	struct rlimit limit;

	if (files_before == 0 || syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) < 0)
		return;
	limit.rlim_cur = files_before;
	(void)syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
}

void process_reset_signals(void)
{
	/* The kernel's struct sigaction, all zero: SIG_DFL. Not libc's sigaction(), which refuses
	 * the two numbers that it keeps for itself: glibc's own posix_spawn() (so make, too) leaves
	 * these ignored in what it starts. */
	static const uint64_t standard[4];
	const size_t mask_bytes = NSIG / 8;
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)syscall(SYS_rt_sigaction, number, standard, NULL,
			      mask_bytes); /* KILL and STOP refuse */
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/*
 * A second node of the same device, in the place of the first. Where that is not allowed the
 * program finds the first, and says what it thinks of it. /proc is only a folder that is sure to be
 * there.
 */
static void child_own_device(const struct spawn *spawn)
{
	static const char place[] = "/proc", node[] = "/proc/node";
	const unsigned long flags = MS_NOSUID | MS_NOEXEC;
	struct stat status;

	if (stat(spawn->own_device, &status) < 0 ||
	    mount("none", place, "tmpfs", flags, "mode=0700") < 0)
		return;
	if (mknod(node, (status.st_mode & S_IFMT) | S_IRUSR | S_IWUSR, status.st_rdev) == 0 &&
	    chown(node, spawn->uid, spawn->gid) == 0)
		(void)mount(node, spawn->own_device, NULL, MS_BIND, NULL);
	(void)umount2(place, MNT_DETACH);
}

/* Mounts made here are seen by nobody else, and end with the process. */
static void child_mounts(const struct spawn *spawn, int report_fd)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		child_fail(report_fd, STEP_NAMESPACES);
	if (spawn->own_device)
		child_own_device(spawn);
	for (size_t i = 0; spawn->covers && spawn->covers[i]; i++) {
		if (mount("none", spawn->covers[i], "tmpfs", flags | MS_RDONLY, "mode=0555") < 0 &&
		    errno != ENOENT && errno != ENOTDIR)
			child_fail(report_fd, STEP_NAMESPACES);
	}
	if (spawn->new_proc && mount("none", "/proc", "proc", flags, "hidepid=2") < 0)
		child_fail(report_fd, STEP_NAMESPACES);
}

/*
 * A user namespace gives all capabilities in it, and exec keeps them for its root: the way in is
 * not to be the way to them.
 */
static void child_enter(const struct spawn *spawn, int report_fd)
{
	for (size_t i = 0; i < spawn->space_count; i++) {
		if (setns(spawn->spaces[i], 0) < 0)
			child_fail(report_fd, STEP_ENTRY);
	}
	if (spawn->space_count > 1 &&
	    prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0)
		child_fail(report_fd, STEP_ENTRY);
}

static void child_namespaces(const struct spawn *spawn, int report_fd)
{
	if (spawn->namespaces == 0)
		return;
	if (unshare(spawn->namespaces) < 0)
		child_fail(report_fd, STEP_NAMESPACES);
	if ((spawn->namespaces & CLONE_NEWNS) != 0)
		child_mounts(spawn, report_fd);
}

/* Sends the descriptor on which we are asked to the other end of `filter_fd`. */
static void child_filter(const struct spawn *spawn, int report_fd)
{
	const int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				    SECCOMP_FILTER_FLAG_NEW_LISTENER, spawn->filter);

	if (fd < 0)
		child_fail(report_fd, STEP_FILTER);
	errno = -unix_send_fd(spawn->filter_fd, span_of("", 1), fd);
	if (errno != 0)
		child_fail(report_fd, STEP_FILTER);
	(void)close(spawn->filter_fd);
	(void)close(fd);
}

static NORETURN void child_run(const struct spawn *spawn, const char *path, pid_t parent,
			       int report_fd)
{
	static char *const no_environment[1] = { NULL };

	/* Before exec, so that nothing of the program runs or is counted outside. */
	for (size_t i = 0; i < spawn->entry_count; i++) {
		if (write(spawn->entries[i], "0", 1) < 0)
			child_fail(report_fd, STEP_CGROUP);
	}
	child_enter(spawn, report_fd);
	child_descriptors(spawn, &report_fd);
	if ((spawn->new_session && setsid() < 0) || (spawn->new_process_group && setpgid(0, 0) < 0))
		child_fail(report_fd, STEP_SESSION);
	child_files_limit();
	for (size_t i = 0; i < spawn->rlimit_count; i++) {
		const struct rlimit limit = { .rlim_cur = spawn->rlimits[i].soft,
					      .rlim_max = spawn->rlimits[i].hard };

		if (syscall(SYS_prlimit64, 0, spawn->rlimits[i].resource, &limit, NULL) < 0)
			child_fail(report_fd, STEP_LIMITS);
	}
	child_namespaces(spawn, report_fd);
	if (spawn->has_user &&
	    (setgroups(0, NULL) < 0 || setresgid(spawn->gid, spawn->gid, spawn->gid) < 0 ||
	     setresuid(spawn->uid, spawn->uid, spawn->uid) < 0))
		child_fail(report_fd, STEP_USER);
	/* After the change of user, which clears it; then see whether the parent died before it was
	 * set. */
	if (spawn->dies_with_parent &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (getppid() != parent && (errno = ESRCH))))
		child_fail(report_fd, STEP_PARENT);
	if (spawn->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		child_fail(report_fd, STEP_USER);
	if (chdir(spawn->cwd ? spawn->cwd : "/") < 0)
		child_fail(report_fd, STEP_FOLDER);
	process_reset_signals();
	/* Last: from here on its system calls wait for an answer. */
	if (spawn->filter)
		child_filter(spawn, report_fd);
	(void)execve(path, spawn->argv, spawn->envp ? spawn->envp : no_environment);
	child_fail(report_fd, STEP_EXEC);
}

/* --- The parent's side. --- */

/* Gives an owned process away. */
static struct process process_take(struct process *process)
{
	const struct process taken = *process;

	*process = PROCESS_INIT;
	return taken;
}

/* A name without a slash is looked up in PATH; what is not found stays as it is, for exec to
 * refuse. */
static char *find_program(const char *name)
{
	char *path = strchr(name, '/') ? NULL : spawn_find(name);

	return path ? path : mem_strdup(name);
}

char *spawn_find(const char *name)
{
	const char *path = getenv("PATH"); // NOLINT(concurrency-mt-unsafe): nobody calls setenv()
	struct span rest = span_str(path ? path : "/usr/local/bin:/usr/bin:/bin");

	while (rest.len > 0) {
		struct span folder = rest;

		if (!parse_until(&rest, ':', &folder))
			rest.len = 0;
		AUTO_FREE char *candidate =
			mem_printf("%.*s/%s", (int)folder.len, (const char *)folder.ptr, name);

		if (folder.len > 0 && access(candidate, X_OK) == 0)
			return TAKE_PTR(candidate);
	}
	return NULL;
}

/* The child's report: nothing when exec worked (the pipe closed itself). */
static int read_report(const struct spawn *spawn, int report_fd, struct err *err)
{
	struct spawn_failure failure;
	int r;

	r = fd_read_exact(report_fd, &failure, sizeof(failure));
	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return err_sys(err, r, "start '%s'", spawn->path);
	if (failure.step < 0 || failure.step >= STEP_COUNT)
		return err_set(err, ERR_SYSTEM, "start '%s': a report that makes no sense",
			       spawn->path);
	return err_sys(err, -failure.errnum, "%s '%s'", step_names[failure.step], spawn->path);
}

int spawn_start(const struct spawn *spawn, struct process *ret, struct err *err)
{
	AUTO_FREE char *path = find_program(spawn->path);
	AUTO_CLOSE int read_end = -1;
	AUTO_CLOSE int write_end = -1;
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	const pid_t parent = getpid();
	sigset_t all, before;
	int ends[2], r;

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "start '%s'", spawn->path);
	read_end = ends[0];
	write_end = ends[1];

	/* No handler of ours may run in the child between fork and exec. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	process.pid = fork();
	if (process.pid == 0)
		child_run(spawn, path, parent, write_end);
	r = process.pid < 0 ? -errno : 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		process.pid = 0;
		return err_sys(err, r, "start '%s'", spawn->path);
	}

	fd_closep(&write_end);
	process.pidfd = (int)syscall(SYS_pidfd_open, process.pid, 0);
	if (process.pidfd < 0)
		return err_sys(err, -errno, "watch '%s'", spawn->path);
	r = read_report(spawn, read_end, err);
	if (r < 0)
		return r;
	*ret = process_take(&process);
	return 0;
}

void process_done(struct process *process)
{
	fd_close(process->pidfd);
	*process = PROCESS_INIT;
}

void process_kill(struct process *process)
{
	int status;

	if (process->pid > 0) {
		(void)kill(process->pid,
			   SIGKILL); /* not reaped yet, so the number is still its own */
		while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	process_done(process);
}

int process_wait(struct process *process, const struct cancel *cancel, uint64_t deadline_ns,
		 int *ret_status)
{
	int r;

	r = cancel_poll(cancel, process->pidfd, POLLIN, deadline_ns);
	if (r < 0)
		return r;
	while (waitpid(process->pid, ret_status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	process->pid = 0;
	process_done(process);
	return 0;
}

int process_signal(const struct process *process, int signal)
{
	return syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

/* Adds what is there to `into` and keeps at most `max` bytes: the front, or with `keep_tail` the
 * end. */
static int drain(int fd, struct buf *into, size_t max, bool keep_tail)
{
	ssize_t n;

	buf_reserve(into, 16384);
	n = fd_read_some(fd, into->ptr + into->len, 16384);
	if (n <= 0)
		return (int)n;
	buf_advance(into, (size_t)n);
	if (into->len > max && !keep_tail)
		return -EFBIG;
	if (into->len > max)
		buf_consume(into, into->len - max);
	return 1;
}

struct collection {
	struct pollfd waits[3]; /* stdout, stderr, cancel */
	struct buf *output;
	struct buf *errors;
	size_t output_max;
	uint64_t deadline_ns;
};

#define ERRORS_KEPT 2048

/* Reads both pipes until both are closed. */
static int collect(struct collection *c)
{
	while (c->waits[0].fd >= 0 || c->waits[1].fd >= 0) {
		const int n = poll(c->waits, ARRAY_LEN(c->waits), clock_poll_ms(c->deadline_ns));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0)
			continue;
		if (c->waits[2].revents)
			return -ECANCELED;
		for (int i = 0; i < 2; i++) {
			int r;

			if (!c->waits[i].revents)
				continue;
			r = i == 0 ? drain(c->waits[0].fd, c->output, c->output_max, false)
				   : drain(c->waits[1].fd, c->errors, ERRORS_KEPT, true);
			if (r < 0)
				return r;
			if (r == 0)
				c->waits[i].fd = -1;
		}
	}
	return 0;
}

static int explain_status(const struct spawn *spawn, int status, const struct buf *errors,
			  struct err *err)
{
	AUTO_BUF said = BUF_INIT;
	struct span text = buf_span(errors);

	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
		text.len--;
	/* The end says what went wrong; what fits in a message is kept. */
	text_escape(&said, span_skip(text, text.len > 300 ? text.len - 300 : 0), 300);
	if (WIFSIGNALED(status))
		return err_set(err, ERR_SYSTEM, "'%s' was killed by signal %d%s%s", spawn->path,
			       WTERMSIG(status), said.len ? ": " : "", said.ptr);
	return err_set(err, ERR_SYSTEM, "'%s' ended with status %d%s%s", spawn->path,
		       WEXITSTATUS(status), said.len ? ": " : "", said.ptr);
}

int spawn_run(struct spawn *spawn, const struct cancel *cancel, uint64_t timeout_ms,
	      size_t output_max, struct buf *ret_output, struct err *err)
{
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	AUTO_CLOSE int out_read = -1;
	AUTO_CLOSE int out_write = -1;
	AUTO_CLOSE int err_read = -1;
	AUTO_CLOSE int err_write = -1;
	AUTO_BUF discarded = BUF_INIT;
	AUTO_BUF errors = BUF_INIT;
	const uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	int out[2], errs[2], status = 0, r;

	r = fd_pipe(out);
	if (r < 0)
		return err_sys(err, r, "run '%s'", spawn->path);
	out_read = out[0];
	out_write = out[1];
	r = fd_pipe(errs);
	if (r < 0)
		return err_sys(err, r, "run '%s'", spawn->path);
	err_read = errs[0];
	err_write = errs[1];

	spawn_add_fd(spawn, out_write, STDOUT_FILENO);
	spawn_add_fd(spawn, err_write, STDERR_FILENO);
	r = spawn_start(spawn, &process, err);
	if (r < 0)
		return r;
	fd_closep(&out_write);
	fd_closep(&err_write);

	struct collection collection = {
		.waits = { { .fd = out_read, .events = POLLIN },
			   { .fd = err_read, .events = POLLIN },
			   { .fd = cancel ? cancel->fd : -1, .events = POLLIN } },
		.output = ret_output ? ret_output : &discarded,
		.errors = &errors,
		.output_max = output_max,
		.deadline_ns = deadline_ns,
	};
	r = collect(&collection);
	if (r == -EFBIG)
		return err_set(err, ERR_LIMIT, "'%s' printed more than %zu bytes", spawn->path,
			       output_max);
	if (r == 0)
		r = process_wait(&process, cancel, deadline_ns, &status);
	if (r < 0)
		return err_sys(err, r, "wait for '%s'", spawn->path);
	if (spawn->ret_status)
		*spawn->ret_status = status;
	return status == 0 ? 0 : explain_status(spawn, status, &errors, err);
}

/* Fields 3 (state) and 22 (start time) of /proc/PID/stat, proc(5); the name before may hold
 * anything. */
static int read_stat(pid_t pid, char *ret_state, uint64_t *ret_start)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/stat", (int)pid);
	AUTO_BUF text = BUF_INIT;
	struct span cursor, field;
	const char *after;
	int r;

	r = file_read(AT_FDCWD, path, 4096, &text);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	after = strrchr(text.ptr, ')');
	if (!after || after[1] != ' ')
		return -EPROTO;
	cursor = span_str(after + 2);
	if (!parse_until(&cursor, ' ', &field) || field.len != 1)
		return -EPROTO;
	*ret_state = (char)field.ptr[0];
	for (int i = 4; i < 22; i++) {
		if (!parse_until(&cursor, ' ', &field))
			return -EPROTO;
	}
	return parse_u64(&cursor, UINT64_MAX, ret_start) ? 0 : -EPROTO;
}

int process_start_time(pid_t pid, uint64_t *ret)
{
	char state;

	return read_stat(pid, &state, ret);
}

int process_open(pid_t pid, uint64_t start_time)
{
	AUTO_CLOSE int pidfd = -1;
	uint64_t found;
	char state;
	int r;

	if (pid <= 0)
		return -ESRCH;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	/* Read after the open: if it is the right process now, the pidfd is its. */
	r = read_stat(pid, &state, &found);
	if (r < 0)
		return r;
	if (found != start_time || state == 'Z' || state == 'X')
		return -ESRCH;
	return TAKE_FD(pidfd);
}

int process_boot_id(char ret[static BOOT_ID_SIZE])
{
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text);

	if (r < 0)
		return r;
	if (text.len < BOOT_ID_SIZE - 1)
		return -EPROTO;
	memcpy(ret, text.ptr, BOOT_ID_SIZE - 1);
	ret[BOOT_ID_SIZE - 1] = '\0';
	return 0;
}

int process_own_folder(char **ret)
{
	char path[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -EPROTO;
	*ret = mem_strndup(path, (size_t)(slash - path));
	return 0;
}
