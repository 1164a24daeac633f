#include "image/worker.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "image/inspect.h"
#include "image/sandbox.h"
#include "image/unpack.h"
#include "image/worker_message.h"

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_BROKEN 2 /* no answer could be given */

/* One byte at a time: nothing behind the line may be taken. */
int worker_read_line(int fd, struct buf *line)
{
	while (line->len < IMAGE_WORKER_LINE_MAX) {
		uint8_t byte;
		int r = fd_read_exact(fd, &byte, 1);

		if (r < 0)
			return r;
		if (byte == '\n')
			return 0;
		buf_add_byte(line, byte);
	}
	return -EMSGSIZE;
}

static int prepare(struct worker_orders *orders, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	int r;

	r = worker_read_line(IMAGE_WORKER_CONTROL, &line);
	if (r < 0)
		return err_sys(err, r, "read the orders");
	r = worker_read_orders(buf_span(&line), orders, err);
	if (r < 0)
		return r;
	orders->options.seed_fd = orders->has_seed ? IMAGE_WORKER_SEED : -1;
	r = ext4_warm_up(err);
	return r < 0 ? r : sandbox_enter(err);
}

static void report(const struct worker_progress *progress)
{
	AUTO_BUF line = BUF_INIT;

	worker_write_progress(progress, &line);
	/* If the parent is gone, so are we. */
	IGNORE_RESULT(fd_write_all(IMAGE_WORKER_CONTROL, buf_span(&line)));
}

static int open_layer(void *context, size_t index, int *ret_tar_fd, struct err *err)
{
	struct worker_progress *progress = context;
	uint8_t byte;
	int fd = -1;
	ssize_t n;

	progress->layer = index + 1;
	report(progress);
	n = unix_recv_fd(IMAGE_WORKER_CONTROL, &byte, 1, &fd);
	if (n < 0)
		return err_sys(err, (int)n, "receive layer %zu", index + 1);
	if (n == 0 || fd < 0)
		return err_set(err, ERR_PROTOCOL, "layer %zu does not come", index + 1);
	*ret_tar_fd = fd;
	return 0;
}

static void note_progress(void *context, const struct progress_event *event)
{
	struct worker_progress *progress = context;

	progress->done = event->done;
	report(progress);
}

static int work(const struct worker_orders *orders, struct ext4_summary *summary, struct err *err)
{
	struct worker_progress at = { .done = 0 };
	const struct progress progress = { .report = note_progress, .context = &at };
	const struct ext4_layers layers = {
		.count = orders->layers, .open = open_layer, .context = &at, .progress = &progress
	};
	const struct ext4_input input = { .tar_fd = IMAGE_WORKER_TAR };

	if (orders->layers > 0)
		return ext4_from_layers(&layers, IMAGE_WORKER_IMAGE, &orders->options, summary,
					err);
	return ext4_from_tar(&input, IMAGE_WORKER_IMAGE, &orders->options, summary, err);
}

static int write_image(void)
{
	AUTO_BUF answer = BUF_INIT;
	struct worker_orders orders = { .options = EXT4_OPTIONS_INIT };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	int r;

	r = prepare(&orders, &err);
	if (r == 0)
		r = work(&orders, &summary, &err);
	worker_write_answer(r, &summary, &err, &answer);
	if (fd_write_all(IMAGE_WORKER_CONTROL, buf_span(&answer)) < 0)
		return EXIT_BROKEN;
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

int image_worker_main(int argc, char **argv)
{
	if (argc == 3 && str_eq(argv[2], "image"))
		return write_image();
	if (argc == 3 && str_eq(argv[2], "unpack"))
		return unpack_worker_main();
	if (argc == 3 && str_eq(argv[2], "inspect"))
		return inspect_worker_main();
	return EXIT_BROKEN;
}
