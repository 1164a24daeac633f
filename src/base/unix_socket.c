#include "base/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#define CONNECT_PAUSE_NS (10 * NSEC_PER_MSEC)

static int fill_address(const char *path, struct sockaddr_un *ret, struct err *err)
{
	const size_t len = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len >= sizeof(ret->sun_path))
		return err_set(err, ERR_LIMIT, "socket path '%s' is longer than %zu bytes", path,
			       sizeof(ret->sun_path) - 1);
	memcpy(ret->sun_path, path, len + 1);
	return 0;
}

static int new_socket(void)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* The lock decides who may look at and replace the socket; it lives beside it and stays. */
static int take_lock(const char *path, struct err *err)
{
	AUTO_FREE char *lock_path = mem_printf("%s.lock", path);
	AUTO_CLOSE int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", lock_path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(err, ERR_BUSY, "another process listens on '%s'", path);
		return err_sys(err, -errno, "lock '%s'", lock_path);
	}
	return TAKE_FD(fd);
}

/* Removes a dead socket of ours; anything else in the way is left there and named. */
static int clear_path(const char *path, const struct sockaddr_un *address, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "look at '%s'", path);
	if (!S_ISSOCK(status.st_mode))
		return err_set(err, ERR_EXISTS, "'%s' is in the way and is no socket", path);
	if (status.st_uid != geteuid())
		return err_set(err, ERR_EXISTS, "'%s' is a socket of user %u", path, status.st_uid);
	fd = new_socket();
	if (fd < 0)
		return err_sys(err, fd, "make a socket");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return err_set(err, ERR_BUSY, "another process listens on '%s'", path);
	if (errno != ECONNREFUSED)
		return err_sys(err, -errno, "probe '%s'", path);
	return unlink(path) < 0 ? err_sys(err, -errno, "remove '%s'", path) : 0;
}

int unix_listen(const char *path, int backlog, struct unix_listener *ret, struct err *err)
{
	AUTO_CLOSE int lock_fd = -1;
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address;
	struct stat status;
	int r;

	r = fill_address(path, &address, err);
	if (r < 0)
		return r;
	lock_fd = take_lock(path, err);
	if (lock_fd < 0)
		return lock_fd;
	r = clear_path(path, &address, err);
	if (r < 0)
		return r;

	fd = new_socket();
	if (fd < 0)
		return err_sys(err, fd, "make a socket");
	/* The mode of the socket file is that of the descriptor; umask() would be shared by
	 * threads. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    lstat(path, &status) < 0)
		return err_sys(err, -errno, "bind '%s'", path);
	if ((status.st_mode & 0777) != 0600 && chmod(path, 0600) < 0)
		return err_sys(err, -errno, "protect '%s'", path);
	if (listen(fd, backlog) < 0)
		return err_sys(err, -errno, "listen on '%s'", path);

	*ret = (struct unix_listener){
		.fd = TAKE_FD(fd),
		.lock_fd = TAKE_FD(lock_fd),
		.path = mem_strdup(path),
		.device = status.st_dev,
		.inode = status.st_ino,
	};
	return 0;
}

void unix_listener_done(struct unix_listener *listener)
{
	struct stat status;

	/* Inode numbers are used again: only while the lock is ours can an equal one be our socket.
	 */
	if (listener->path && listener->lock_fd >= 0 && lstat(listener->path, &status) == 0 &&
	    status.st_dev == listener->device && status.st_ino == listener->inode)
		(void)unlink(listener->path);
	fd_close(listener->fd);
	fd_close(listener->lock_fd);
	mem_free(listener->path);
	*listener = UNIX_LISTENER_INIT;
}

/* A Unix socket whose queue is full refuses with EAGAIN, and cannot be polled for room. */
static int connect_until(int fd, const struct sockaddr_un *address, const struct cancel *cancel,
			 uint64_t deadline_ns)
{
	int r;

	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		r = cancel_poll(cancel, -1, 0, clock_now_ns() + CONNECT_PAUSE_NS);
		if (r != -ETIMEDOUT)
			return r;
	}
	return 0;
}

int unix_connect_until(const char *path, const struct cancel *cancel, uint64_t deadline_ns,
		       int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address;
	int r;

	r = fill_address(path, &address, err);
	if (r < 0)
		return r;
	fd = new_socket();
	r = fd < 0 ? fd : fd_set_nonblocking(fd, true);
	if (r < 0)
		return err_sys(err, r, "make a socket");
	r = connect_until(fd, &address, cancel, deadline_ns);
	if (r == 0)
		r = fd_set_nonblocking(fd, false);
	if (r == -ENOENT || r == -ECONNREFUSED) {
		(void)err_set(err, ERR_NOT_FOUND, "nobody listens on '%s'", path);
		return r;
	}
	if (r < 0)
		return err_sys(err, r, "connect to '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int unix_connect(const char *path, int *ret_fd, struct err *err)
{
	return unix_connect_until(path, NULL, UINT64_MAX, ret_fd, err);
}

int unix_peer_of(int fd, struct unix_peer *ret)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	*ret = (struct unix_peer){ .pid = credentials.pid,
				   .uid = credentials.uid,
				   .gid = credentials.gid };
	return 0;
}

/* One sendmsg() of what is left, with a descriptor unless that is -1. */
static ssize_t send_some(int fd, struct span data, int passed_fd, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	/* sendmsg() does not write to it, but the type is shared with recvmsg(). */
	struct iovec part = {
		.iov_base = (void *)(uintptr_t)data.ptr, // NOLINT(performance-no-int-to-ptr)
		.iov_len = data.len,
	};
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;

	if (passed_fd >= 0) {
		struct cmsghdr *header;

		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &passed_fd, sizeof(passed_fd));
	}
	do {
		n = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int unix_send_fd(int fd, struct span data, int passed_fd)
{
	/* The descriptor goes with the first byte, also where there is none. */
	do {
		const ssize_t n = send_some(fd, data, passed_fd, 0);

		if (n < 0)
			return (int)n;
		data = span_skip(data, (size_t)n);
		passed_fd = -1;
	} while (data.len > 0);
	return 0;
}

int unix_send_fd_until(int fd, struct span data, int passed_fd, uint64_t deadline_ns)
{
	do {
		ssize_t n = send_some(fd, data, passed_fd, MSG_DONTWAIT);

		if (n == -EAGAIN)
			n = cancel_poll(NULL, fd, POLLOUT, deadline_ns);
		else if (n >= 0) {
			data = span_skip(data, (size_t)n);
			passed_fd = -1;
		}
		if (n < 0)
			return (int)n;
	} while (data.len > 0);
	return 0;
}

/* Room for more than is ever sent (SCM_MAX_FD), so that what comes can be closed. */
#define PASSED_FDS_MAX 253

/* Takes the first descriptor of the message and closes all others: how many came. */
static size_t take_fds(struct msghdr *message, int *ret_fd)
{
	size_t count = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len;
		     at += sizeof(int)) {
			int passed;

			memcpy(&passed, CMSG_DATA(header) + at, sizeof(passed));
			if (count++ == 0)
				*ret_fd = passed;
			else
				fd_close(passed);
		}
	}
	return count;
}

ssize_t unix_recv_fd(int fd, void *into, size_t size, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * PASSED_FDS_MAX)];
	} control;
	struct iovec part = { .iov_base = into, .iov_len = size };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	AUTO_CLOSE int passed = -1;
	size_t count;
	ssize_t n;

	do {
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	count = take_fds(&message, &passed);
	if (count > 1 || (message.msg_flags & MSG_CTRUNC))
		return -EPROTO;
	*ret_fd = TAKE_FD(passed);
	return n;
}
