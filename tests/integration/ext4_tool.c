/*
 * The ext4 writer as a command, for tests and the benchmark:
 *
 *     ext4_tool IMAGE [size=BYTES] [seed=FILE] [seed-size=BYTES] [epoch=SECONDS] [entries=N]
 *               [bytes=N] [layer-bytes=N] [name-bytes=N] [xattr-bytes=N] < TAR
 *     ext4_tool IMAGE layer=TAR... [the same]
 *     ext4_tool IMAGE empty [size=BYTES] [epoch=SECONDS]
 *
 * Prints the summary, or the error's kind and message, and exits with 0, 1, or 2 for wrong usage.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "ext4/ext4.h"

#define LAYERS_MAX 1001

struct arguments {
	struct ext4_options options;
	const char *seed;
	bool is_empty;
	const char *layers[LAYERS_MAX];
	size_t layer_count;
};

static bool read_argument(const char *text, struct arguments *ret)
{
	struct ext4_options *o = &ret->options;

	if (str_eq(text, "empty")) {
		ret->is_empty = true;
		return true;
	}
	if (str_starts(text, "seed=")) {
		ret->seed = text + 5;
		return true;
	}
	if (str_starts(text, "epoch=")) {
		o->has_epoch = true;
		return parse_i64_text(text + 6, INT64_MIN, INT64_MAX, &o->epoch);
	}
	if (str_starts(text, "layer=") && ret->layer_count < LAYERS_MAX) {
		ret->layers[ret->layer_count++] = text + 6;
		return true;
	}
	if (str_starts(text, "size="))
		return parse_u64_text(text + 5, UINT64_MAX, &o->size_bytes);
	if (str_starts(text, "seed-size="))
		return parse_u64_text(text + 10, UINT64_MAX, &o->seed_size_bytes);
	if (str_starts(text, "entries="))
		return parse_u64_text(text + 8, UINT64_MAX, &o->limits.entries);
	if (str_starts(text, "bytes="))
		return parse_u64_text(text + 6, UINT64_MAX, &o->limits.bytes);
	if (str_starts(text, "name-bytes="))
		return parse_u64_text(text + 11, UINT64_MAX, &o->limits.name_bytes);
	if (str_starts(text, "xattr-bytes="))
		return parse_u64_text(text + 12, UINT64_MAX, &o->limits.xattr_bytes);
	if (str_starts(text, "layer-bytes="))
		return parse_u64_text(text + 12, UINT64_MAX, &o->limits.layer_bytes);
	return false;
}

static int open_layer(void *context, size_t index, int *ret_tar_fd, struct err *err)
{
	const struct arguments *arguments = context;

	*ret_tar_fd = open(arguments->layers[index], O_RDONLY | O_CLOEXEC);
	return *ret_tar_fd < 0 ? err_sys(err, -errno, "open '%s'", arguments->layers[index]) : 0;
}

static int run(struct arguments *arguments, int image, struct ext4_summary *summary,
	       struct err *err)
{
	const struct ext4_input input = { .tar_fd = STDIN_FILENO };
	const struct ext4_layers layers = { .count = arguments->layer_count,
					    .open = open_layer,
					    .context = arguments };

	if (arguments->is_empty)
		return ext4_seed(image, &arguments->options, summary, err);
	if (arguments->layer_count > 0)
		return ext4_from_layers(&layers, image, &arguments->options, summary, err);
	return ext4_from_tar(&input, image, &arguments->options, summary, err);
}

static int create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		perror(path);
	return fd;
}

static void print_summary(const struct ext4_summary *s)
{
	(void)printf("size %llu\nused %llu\ncontent %llu\nentries %llu\ninodes %llu\nseed %llu\n"
		     "init %d\n",
		     (unsigned long long)s->size_bytes, (unsigned long long)s->used_bytes,
		     (unsigned long long)s->content_bytes, (unsigned long long)s->entries,
		     (unsigned long long)s->inodes, (unsigned long long)s->seed_size_bytes,
		     s->has_init);
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .options = EXT4_OPTIONS_INIT };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int image = -1;
	AUTO_CLOSE int seed = -1;
	int i, r;

	for (i = 2; i < argc; i++) {
		if (!read_argument(argv[i], &arguments)) {
			(void)fprintf(stderr, "ext4_tool: what is '%s'?\n", argv[i]);
			return 2;
		}
	}
	if (argc < 2)
		return 2;
	image = create(argv[1]);
	if (image < 0)
		return 2;
	if (arguments.seed) {
		seed = create(arguments.seed);
		if (seed < 0)
			return 2;
		arguments.options.seed_fd = seed;
	}
	r = run(&arguments, image, &summary, &err);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
		return 1;
	}
	print_summary(&summary);
	return 0;
}
