#include "ext4/ext4.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <sys/stat.h>

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

int ext4_from_tar(const struct ext4_input *input, int image_fd, const struct ext4_options *options,
		  struct ext4_summary *ret, struct err *err)
{
	CLEANUP(ext4_writer_done) struct ext4_writer writer = { .fd = -1 };
	struct ext4_summary summary = { 0 };
	struct ext4_limits limits = options->limits;
	int r;

	if (limits.entries == 0)
		limits.entries = EXT4_ENTRIES_DEFAULT;
	if (limits.bytes == 0)
		limits.bytes = EXT4_BYTES_DEFAULT;
	r = ext4_writer_init(&writer, image_fd, options->size_bytes, options, ROOT_MODE, err);
	if (r == 0)
		r = tar_read(&writer, input, &limits, &summary, err);
	if (r < 0)
		return r;
	summary.has_init = has_init(&writer);
	if (options->seed_fd >= 0) {
		r = make_seed(&writer, options, input->cancel, &summary, err);
		if (r < 0)
			return r;
	}
	progress_report(input->progress, "image", "finishing the image", summary.content_bytes, 0);
	r = ext4_writer_seal(&writer, &summary, err);
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
