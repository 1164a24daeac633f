#include "ext4/writer.h"

#include <ext2fs/ext2_fs.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define LABEL_MAX	 16
#define FAST_SYMLINK_MAX 59 /* bytes that fit into the inode, with an end */

void ext4_writer_release(struct ext4_writer *writer)
{
	/* A flush that fails is not lost: so does every later write. */
	if (writer->released_to > writer->released_from && sink_flush(&writer->sink) == 0)
		(void)fallocate(
			writer->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(writer->released_from * SPACE_BLOCK_SIZE),
			(off_t)((writer->released_to - writer->released_from) * SPACE_BLOCK_SIZE));
	writer->released_from = 0;
	writer->released_to = 0;
}

/* Whole folders are removed in the order in which they were written: one call for many files. */
static void released(void *context, const struct tree_run *run)
{
	struct ext4_writer *writer = context;

	if (writer->released_to == run->physical) {
		writer->released_to += run->length;
		return;
	}
	ext4_writer_release(writer);
	writer->released_from = run->physical;
	writer->released_to = run->physical + run->length;
}

static int check_options(uint64_t size_bytes, const struct ext4_options *options, struct err *err)
{
	AUTO_BUF size = BUF_INIT;

	if (options->label && strlen(options->label) > LABEL_MAX)
		return err_set(err, ERR_INVALID, "the label '%s' has more than %d bytes",
			       options->label, LABEL_MAX);
	if (size_bytes == 0 || (size_bytes >= EXT4_SIZE_MIN && size_bytes <= EXT4_SIZE_MAX))
		return 0;
	text_size(&size, size_bytes);
	return err_set(err, ERR_INVALID,
		       "an image of %s cannot be made: the size must be from "
		       "32 MiB to 4 TiB",
		       size.ptr);
}

static int check_file(int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "look at the image file");
	if (!S_ISREG(st.st_mode) || st.st_size != 0)
		return err_set(err, ERR_INVALID, "the image file is not an empty regular file");
	return 0;
}

int ext4_writer_init(struct ext4_writer *writer, int fd, uint64_t size_bytes,
		     const struct ext4_options *options, uint16_t root_mode, struct err *err)
{
	struct tree_attributes implied = { .mode = S_IFDIR | 0755 };
	const struct ext4_limits *limits = &options->limits;
	uint64_t end = size_bytes > 0 ? size_bytes : UINT64_MAX;
	int r;

	r = check_options(size_bytes, options, err);
	if (r < 0)
		return r;
	r = check_file(fd, err);
	if (r < 0)
		return r;

	memset(writer, 0, sizeof(*writer));
	writer->fd = fd;
	writer->size_bytes = size_bytes;
	writer->label = options->label;
	writer->has_epoch = options->has_epoch;
	writer->epoch = options->epoch;
	memcpy(writer->uuid, options->uuid, sizeof(writer->uuid));
	if (options->has_epoch)
		ext4_writer_set_time(writer, &implied, options->epoch, 0);
	tree_init(&writer->tree, &implied,
		  limits->name_bytes ? limits->name_bytes : EXT4_NAME_BYTES_DEFAULT);
	writer->tree.inodes[TREE_ROOT].attributes.mode = S_IFDIR | root_mode;
	writer->tree.released = released;
	writer->tree.released_context = writer;
	xattr_table_init(&writer->xattrs,
			 limits->xattr_bytes ? limits->xattr_bytes : EXT4_XATTR_BYTES_DEFAULT);
	space_init(&writer->space, size_bytes);
	sink_init(&writer->sink, fd, end);
	writer->content.tree = &writer->tree;
	writer->content.space = &writer->space;
	writer->content.sink = &writer->sink;
	return 0;
}

void ext4_writer_done(struct ext4_writer *writer)
{
	tree_done(&writer->tree);
	xattr_table_done(&writer->xattrs);
	sink_done(&writer->sink);
}

void ext4_writer_set_time(struct ext4_writer *writer, struct tree_attributes *attributes,
			  int64_t seconds, uint32_t nsec)
{
	if (writer->has_epoch && seconds >= writer->epoch) {
		nsec = seconds == writer->epoch ? nsec : 0;
		seconds = writer->epoch;
	}
	if (seconds < EXT4_TIME_MIN || seconds > EXT4_TIME_MAX) {
		seconds = seconds < 0 ? EXT4_TIME_MIN : EXT4_TIME_MAX;
		nsec = 0;
	}
	attributes->mtime = seconds;
	attributes->mtime_nsec = nsec < 1000000000U ? nsec : 0;
	if (seconds > writer->latest)
		writer->latest = seconds;
}

int ext4_writer_store_symlink(struct ext4_writer *writer, uint32_t inode)
{
	struct span target = tree_target(&writer->tree, inode);
	uint8_t block[SPACE_BLOCK_SIZE] = { 0 };
	uint64_t physical, taken;

	if (target.len <= FAST_SYMLINK_MAX)
		return 0;
	memcpy(block, target.ptr, target.len);
	physical = space_take(&writer->space, 1, &taken);
	tree_add_run(&writer->tree, inode, 0, physical, 1);
	return sink_write(&writer->sink, physical * SPACE_BLOCK_SIZE,
			  span_of(block, sizeof(block)));
}

int ext4_writer_failed(int r, struct err *err)
{
	(void)err_sys(err, r, "write the image");
	if (r == -ENOSPC || r == -EDQUOT)
		err_hint(err, "free some space in the state folder's file system");
	return r;
}
