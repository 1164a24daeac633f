#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "image/worker.h"
#include "image/worker_message.h"

#define SEND_BUFFER (1024 * 1024)

struct worker_limits image_worker_limits(const struct image_limits *limits)
{
	return (struct worker_limits){
		.memory_bytes = limits->worker_memory_bytes,
		.cpu_seconds = (limits->worker_cpu_ms + 999) / 1000,
	};
}

struct ext4_limits image_ext4_limits(const struct image_limits *limits)
{
	return (struct ext4_limits){
		.entries = limits->entries,
		.bytes = limits->image_bytes,
		.layer_bytes = limits->layer_bytes,
		.name_bytes = limits->name_bytes,
		.xattr_bytes = limits->xattr_bytes,
	};
}

uint64_t image_stall_ms(const struct image_limits *limits)
{
	return limits->worker_stall_ms > 0 ? limits->worker_stall_ms : IMAGE_STALL_MS_DEFAULT;
}

/* From now on. */
static uint64_t deadline(const struct image_worker *worker)
{
	return clock_now_ns() + worker->stall_ms * NSEC_PER_MSEC;
}

static struct worker_orders orders_of(const struct image_worker_setup *setup,
				      const struct ext4_options *options, size_t layer_count)
{
	struct worker_orders orders = { .options = *options,
					.has_seed = setup->seed_fd >= 0,
					.layers = layer_count };

	orders.options.limits = image_ext4_limits(&setup->limits);
	return orders;
}

/* `tar_end` -1: it will be passed its tars. */
static int start(const struct image_worker_setup *setup, int tar_end,
		 const struct worker_orders *orders, struct image_worker *ret, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	struct spawn_fd fds[3];
	size_t count = 0;

	fds[count++] = (struct spawn_fd){ setup->image_fd, IMAGE_WORKER_IMAGE };
	if (setup->seed_fd >= 0)
		fds[count++] = (struct spawn_fd){ setup->seed_fd, IMAGE_WORKER_SEED };
	if (tar_end >= 0)
		fds[count++] = (struct spawn_fd){ tar_end, IMAGE_WORKER_TAR };
	worker_write_orders(orders, &line);
	const struct worker_start request = { .program = setup->program,
					      .kind = "image",
					      .fds = fds,
					      .fd_count = count,
					      .orders = buf_span(&line),
					      .limits = image_worker_limits(&setup->limits) };

	ret->stall_ms = image_stall_ms(&setup->limits);
	return worker_process_start(&request, &ret->process, err);
}

int image_worker_start(const struct image_worker_setup *setup, const struct ext4_options *options,
		       struct image_worker *ret, struct err *err)
{
	const struct worker_orders orders = orders_of(setup, options, 0);
	AUTO_CLOSE int tar_fd = -1;
	AUTO_CLOSE int tar_end = -1;
	const int size = SEND_BUFFER;
	int ends[2];
	int r;

	r = fd_socketpair(ends);
	if (r < 0)
		return err_sys(err, r, "start the image worker");
	tar_fd = ends[0];
	tar_end = ends[1];
	/* Only for speed. */
	(void)setsockopt(tar_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	r = start(setup, tar_end, &orders, ret, err);
	if (r == 0)
		ret->tar_fd = TAKE_FD(tar_fd);
	return r;
}

int image_worker_start_layers(const struct image_worker_setup *setup,
			      const struct ext4_options *options, size_t layer_count,
			      struct image_worker *ret, struct err *err)
{
	const struct worker_orders orders = orders_of(setup, options, layer_count);

	return start(setup, -1, &orders, ret, err);
}

int image_worker_pass(struct image_worker *worker, int tar_fd)
{
	const int r = unix_send_fd(worker->process.control_fd, span_str("\n"), tar_fd);

	return r == -ECONNRESET ? -EPIPE : r;
}

int image_worker_send(struct image_worker *worker, const void *bytes, size_t size,
		      const struct cancel *cancel)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t n;
		int r = cancel_poll(cancel, worker->tar_fd, POLLOUT, deadline(worker));

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

int image_worker_stalled(const struct image_worker *worker, struct err *err)
{
	return worker_process_stalled(&worker->process, worker->stall_ms, err);
}

int image_worker_finish(struct image_worker *worker, const struct cancel *cancel,
			struct ext4_summary *ret, struct err *err)
{
	int r;

	fd_closep(&worker->tar_fd);
	r = worker_process_finish(&worker->process, cancel, deadline(worker), err);
	if (r < 0 && err->kind == ERR_TIMEOUT)
		return image_worker_stalled(worker, err);
	if (r < 0)
		return r;
	r = worker_read_answer(buf_span(&worker->process.answer), ret, err);
	return r < 0 ? worker_process_failed(&worker->process, r, err) : 0;
}

void image_worker_done(struct image_worker *worker)
{
	fd_closep(&worker->tar_fd);
	worker_process_done(&worker->process);
}
