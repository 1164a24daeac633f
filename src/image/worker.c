#include "image/worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "image/sandbox.h"
#include "image/worker_message.h"

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_BROKEN 2 /* no answer could be given */

/* One byte at a time: nothing behind the line may be taken. */
static int read_line(int fd, struct buf *line)
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

static int prepare(struct ext4_options *options, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	bool has_seed = false;
	int r;

	r = read_line(IMAGE_WORKER_CONTROL, &line);
	if (r < 0)
		return err_sys(err, r, "read the orders");
	r = worker_read_orders(buf_span(&line), options, &has_seed, err);
	if (r < 0)
		return r;
	options->seed_fd = has_seed ? IMAGE_WORKER_SEED : -1;
	r = ext4_warm_up(err);
	return r < 0 ? r : sandbox_enter(err);
}

int image_worker_main(int argc, char **argv)
{
	AUTO_BUF answer = BUF_INIT;
	struct ext4_options options = EXT4_OPTIONS_INIT;
	const struct ext4_input input = { .tar_fd = IMAGE_WORKER_TAR };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	int r;

	(void)argc;
	(void)argv;
	r = prepare(&options, &err);
	if (r == 0)
		r = ext4_from_tar(&input, IMAGE_WORKER_IMAGE, &options, &summary, &err);
	worker_write_answer(r, &summary, &err, &answer);
	if (fd_write_all(IMAGE_WORKER_CONTROL, buf_span(&answer)) < 0)
		return EXIT_BROKEN;
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
