/*
 * image_from_layers() as a command, for tests:
 *
 *     layers_tool IMAGES_DIR NAME [size=BYTES] [entries=N] [bytes=N] [layer-bytes=N]
 *                 [name-bytes=N] [xattr-bytes=N] [layers=N] [memory=BYTES] [cpu=MS] [stall=MS]
 *                 [worker=PROGRAM] COMPRESSION,DIFF_ID,BLOB...
 *     layers_tool --worker KIND
 *
 * A blob that does not exist yet is waited for, as for a download. SIGTERM cancels. Exits with 0, 1
 * after an error (its kind and message on standard error), or 2 for wrong usage.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "image/image.h"
#include "image/layers.h"
#include "image/worker.h"

#define LAYERS_MAX	130
#define AT_LIMIT(field) offsetof(struct image_layers_request, limits.field)

static struct cancel cancel = { .fd = -1 };

static void on_signal(int number)
{
	(void)number;
	cancel_fire(&cancel);
}

struct arguments {
	struct image_layers_request request;
	struct image_config config;
	char *layers[LAYERS_MAX];
	int fds[LAYERS_MAX];
	int opened;
};

static int wait_for_blob(const char *path, const struct cancel *wait, int *ret_fd, struct err *err)
{
	for (;;) {
		int r;

		*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (*ret_fd >= 0)
			return 0;
		(void)fprintf(stderr, "waiting\n");
		r = cancel_poll(wait, -1, 0, clock_now_ns() + 20 * NSEC_PER_MSEC);
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "cancelled");
		if (r < 0 && r != -ETIMEDOUT)
			return err_sys(err, r, "wait for the blob");
	}
}

static bool read_compression(const char *text, enum image_compression *ret)
{
	static const char *const names[] = { "none", "gzip", "zstd" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_eq(text, names[i]))
			continue;
		*ret = (enum image_compression)i;
		return true;
	}
	return false;
}

static int next_layer(void *context, size_t index, const struct cancel *wait,
		      struct image_layer *ret, struct err *err)
{
	struct arguments *arguments = context;
	char *digest = strchr(arguments->layers[index], ',');
	char *path = digest ? strchr(digest + 1, ',') : NULL;
	int r;

	if (!path)
		return err_set(err, ERR_INVALID, "what is '%s'?", arguments->layers[index]);
	*digest++ = '\0';
	*path++ = '\0';
	if (!read_compression(arguments->layers[index], &ret->compression))
		return err_set(err, ERR_INVALID, "what is '%s'?", arguments->layers[index]);
	r = wait_for_blob(path, wait, &ret->blob_fd, err);
	if (r < 0)
		return r;
	arguments->fds[arguments->opened++] = ret->blob_fd;
	ret->diff_id = digest;
	return 0;
}

static bool read_argument(char *text, struct arguments *ret)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
		{ "size=", offsetof(struct image_layers_request, size_bytes) },
		{ "entries=", AT_LIMIT(entries) },
		{ "bytes=", AT_LIMIT(image_bytes) },
		{ "layer-bytes=", AT_LIMIT(layer_bytes) },
		{ "name-bytes=", AT_LIMIT(name_bytes) },
		{ "xattr-bytes=", AT_LIMIT(xattr_bytes) },
		{ "layers=", AT_LIMIT(layers) },
		{ "memory=", AT_LIMIT(worker_memory_bytes) },
		{ "cpu=", AT_LIMIT(worker_cpu_ms) },
		{ "stall=", AT_LIMIT(worker_stall_ms) },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(numbers); i++) {
		uint64_t value;

		if (!str_starts(text, numbers[i].name))
			continue;
		if (!parse_u64_text(text + strlen(numbers[i].name), UINT64_MAX, &value))
			return false;
		memcpy((char *)&ret->request + numbers[i].offset, &value, sizeof(value));
		return true;
	}
	if (str_starts(text, "worker=")) {
		ret->request.worker_program = text + strlen("worker=");
		return true;
	}
	if (ret->request.layer_count == LAYERS_MAX)
		return false;
	ret->layers[ret->request.layer_count++] = text;
	return true;
}

static void print_progress(void *context, const struct progress_event *event)
{
	(void)context;
	(void)fprintf(stderr, "%s: %s %llu\n", event->stage, event->detail,
		      (unsigned long long)event->done);
}

static int run(struct arguments *arguments)
{
	const struct progress progress = { .report = print_progress };
	struct err err = ERR_INIT;
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_from_layers(&arguments->request, &cancel, &progress, &image, &err);
	while (arguments->opened > 0)
		fd_close(arguments->fds[--arguments->opened]);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
		if (err.hint[0] != '\0')
			(void)fprintf(stderr, "hint: %s\n", err.hint);
		return 1;
	}
	(void)printf("%s kind=%s source=%s digest=%s kernel=%s size=%llu init=%d\n", image.name,
		     image.kind, image.source, image.digest, image.kernel,
		     (unsigned long long)image.size_bytes, image.has_init);
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {
		.request = { .source = "example.test/image:1",
			     .digest = "sha256:01",
			     .kernel = "debian-cloud",
			     .next_layer = next_layer },
	};
	int i, r;

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	if (argc < 3 || cancel_init(&cancel) < 0)
		return 2;
	(void)signal(SIGTERM, on_signal);
	arguments.request.images_dir = argv[1];
	arguments.request.name = argv[2];
	arguments.request.context = &arguments;
	for (i = 3; i < argc; i++) {
		if (!read_argument(argv[i], &arguments))
			return 2;
	}
	strv_add(&arguments.config.entrypoint, "/bin/program");
	strv_add(&arguments.config.env, "A=\"b\" \\ \u00e4");
	arguments.config.user = mem_strdup("root:x y");
	arguments.request.config = &arguments.config;
	r = run(&arguments);
	image_config_done(&arguments.config);
	return r;
}
