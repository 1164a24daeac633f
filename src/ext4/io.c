#include "ext4/io.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"

#define SUPERBLOCK_BYTES 1024

struct io_fd {
	int fd;
	int first_errno;
};

static struct io_fd *state_of(io_channel channel)
{
	return channel->private_data;
}

static errcode_t keep_error(io_channel channel, int r)
{
	struct io_fd *io = state_of(channel);

	if (r >= 0)
		return 0;
	if (io->first_errno == 0)
		io->first_errno = -r;
	return -r;
}

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
	struct struct_io_channel *channel;
	struct io_fd *io;
	uint64_t fd;

	(void)flags;
	if (!parse_u64_text(name, INT_MAX, &fd))
		return EXT2_ET_BAD_DEVICE_NAME;
	io = mem_alloc(1, sizeof(*io));
	io->fd = (int)fd;
	channel = mem_alloc(1, sizeof(*channel));
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = io_fd_manager();
	channel->name = mem_strdup(name);
	channel->block_size = SUPERBLOCK_BYTES;
	channel->refcount = 1;
	channel->private_data = io;
	*ret = channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	mem_free(channel->private_data);
	mem_free(channel->name);
	mem_free(channel);
	return 0;
}

static errcode_t io_set_blksize(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

/* A negative count is in bytes. */
static size_t size_of(io_channel channel, int count)
{
	return count < 0 ? (size_t)-count : (size_t)count * (size_t)channel->block_size;
}

static uint64_t offset_of(io_channel channel, uint64_t block)
{
	return block * (uint32_t)channel->block_size;
}

static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *into)
{
	uint64_t offset = offset_of(channel, block);
	size_t size = size_of(channel, count);
	uint8_t *at = into;

	while (size > 0) {
		ssize_t n = pread(state_of(channel)->fd, at, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return keep_error(channel, -errno);
		if (n == 0)
			return EXT2_ET_SHORT_READ;
		at += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static errcode_t io_write64(io_channel channel, unsigned long long block, int count,
			    const void *bytes)
{
	return keep_error(channel, fd_pwrite_all(state_of(channel)->fd,
						 span_of(bytes, size_of(channel, count)),
						 offset_of(channel, block)));
}

static errcode_t io_read(io_channel channel, unsigned long block, int count, void *into)
{
	return io_read64(channel, block, count, into);
}

static errcode_t io_write(io_channel channel, unsigned long block, int count, const void *bytes)
{
	return io_write64(channel, block, count, bytes);
}

/* The caller syncs once, at the end. */
static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static errcode_t io_set_option(io_channel channel, const char *option, const char *value)
{
	(void)channel;
	(void)option;
	(void)value;
	return EXT2_ET_INVALID_ARGUMENT;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "descriptor",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.write_blk = io_write,
	.flush = io_flush,
	.set_option = io_set_option,
	.read_blk64 = io_read64,
	.write_blk64 = io_write64,
};

io_manager io_fd_manager(void)
{
	return &manager;
}

int io_fd_errno(io_channel channel)
{
	return state_of(channel)->first_errno;
}
