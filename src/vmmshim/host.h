/*
 * What banger-vmm opens on its host for the client: regular files, TAP devices, fresh sockets.
 * Errors carry Firecracker's "No such file or directory (os error 2)" ending.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/unix_socket.h"

/*
 * Opens a regular file, or a block device where `may_be_block`. Never blocks on a FIFO. Returns the
 * descriptor; on failure the message is only the reason.
 */
int host_open_file(const char *path, bool is_writable, bool may_be_block, struct err *err)
	MUST_CHECK;

/* Whether an open descriptor is a block device. */
bool host_is_block(int fd);

/*
 * Opens a TAP device by name, with a virtio-net header; it comes into being when it does not exist
 * and we may. Returns the descriptor.
 */
int host_open_tap(const char *name, struct err *err) MUST_CHECK;

/* Listens on a path where nothing is yet: as in Firecracker, a leftover is the caller's to remove.
 */
int host_listen(const char *path, int backlog, struct unix_listener *ret, struct err *err)
	MUST_CHECK;

/* Closes and removes the socket and the lock file beside it. */
void host_listener_done(struct unix_listener *listener);
