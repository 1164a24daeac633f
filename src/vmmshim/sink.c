#include "vmmshim/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

int sink_open(const char *path, struct sink *ret)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;

	/* O_RDWR: a FIFO opens although nobody reads yet, and writing to it never raises SIGPIPE.
	 */
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		return -errno;
	*ret = (struct sink){
		.fd = TAKE_FD(fd),
		.path = S_ISREG(status.st_mode) ? mem_strdup(path) : NULL,
		.size = (uint64_t)status.st_size,
	};
	return 0;
}

void sink_borrow(struct sink *sink, int fd)
{
	sink_done(sink);
	sink->fd = fd;
	sink->is_borrowed = true;
}

/* Keeps what there is as FILE.1. Where that fails the old text goes: the limit is what must hold.
 */
static void rotate(struct sink *sink)
{
	AUTO_FREE char *old = mem_printf("%s.1", sink->path);
	AUTO_CLOSE int fd = -1;

	if (rename(sink->path, old) == 0)
		fd = open(sink->path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
			  0600);
	if (fd >= 0)
		fd_assign(&sink->fd, TAKE_FD(fd));
	else if (ftruncate(sink->fd, 0) < 0)
		fd_assign(&sink->fd, -1);
	sink->size = 0;
}

/* A borrowed descriptor may be blocking, and its flags are not ours to change. */
static bool is_ready(const struct sink *sink)
{
	struct pollfd entry = { .fd = sink->fd, .events = POLLOUT };

	return !sink->is_borrowed || (poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0);
}

void sink_write(struct sink *sink, struct span bytes)
{
	while (bytes.len > 0) {
		struct span part = bytes;
		ssize_t n;

		if (sink->path && sink->size >= SINK_FILE_MAX)
			rotate(sink);
		if (sink->fd < 0 || !is_ready(sink))
			break;
		if (sink->path && part.len > SINK_FILE_MAX - sink->size)
			part.len = SINK_FILE_MAX - (size_t)sink->size;
		/* What POLLOUT promises of a pipe. */
		if (sink->is_borrowed && part.len > 512)
			part.len = 512;
		n = fd_write_some(sink->fd, part);
		if (n <= 0)
			break;
		sink->size += (uint64_t)n;
		bytes = span_skip(bytes, (size_t)n);
	}
	sink->lost += bytes.len;
}

void sink_done(struct sink *sink)
{
	if (!sink->is_borrowed)
		fd_close(sink->fd);
	mem_free(sink->path);
	*sink = SINK_INIT;
}
