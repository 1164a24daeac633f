/*
 * The agent's supervisor: one poll loop over every way in, and a process for each connection, so
 * that nothing a request does can take the agent along. It has no way to end of its own accord once
 * init has started it: an agent that dies is a VM that nobody can reach.
 */
#pragma once

#include <stdbool.h>

#include "agent/state.h"
#include "base/err.h"
#include "base/macros.h"

#define SERVER_PROCESSES_MAX 512 /* connections at a time; a mux has up to 1024 streams */

struct server_options {
	struct agent_state *state; /* borrowed */
	bool has_vsock;		   /* listen on vsock port 1024, where the kernel has vsock */
	bool has_port;		   /* serve the virtio-serial port, as soon as there is one */
	const char *unix_path;	   /* borrowed: listen on this Unix socket too; NULL: no */
	bool ends_on_signal;	   /* SIGTERM and SIGINT end it: not under init */
};

/*
 * Serves until a signal ends it (0), or for ever. ERR_* only when nothing could be set up at all;
 * failures of one way in are retried.
 */
int server_run(const struct server_options *options, struct err *err) MUST_CHECK;
