#include "image/worker_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "ext4/ext4.h"
#include "image/worker.h"
#include "image/worker_message.h"

#define DESCRIPTORS_MAX 16
#define OWN_PROGRAM	"/proc/self/exe"

/* How libarchive ends a process when it finds no memory for a text. With this status our own
 * workers end only after they have answered. */
#define EXIT_LIBARCHIVE 1

/* As asked for, or the defaults. */
static struct worker_limits limits_of(const struct worker_start *start)
{
	struct worker_limits limits = start->limits;

	if (limits.memory_bytes == 0)
		limits.memory_bytes = WORKER_MEMORY_BYTES_DEFAULT;
	if (limits.cpu_seconds == 0)
		limits.cpu_seconds = WORKER_CPU_SECONDS_DEFAULT;
	return limits;
}

static void fill_spawn(struct spawn *spawn, const struct worker_start *start,
		       const struct worker_limits *limits, char *const *argv)
{
	*spawn = (struct spawn){ .path = start->program ? start->program : OWN_PROGRAM,
				 .argv = argv,
				 .cwd = "/",
				 .new_process_group = true,
				 .dies_with_parent = true,
				 .no_new_privs = true };
	spawn_add_rlimit(spawn, RLIMIT_CORE, 0);
	spawn_limit_cpu(spawn, limits->cpu_seconds);
	spawn_add_rlimit(spawn, RLIMIT_FSIZE, EXT4_SIZE_MAX);
	spawn_add_rlimit(spawn, RLIMIT_NOFILE, DESCRIPTORS_MAX);
#ifndef __SANITIZE_ADDRESS__
	spawn_add_rlimit(spawn, RLIMIT_AS, limits->memory_bytes);
#endif
}

/* Somebody else owns what it had. */
static void forget(struct worker_process *worker)
{
	*worker = WORKER_PROCESS_INIT;
}

int worker_process_start(const struct worker_start *start, struct worker_process *ret,
			 struct err *err)
{
	AUTO_FREE char *word = mem_strdup(start->kind);
	char *const argv[] = { (char[]){ "bangerd" }, (char[]){ "--worker" }, word, NULL };
	CLEANUP(worker_process_done) struct worker_process worker = WORKER_PROCESS_INIT;
	AUTO_CLOSE int control_end = -1;
	struct spawn spawn;
	int ends[2];
	size_t i;
	int r;

	worker.kind = start->kind;
	worker.limits = limits_of(start);
	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "start the %s worker", start->kind);
	worker.control_fd = ends[0];
	control_end = ends[1];
	fill_spawn(&spawn, start, &worker.limits, argv);
	for (i = 0; i < start->fd_count; i++)
		spawn_add_fd(&spawn, start->fds[i].from, start->fds[i].to);
	spawn_add_fd(&spawn, control_end, IMAGE_WORKER_CONTROL);
	r = spawn_start(&spawn, &worker.process, err);
	if (r < 0)
		return err_context(err, r, "start the %s worker", start->kind);
	r = fd_write_all(worker.control_fd, start->orders);
	if (r < 0)
		return err_sys(err, r, "give the %s worker its orders", start->kind);
	*ret = worker;
	forget(&worker);
	return 0;
}

/* One whole line: progress, or the answer, which comes once. */
static int take_line(struct worker_process *worker, struct span line)
{
	if (worker_read_progress(line, &worker->progress))
		return 0;
	if (worker->answer.len > 0)
		return -EPROTO;
	buf_add(&worker->answer, line);
	return 0;
}

int worker_process_read(struct worker_process *worker)
{
	struct buf *pending = &worker->pending;
	const char *end;
	ssize_t n;

	buf_reserve(pending, IMAGE_WORKER_LINE_MAX);
	n = fd_read_some(worker->control_fd, pending->ptr + pending->len, IMAGE_WORKER_LINE_MAX);
	if (n == -ECONNRESET || n == 0)
		return 0;
	if (n < 0)
		return (int)n;
	buf_advance(pending, (size_t)n);
	while ((end = memchr(pending->ptr, '\n', pending->len)) != NULL) {
		const size_t len = (size_t)(end - pending->ptr) + 1;
		const int r = take_line(worker, span_of(pending->ptr, len));

		if (r < 0)
			return r;
		buf_consume(pending, len);
	}
	return pending->len > IMAGE_WORKER_LINE_MAX ? -EPROTO : 1;
}

