/* A Firecracker that answers with given bytes, as a child process on a socket in a temporary
 * folder. */
#pragma once

#include "check.h"

#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "vmm/fc_client.h"

#define PATIENCE_MS 20000

struct vmm_fixture {
	char folder[64];
	char socket_path[96];
	struct unix_listener listener;
};

void vmm_fixture_init(struct vmm_fixture *fixture);

/* Removes the folder and all that is in it; fails the test when a child is left. */
void vmm_fixture_done(struct vmm_fixture *fixture);

/* Reads one HTTP request with its body from a connection, and appends it. */
void vmm_fixture_read_request(int fd, struct buf *ret);

/*
 * Forks a server for one connection: it reads the request, writes it to a pipe (*ret_request_fd,
 * the caller's), sends `answer`, and repeats `filler` (NULL: none) until the peer goes. It keeps
 * the connection open until the peer closes if `stays_open`.
 */
pid_t vmm_fixture_serve(const struct vmm_fixture *fixture, const char *answer, const char *filler,
			bool stays_open, int *ret_request_fd);

/* The end of that server, and the request that it read. */
char *vmm_fixture_end(pid_t server, int request_fd);
