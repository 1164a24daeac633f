/* Agents that misbehave: a child process at the other end of a socket, or bytes that lie ready in
 * it. */
#pragma once

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/span.h"
#include "check.h"

/* In a child there is no cmocka: it says what is wrong and fails as a process. */
#define CHILD_CHECK(condition)                                                               \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			(void)fprintf(stderr, "fake agent: %s:%d: %s\n", __FILE__, __LINE__, \
				      #condition);                                           \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

static inline uint64_t in_ms(uint64_t ms)
{
	return clock_now_ns() + ms * NSEC_PER_MSEC;
}

/* Long enough for a busy machine, short enough for a test that hangs. */
static inline uint64_t patience(void)
{
	return in_ms(20000);
}

/* A child that serves the other end of a new socket pair; the parent's end. */
static inline int fork_agent(void (*serve)(int fd, void *context), void *context, pid_t *ret_pid)
{
	int ends[2];
	pid_t pid;

	assert_int_equal(fd_socketpair(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)signal(SIGPIPE, SIG_IGN);
		fd_close(ends[0]);
		serve(ends[1], context);
		_exit(0);
	}
	fd_close(ends[1]);
	*ret_pid = pid;
	return ends[0];
}

static inline void reap_agent(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
}

/* One end of a pair whose other end has said `bytes` and nothing more; that end is *ret_peer. */
static inline int prepared_stream(struct span bytes, bool is_ended, int *ret_peer)
{
	const int size = 1024 * 1024;
	int ends[2];

	assert_int_equal(fd_socketpair(ends), 0);
	assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	if (bytes.len > 0)
		assert_int_equal(send(ends[1], bytes.ptr, bytes.len, MSG_DONTWAIT), bytes.len);
	if (is_ended)
		assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
	*ret_peer = ends[1];
	return ends[0];
}