static int exceeded(const struct worker_process *worker, const char *what, const char *key,
		    struct err *err)
{
	int r;

	if (worker->limits.is_fixed)
		return err_set(err, ERR_LIMIT, "the %s worker needs more than %s", worker->kind,
			       what);
	r = err_set(err, ERR_LIMIT, "the %s worker needs more than %s (limits.%s)", worker->kind,
		    what, key);
	err_hint(err, "if that is meant to be so, raise %s in [limits] of the configuration", key);
	return r;
}

static int out_of_memory(const struct worker_process *worker, struct err *err)
{
	AUTO_BUF what = BUF_INIT;

	text_size(&what, worker->limits.memory_bytes);
	buf_add_str(&what, " of memory");
	return exceeded(worker, what.ptr, "worker_memory", err);
}

static int out_of_time(const struct worker_process *worker, struct err *err)
{
	AUTO_BUF what = BUF_INIT;

	buf_addf(&what, "%llu s of processor time", (unsigned long long)worker->limits.cpu_seconds);
	return exceeded(worker, what.ptr, "worker_cpu", err);
}

static int was_ended(const struct worker_process *worker, int number, struct err *err)
{
	int r;

	if (number == SIGXCPU)
		return out_of_time(worker, err);
	r = err_set(err, ERR_PROTOCOL, "the %s worker was ended by signal %d (%s)", worker->kind,
		    number, sigabbrev_np(number));
	if (number == SIGKILL)
		err_hint(err, "when memory is short, the system ends processes so: see dmesg");
	return r;
}

static int died(const struct worker_process *worker, int status, struct err *err)
{
	if (WIFSIGNALED(status))
		return was_ended(worker, WTERMSIG(status), err);
	if (WEXITSTATUS(status) == MEM_EXIT_STATUS || WEXITSTATUS(status) == EXIT_LIBARCHIVE)
		return out_of_memory(worker, err);
	return err_set(err, ERR_PROTOCOL, "the %s worker ended with status %d and no answer",
		       worker->kind, WEXITSTATUS(status));
}

int worker_process_failed(const struct worker_process *worker, int r, struct err *err)
{
	if (err->kind == ERR_SYSTEM && err->errnum == ENOMEM)
		return out_of_memory(worker, err);
	return err_negative(r);
}

int worker_process_stalled(const struct worker_process *worker, uint64_t stall_ms, struct err *err)
{
	AUTO_BUF time = BUF_INIT;

	text_duration(&time, stall_ms);
	return err_set(err, ERR_TIMEOUT,
		       "the %s worker has not gone on for %s (limits.worker_stall)", worker->kind,
		       time.ptr);
}

static int failed(const struct worker_process *worker, int r, struct err *err)
{
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "the %s worker does not end", worker->kind);
	if (r == -EPROTO)
		return err_set(err, ERR_PROTOCOL, "the %s worker's answer is none", worker->kind);
	return err_sys(err, r, "read the %s worker's answer", worker->kind);
}

int worker_process_finish(struct worker_process *worker, const struct cancel *cancel,
			  uint64_t deadline_ns, struct err *err)
{
	int status = 0;
	int r;

	do {
		r = cancel_poll(cancel, worker->control_fd, POLLIN, deadline_ns);
		if (r >= 0)
			r = worker_process_read(worker);
	} while (r > 0);
	if (r == 0)
		r = process_wait(&worker->process, cancel, deadline_ns, &status);
	if (r < 0)
		return failed(worker, r, err);
	if (worker->answer.len == 0 || !WIFEXITED(status))
		return died(worker, status, err);
	return 0;
}

void worker_process_done(struct worker_process *worker)
{
	fd_closep(&worker->control_fd);
	process_kill(&worker->process);
	buf_done(&worker->pending);
	buf_done(&worker->answer);
}
