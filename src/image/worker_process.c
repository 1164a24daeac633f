#include "image/worker_process.h"

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

static void fill_spawn(struct spawn *spawn, const struct worker_start *start, char *const *argv)
{
	*spawn = (struct spawn){ .path = start->program ? start->program : OWN_PROGRAM,
				 .argv = argv,
				 .cwd = "/",
				 .new_process_group = true,
				 .dies_with_parent = true,
				 .no_new_privs = true };
	spawn_add_rlimit(spawn, RLIMIT_CORE, 0);
	spawn_add_rlimit(spawn, RLIMIT_CPU,
			 start->cpu_seconds ? start->cpu_seconds : IMAGE_WORKER_CPU_SECONDS);
	spawn_add_rlimit(spawn, RLIMIT_FSIZE, EXT4_SIZE_MAX);
	spawn_add_rlimit(spawn, RLIMIT_NOFILE, DESCRIPTORS_MAX);
#ifndef __SANITIZE_ADDRESS__
	/* The address sanitizer reserves terabytes. */
	spawn_add_rlimit(spawn, RLIMIT_AS,
			 start->memory_bytes ? start->memory_bytes : IMAGE_WORKER_MEMORY_BYTES);
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
	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "start the %s worker", start->kind);
	worker.control_fd = ends[0];
	control_end = ends[1];
	fill_spawn(&spawn, start, argv);
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
	if (worker_read_progress(line, &worker->done))
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

static int died(const struct worker_process *worker, int status, struct err *err)
{
	if (WIFSIGNALED(status))
		return err_set(err, ERR_PROTOCOL, "the %s worker was ended by signal %d (%s)",
			       worker->kind, WTERMSIG(status), sigabbrev_np(WTERMSIG(status)));
	return err_set(err, ERR_PROTOCOL, "the %s worker ended with status %d and no answer",
		       worker->kind, WEXITSTATUS(status));
}

static int failed(const struct worker_process *worker, int r, struct err *err)
{
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "the %s worker does not go on", worker->kind);
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
