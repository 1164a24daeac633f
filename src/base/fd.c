#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cancel.h"

void fd_close(int fd)
{
	const int saved = errno;

	if (fd >= 0)
		(void)close(fd);
	errno = saved;
}

int fd_write_all(int fd, struct span data)
{
	while (data.len > 0) {
		ssize_t n = fd_write_some(fd, data);

		if (n < 0)
			return (int)n;
		data = span_skip(data, (size_t)n);
	}
	return 0;
}

int fd_pwrite_all(int fd, struct span data, uint64_t offset)
{
	while (data.len > 0) {
		ssize_t n = pwrite(fd, data.ptr, data.len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data = span_skip(data, (size_t)n);
		offset += (uint64_t)n;
	}
	return 0;
}

int fd_read_exact(int fd, void *into, size_t size)
{
	uint8_t *at = into;

	while (size > 0) {
		ssize_t n = fd_read_some(fd, at, size);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_read_exact_until(int fd, void *into, size_t size, uint64_t deadline_ns)
{
	uint8_t *at = into;

	while (size > 0) {
		ssize_t n = cancel_poll(NULL, fd, POLLIN, deadline_ns);

		if (n > 0)
			n = fd_read_some(fd, at, size);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

ssize_t fd_read_some(int fd, void *into, size_t size)
{
	ssize_t n;

	do {
		n = read(fd, into, size);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t fd_write_some(int fd, struct span data)
{
	ssize_t n;

	do {
		n = write(fd, data.ptr, data.len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int fd_set_nonblocking(int fd, bool on)
{
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int fd_clone(int fd)
{
	const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

int fd_pipe(int ends[static 2])
{
	return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
}

int fd_socketpair(int ends[static 2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}
