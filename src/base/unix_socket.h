/*
 * Unix stream sockets: claiming a path safely, connecting with a deadline, credentials,
 * descriptors. Claiming: lock file, probe whether somebody lives there, bind under umask 077,
 * remember the inode, and unlink only what is still ours.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct unix_listener {
	int fd;	      /* owned */
	int lock_fd;  /* owned; holds the lock file */
	char *path;   /* owned */
	dev_t device; /* of the socket that we bound */
	ino_t inode;
};

#define UNIX_LISTENER_INIT ((struct unix_listener){ .fd = -1, .lock_fd = -1 })

/*
 * Listens on `path`, mode 0600. ERR_BUSY when another process listens there; ERR_EXISTS when
 * something that is no socket of ours is in the way (it is never removed); ERR_LIMIT when the path
 * is over 107 bytes.
 */
int unix_listen(const char *path, int backlog, struct unix_listener *ret, struct err *err)
	MUST_CHECK;

/* Closes, and unlinks the path if it is still our socket. */
void unix_listener_done(struct unix_listener *listener);

/* Connects; the fd is blocking and close-on-exec. ERR_NOT_FOUND when nothing is or nobody listens
 * there. */
int unix_connect(const char *path, int *ret_fd, struct err *err) MUST_CHECK;

/*
 * The same, but gives up at `deadline_ns` (CLOCK_BOOTTIME, UINT64_MAX for none) or when `cancel`
 * (may be NULL) fires: a listener that hangs lets its queue fill up.
 */
int unix_connect_until(const char *path, const struct cancel *cancel, uint64_t deadline_ns,
		       int *ret_fd, struct err *err) MUST_CHECK;

struct unix_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
int unix_peer_of(int fd, struct unix_peer *ret) MUST_CHECK;

/* Sends all of `data`, with `passed_fd` (-1 for none) on its first byte. -errno. */
int unix_send_fd(int fd, struct span data, int passed_fd) MUST_CHECK;

/* The same, but -ETIMEDOUT when `deadline_ns` (CLOCK_BOOTTIME) comes before all has been taken. */
int unix_send_fd_until(int fd, struct span data, int passed_fd, uint64_t deadline_ns) MUST_CHECK;

/*
 * Receives at most `size` bytes. At most one descriptor is taken, into *ret_fd (-1 when none came);
 * more than one, or truncated ancillary data, closes all and is -EPROTO. Bytes or -errno.
 */
ssize_t unix_recv_fd(int fd, void *into, size_t size, int *ret_fd) MUST_CHECK;
