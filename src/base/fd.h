/* Descriptors: owning them, and reading and writing whole amounts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"
#include "base/span.h"

/* Closes; -1 is accepted; errno is kept. close() is never retried (on Linux the fd is gone). */
void fd_close(int fd);

static inline void fd_closep(int *fd)
{
	fd_close(*fd);
	*fd = -1;
}

#define AUTO_CLOSE CLEANUP(fd_closep)

/* Replaces an owned descriptor in place. */
static inline void fd_assign(int *slot, int fd)
{
	fd_close(*slot);
	*slot = fd;
}

/* Writes all of `data` to a blocking fd, going on after EINTR and short writes. 0 or -errno. */
int fd_write_all(int fd, struct span data) MUST_CHECK;

/* As fd_write_all() at an offset. */
int fd_pwrite_all(int fd, struct span data, uint64_t offset) MUST_CHECK;

/* Reads exactly `size` bytes; -ENODATA when the end comes first. */
int fd_read_exact(int fd, void *into, size_t size) MUST_CHECK;

/* The same, but -ETIMEDOUT when `deadline_ns` (CLOCK_BOOTTIME) comes first, however often bytes
 * come. */
int fd_read_exact_until(int fd, void *into, size_t size, uint64_t deadline_ns) MUST_CHECK;

/* Reads at most `size` bytes, going on after EINTR. Bytes read (0 at the end) or -errno. */
ssize_t fd_read_some(int fd, void *into, size_t size) MUST_CHECK;

/* Writes at most data.len bytes, going on after EINTR. Bytes written or -errno (-EAGAIN too). */
ssize_t fd_write_some(int fd, struct span data) MUST_CHECK;

int fd_set_nonblocking(int fd, bool on) MUST_CHECK;

/* A new close-on-exec descriptor for the same file, number 3 or above; -errno on failure. */
int fd_clone(int fd) MUST_CHECK;

/* pipe2(O_CLOEXEC): ends[0] reads, ends[1] writes. */
int fd_pipe(int ends[static 2]) MUST_CHECK;

/* A connected pair of Unix stream sockets, close-on-exec. */
int fd_socketpair(int ends[static 2]) MUST_CHECK;
