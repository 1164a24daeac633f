/*
 * A command in the guest, over a stream to its agent: guest_exec_start(), then guest_exec_run()
 * until the command has ended. Memory is constant whatever the command writes: one frame is in
 * flight in each direction, and what our own output cannot take is not read from the stream.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

struct guest_exec {
	char *const *argv; /* NULL-terminated, at least one; any bytes; NULL: the login shell */
	char *const
		*env; /* NULL-terminated "NAME=VALUE", or NULL; any bytes; on top of the agent's */
	const char *cwd;  /* UTF-8, absolute; NULL: the user's home */
	const char *user; /* UTF-8; NULL: root */
	bool mise;	  /* through "mise exec" where the guest and the folder have it */
	bool tty;	  /* with a terminal of `rows` x `cols`; stderr comes as stdout */
	uint16_t rows;
	uint16_t cols;
};

/*
 * Sends the request, arguments and environment, and waits for the agent to have executed the
 * program. `fd` is a stream socket past CONNECT. ERR_NOT_FOUND: no such program, user or folder;
 * ERR_LIMIT: more than WIRE_ARGS_BYTES_MAX; otherwise as guest_call(). `ret_pid` (may be NULL) is
 * its pid in the guest.
 */
int guest_exec_start(int fd, const struct guest_exec *exec, const struct cancel *cancel,
		     uint64_t deadline_ns, uint32_t *ret_pid, struct err *err) MUST_CHECK;

struct guest_exec_io {
	int stdin_fd;  /* -1: the command's stdin ends at once, unless `read` is there */
	int stdout_fd; /* -1: what comes is dropped */
	int stderr_fd; /* -1: what comes is dropped */

	/* Bytes; 0: no limit. More output is ERR_LIMIT, more errors are dropped. */
	uint64_t stdout_max;
	uint64_t stderr_max;

	/*
	 * A signalfd, or -1. SIGWINCH sends the size of the terminal `window_fd`; any other signal
	 * is forwarded by its number. The caller blocks the signals, and leaves out those it wants
	 * itself.
	 */
	int signal_fd;
	int window_fd; /* a terminal, or -1 */

	const struct cancel *cancel; /* may be NULL */

	/*
	 * Instead of stdin_fd: at most `size` bytes, 0 at the end, < 0 with `err` to give it all
	 * up. It never waits long.
	 */
	ssize_t (*read)(void *context, void *into, size_t size, struct err *err);
	/* Told of each piece of stdin that the stream has been given; may be NULL. */
	void (*moved)(void *context, uint64_t bytes);
	void *context; /* borrowed */
};

struct guest_exec_status {
	int status;	 /* as a shell has it: 0 to 255, or 128 + signal number */
	int signal;	 /* 1 to 64 when a signal ended the command, else 0 */
	bool is_clamped; /* the agent's number was impossible; the nearest possible one is given */
};

/*
 * Pumps until the agent reports the end. Blocking descriptors are fine and stay as they are: none
 * is written to before poll() says so, and then at most PIPE_BUF bytes. `fd` is a stream socket.
 *
 * End of input, also by an error of stdin_fd, is passed on as end of input. When the reader of
 * stdout_fd is gone (EPIPE) the command is sent SIGPIPE once and its further output is dropped, so
 * that `banger vm exec box -- yes | head` ends as it does locally; a lost stderr is only dropped.
 * Another failure to write is an error. SIGPIPE must be ignored or blocked by the caller.
 *
 * ERR_PROTOCOL: the stream ended without EXIT, or a frame that may not come; ERR_BAD_STATE: the
 * agent gave up, with its escaped reason; ERR_CANCELLED. Frames after EXIT are not read.
 */
int guest_exec_run(int fd, const struct guest_exec_io *io, struct guest_exec_status *ret,
		   struct err *err) MUST_CHECK;
