/*
 * Images as a command, for tests:
 *
 *     image_tool build IMAGES_DIR RECIPE     show IMAGES_DIR NAME     list IMAGES_DIR
 *                remove IMAGES_DIR NAME      sweep IMAGES_DIR         tar IMAGE SEED < TAR (through
 * the worker) image_tool --worker image
 *
 * Exits with 0, 1 after an error (its kind and message on standard error), or 2 for wrong usage.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "image/image.h"
#include "image/worker.h"

static struct cancel cancel = { .fd = -1 };

static void on_signal(int number)
{
	(void)number;
	cancel_fire(&cancel);
}

static void print_progress(void *context, const struct progress_event *event)
{
	(void)context;
	(void)fprintf(stderr, "%s: %s %llu\n", event->stage, event->detail ? event->detail : "",
		      (unsigned long long)event->done);
}

static void print_image(const struct image_record *image)
{
	(void)printf("%s kind=%s recipe=%s kernel=%s size=%llu used=%llu init=%d\n", image->name,
		     image->kind, image->recipe, image->kernel,
		     (unsigned long long)image->size_bytes, (unsigned long long)image->used_bytes,
		     image->has_init);
}

static int run_build(char **argv, struct err *err)
{
	const struct progress progress = { .report = print_progress };
	const struct image_build_request request = { .images_dir = argv[0], .recipe = argv[1] };
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_build(&request, &cancel, &progress, &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

static int run_show(char **argv, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_load(argv[0], argv[1], &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

static int run_list(char **argv, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST list = { .count = 0 };
	int r = image_load_all(argv[0], &list, err);
	size_t i;

	for (i = 0; r == 0 && i < list.count; i++)
		print_image(&list.items[i]);
	return r;
}

static int run_remove(char **argv, struct err *err)
{
	return image_remove(argv[0], argv[1], err);
}

static int run_sweep(char **argv, struct err *err)
{
	return image_sweep(argv[0], err);
}

static int pump(struct image_worker *worker)
{
	uint8_t bytes[16384 - 512];
	ssize_t n;

	while ((n = fd_read_some(STDIN_FILENO, bytes, 8192)) > 0) {
		int r = image_worker_send(worker, bytes, (size_t)n, &cancel);

		if (r < 0)
			return r == -EPIPE ? 0 : r;
	}
	return (int)n;
}

static int run_tar(char **argv, struct err *err)
{
	CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
	struct ext4_options options = EXT4_OPTIONS_INIT;
	struct ext4_summary summary = { 0 };
	struct image_worker_setup setup = { .image_fd = -1 };
	AUTO_CLOSE int image = open(argv[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	AUTO_CLOSE int seed = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r;

	if (image < 0 || seed < 0)
		return err_sys(err, -errno, "make the files");
	setup.image_fd = image;
	setup.seed_fd = seed;
	r = image_worker_start(&setup, &options, &worker, err);
	if (r < 0)
		return r;
	r = pump(&worker);
	if (r < 0)
		return err_sys(err, r, "send the tar");
	r = image_worker_finish(&worker, &cancel, &summary, err);
	if (r == 0)
		(void)printf("entries %llu size %llu seed %llu\n",
			     (unsigned long long)summary.entries,
			     (unsigned long long)summary.size_bytes,
			     (unsigned long long)summary.seed_size_bytes);
	return r;
}

static const struct {
	const char *name;
	int arguments;
	int (*run)(char **argv, struct err *err);
} commands[] = {
	{ "build", 2, run_build },   { "show", 2, run_show },	{ "list", 1, run_list },
	{ "remove", 2, run_remove }, { "sweep", 1, run_sweep }, { "tar", 2, run_tar },
};

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	size_t i;

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	if (cancel_init(&cancel) < 0)
		return 2;
	(void)signal(SIGTERM, on_signal);
	for (i = 0; i < ARRAY_LEN(commands); i++) {
		if (argc != commands[i].arguments + 2 || !str_eq(argv[1], commands[i].name))
			continue;
		if (commands[i].run(argv + 2, &err) == 0)
			return 0;
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
		if (err.hint[0] != '\0')
			(void)fprintf(stderr, "hint: %s\n", err.hint);
		return 1;
	}
	return 2;
}
