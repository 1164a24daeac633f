#include "image/inspect.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "ext4/ext4.h"
#include "image/sandbox.h"
#include "image/worker.h"
#include "image/worker_message.h"
#include "image/worker_process.h"

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_BROKEN 2 /* no answer could be given */

/* --- the worker's side --- */

static int prepare(struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	int r;

	/* There are no orders: an empty line says that the parent is ready. */
	r = worker_read_line(IMAGE_WORKER_CONTROL, &line);
	if (r < 0)
		return err_sys(err, r, "read the orders");
	r = ext4_warm_up(err);
	return r < 0 ? r : sandbox_enter(err);
}

int inspect_worker_main(void)
{
	struct ext4_summary summary = { 0 };
	AUTO_BUF answer = BUF_INIT;
	struct err err = ERR_INIT;
	int r;

	r = prepare(&err);
	if (r == 0)
		r = ext4_find_init(INSPECT_WORKER_FILE, &summary.has_init, &err);
	worker_write_answer(r, &summary, &err, &answer);
	if (fd_write_all(IMAGE_WORKER_CONTROL, buf_span(&answer)) < 0)
		return EXIT_BROKEN;
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* --- the parent's side --- */

int inspect_has_init(const char *program, int fd, const struct cancel *cancel, bool *ret,
		     struct err *err)
{
	const struct spawn_fd fds[] = { { fd, INSPECT_WORKER_FILE } };
	const struct worker_start start = { .program = program,
					    .kind = "inspect",
					    .fds = fds,
					    .fd_count = ARRAY_LEN(fds),
					    .orders = span_str("\n"),
					    .limits = { .memory_bytes = INSPECT_MEMORY_BYTES,
							.cpu_seconds = INSPECT_SECONDS,
							.is_fixed = true } };
	const uint64_t deadline_ns = clock_now_ns() + INSPECT_SECONDS * NSEC_PER_SEC;
	CLEANUP(worker_process_done) struct worker_process worker = WORKER_PROCESS_INIT;
	struct ext4_summary summary = { 0 };
	int r;

	r = worker_process_start(&start, &worker, err);
	if (r == 0)
		r = worker_process_finish(&worker, cancel, deadline_ns, err);
	if (r == 0) {
		r = worker_read_answer(buf_span(&worker.answer), &summary, err);
		if (r < 0)
			r = worker_process_failed(&worker, r, err);
	}
	if (r < 0 && err->kind == ERR_INVALID && err->hint[0] == '\0')
		err_hint(err, "unmount it, then: e2fsck -f FILE");
	if (r < 0)
		return r;
	*ret = summary.has_init;
	return 0;
}
