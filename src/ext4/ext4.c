#include "ext4/ext4.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "ext4/seed.h"
#include "ext4/tar.h"
#include "ext4/writer.h"

#define ROOT_MODE 0755
#define SEED_MODE 0700
#define SEED_PATH "/root"
#define INIT_PATH "/sbin/init"

static bool has_init(struct ext4_writer *writer)
{
	const uint32_t inode = tree_find(&writer->tree, INIT_PATH);
	uint16_t mode;

	if (inode == TREE_NONE)
		return false;
	mode = writer->tree.inodes[inode].attributes.mode;
	return (mode & S_IFMT) == S_IFREG && (mode & 0100) != 0;
}

static int make_seed(struct ext4_writer *from, const struct ext4_options *options,
		     const struct cancel *cancel, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(ext4_writer_done) struct ext4_writer writer = { .fd = -1 };
	struct ext4_summary summary = { 0 };
	int r;

	r = ext4_writer_init(&writer, options->seed_fd, options->seed_size_bytes, options,
			     SEED_MODE, err);
	if (r == 0 && from)
		r = seed_copy(from, SEED_PATH, &writer, cancel, err);
	if (r == 0)
		r = ext4_writer_seal(&writer, &summary, err);
	if (r < 0)
		return err_context(err, r, "work seed");
	ret->seed_size_bytes = summary.size_bytes;
	return 0;
}

static struct ext4_limits limits_of(const struct ext4_options *options)
{
	struct ext4_limits limits = options->limits;

	if (limits.entries == 0)
		limits.entries = EXT4_ENTRIES_DEFAULT;
	if (limits.bytes == 0)
		limits.bytes = EXT4_BYTES_DEFAULT;
	if (limits.layer_bytes == 0)
		limits.layer_bytes = EXT4_LAYER_BYTES_DEFAULT;
	return limits;
}

/* Everything that follows the last entry. */
static int finish(struct ext4_writer *writer, const struct ext4_options *options,
		  const struct tar_source *source, struct ext4_summary *summary, struct err *err)
{
	int r;

	summary->has_init = has_init(writer);
	if (options->seed_fd >= 0) {
		r = make_seed(writer, options, source->cancel, summary, err);
		if (r < 0)
			return r;
	}
	progress_report(source->progress, "image", "finishing the image", summary->content_bytes,
			0);
	return ext4_writer_seal(writer, summary, err);
}

int ext4_from_tar(const struct ext4_input *input, int image_fd, const struct ext4_options *options,
		  struct ext4_summary *ret, struct err *err)
{
	CLEANUP(ext4_writer_done) struct ext4_writer writer = { .fd = -1 };
	const struct tar_source source = { .fd = input->tar_fd,
					   .cancel = input->cancel,
					   .progress = input->progress };
	struct ext4_limits limits = limits_of(options);
	struct ext4_summary summary = { 0 };
	int r;

	/* What comes as one stream has the limits of a whole image only. */
	limits.layer_bytes = UINT64_MAX;
	r = ext4_writer_init(&writer, image_fd, options->size_bytes, options, ROOT_MODE, err);
	if (r == 0)
		r = tar_read(&writer, &source, &limits, &summary, err);
	if (r == 0)
		r = finish(&writer, options, &source, &summary, err);
	if (r < 0)
		return r;
	*ret = summary;
	return 0;
}

/* --- layers --- */

static int read_layer(struct ext4_writer *writer, const struct ext4_layers *layers, size_t index,
		      const struct ext4_limits *limits, struct ext4_summary *summary,
		      struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct tar_source source = { .cancel = layers->cancel,
				     .progress = layers->progress,
				     .is_layer = true };
	int r;

	r = layers->open(layers->context, index, &fd, err);
	if (r < 0)
		return r;
	source.fd = fd;
	tree_begin_layer(&writer->tree);
	r = tar_read(writer, &source, limits, summary, err);
	if (r == 0 || err->kind == ERR_CANCELLED || err->kind == ERR_SYSTEM)
		return r;
	return err_context(err, r, "layer %zu", index + 1);
}

int ext4_from_layers(const struct ext4_layers *layers, int image_fd,
		     const struct ext4_options *options, struct ext4_summary *ret, struct err *err)
{
	CLEANUP(ext4_writer_done) struct ext4_writer writer = { .fd = -1 };
	const struct tar_source source = { .fd = -1,
					   .cancel = layers->cancel,
					   .progress = layers->progress };
	const struct ext4_limits limits = limits_of(options);
	struct ext4_summary summary = { 0 };
	size_t i;
	int r;

	if (layers->count == 0)
		return err_set(err, ERR_INVALID, "the image has no layers");
	if (layers->count > EXT4_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "the image has %zu layers, more than %u",
			       layers->count, EXT4_LAYERS_MAX);
	r = ext4_writer_init(&writer, image_fd, options->size_bytes, options, ROOT_MODE, err);
	for (i = 0; i < layers->count && r == 0; i++)
		r = read_layer(&writer, layers, i, &limits, &summary, err);
	if (r < 0)
		return r;
	if (summary.entries == 0)
		return err_set(err, ERR_INVALID, "the image's layers have no entries");
	r = finish(&writer, options, &source, &summary, err);
	if (r < 0)
		return r;
	*ret = summary;
	return 0;
}

int ext4_seed(int image_fd, const struct ext4_options *options, struct ext4_summary *ret,
	      struct err *err)
{
	CLEANUP(ext4_writer_done) struct ext4_writer writer = { .fd = -1 };
	struct ext4_summary summary = { 0 };
	int r;

	r = ext4_writer_init(&writer, image_fd, options->size_bytes, options, SEED_MODE, err);
	if (r == 0)
		r = ext4_writer_seal(&writer, &summary, err);
	if (r < 0)
		return r;
	*ret = summary;
	return 0;
}

int ext4_warm_up(struct err *err)
{
	initialize_ext2_error_table();
	return tar_warm_up(err);
}
