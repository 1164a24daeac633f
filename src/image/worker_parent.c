#include "image/worker.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/worker_message.h"

#define DESCRIPTORS_MAX 16
#define SEND_BUFFER	(1024 * 1024)
#define OWN_PROGRAM	"/proc/self/exe"

static void fill_spawn(struct spawn *spawn, const char *program, char *const *argv)
{
	*spawn = (struct spawn){ .path = program ? program : OWN_PROGRAM,
				 .argv = argv,
				 .cwd = "/",
				 .new_process_group = true,
				 .dies_with_parent = true,
				 .no_new_privs = true };
	spawn_add_rlimit(spawn, RLIMIT_CORE, 0);
	spawn_add_rlimit(spawn, RLIMIT_CPU, IMAGE_WORKER_CPU_SECONDS);
	spawn_add_rlimit(spawn, RLIMIT_FSIZE, EXT4_SIZE_MAX);
	spawn_add_rlimit(spawn, RLIMIT_NOFILE, DESCRIPTORS_MAX);
#ifndef __SANITIZE_ADDRESS__
	/* The address sanitizer reserves terabytes. */
	spawn_add_rlimit(spawn, RLIMIT_AS, IMAGE_WORKER_MEMORY_BYTES);
#endif
}

/* Somebody else owns what it had. */
static void forget(struct image_worker *worker)
{
	*worker = IMAGE_WORKER_INIT;
}

static int send_orders(int control_fd, const struct ext4_options *options, bool has_seed,
		       struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	int r;

	worker_write_orders(options, has_seed, &line);
	r = fd_write_all(control_fd, buf_span(&line));
	return r < 0 ? err_sys(err, r, "give the image worker its orders") : 0;
}

int image_worker_start(const char *program, int image_fd, int seed_fd,
		       const struct ext4_options *options, struct image_worker *ret,
		       struct err *err)
{
	char *const argv[] = { (char[]){ "bangerd" }, (char[]){ "--worker" }, (char[]){ "image" },
			       NULL };
	CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
	AUTO_CLOSE int tar_end = -1;
	AUTO_CLOSE int control_end = -1;
	const int size = SEND_BUFFER;
	struct spawn spawn;
	int ends[2];
	int r;

	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "start the image worker");
	worker.tar_fd = ends[0];
	tar_end = ends[1];
	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "start the image worker");
	worker.control_fd = ends[0];
	control_end = ends[1];
	/* Only for speed. */
	(void)setsockopt(worker.tar_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));

	fill_spawn(&spawn, program, argv);
	spawn_add_fd(&spawn, tar_end, IMAGE_WORKER_TAR);
	spawn_add_fd(&spawn, image_fd, IMAGE_WORKER_IMAGE);
	if (seed_fd >= 0)
		spawn_add_fd(&spawn, seed_fd, IMAGE_WORKER_SEED);
	spawn_add_fd(&spawn, control_end, IMAGE_WORKER_CONTROL);
	r = spawn_start(&spawn, &worker.process, err);
	if (r == 0)
		r = send_orders(worker.control_fd, options, seed_fd >= 0, err);
	if (r < 0)
		return err_context(err, r, "start the image worker");
	*ret = worker;
	forget(&worker);
	return 0;
}

int image_worker_send(struct image_worker *worker, const void *bytes, size_t size,
		      const struct cancel *cancel)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t n;
		int r = cancel_poll(cancel, worker->tar_fd, POLLOUT, UINT64_MAX);

		if (r < 0)
			return r;
		n = send(worker->tar_fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Reads up to the end; a worker that says too much is cut off. */
static int read_answer(struct image_worker *worker, const struct cancel *cancel, struct buf *line)
{
	for (;;) {
		ssize_t n = cancel_poll(cancel, worker->control_fd, POLLIN, UINT64_MAX);

		if (n < 0)
			return (int)n;
		buf_reserve(line, IMAGE_WORKER_LINE_MAX);
		n = fd_read_some(worker->control_fd, line->ptr + line->len, IMAGE_WORKER_LINE_MAX);
		if (n == -ECONNRESET)
			return 0;
		if (n <= 0)
			return (int)n;
		buf_advance(line, (size_t)n);
		if (line->len > IMAGE_WORKER_LINE_MAX)
			return -EMSGSIZE;
	}
}

static int died(int status, struct err *err)
{
	if (WIFSIGNALED(status))
		return err_set(err, ERR_PROTOCOL, "the image worker was ended by signal %d (%s)",
			       WTERMSIG(status), sigabbrev_np(WTERMSIG(status)));
	return err_set(err, ERR_PROTOCOL, "the image worker ended with status %d and no answer",
		       WEXITSTATUS(status));
}

int image_worker_finish(struct image_worker *worker, const struct cancel *cancel,
			struct ext4_summary *ret, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	int status = 0;
	int r;

	fd_closep(&worker->tar_fd);
	r = read_answer(worker, cancel, &line);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r < 0)
		return err_sys(err, r, "read the image worker's answer");
	r = process_wait(&worker->process, cancel, UINT64_MAX, &status);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r < 0)
		return err_sys(err, r, "wait for the image worker");
	if (line.len == 0 || !WIFEXITED(status))
		return died(status, err);
	return worker_read_answer(buf_span(&line), ret, err);
}

void image_worker_done(struct image_worker *worker)
{
	fd_closep(&worker->tar_fd);
	fd_closep(&worker->control_fd);
	process_kill(&worker->process);
}
