/* A real RPC server on a Unix socket in a temporary folder, and a raw peer to break its rules with.
 */
#pragma once

#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define PATIENCE_MS 20000 /* before a test that waits for something gives up */

struct fixture {
	char folder[64];
	char path[96];
	struct unix_listener listener;
	struct rpc_server_config config;
	struct rpc_server *server;

	/* What handlers and callbacks saw. */
	int begun_fd;	       /* eventfd: a handler that waits has begun */
	_Atomic int cancelled; /* handlers that were cancelled while they waited */
	_Atomic int done;      /* requests handled */
	_Atomic int hooks_run;
	_Atomic int hooks_stopping;
	_Atomic int hook_order; /* decimal digits in the order of running */
	_Atomic int observed;
	_Atomic int events[RPC_EVENT_NO_RESOURCES + 1];
	char refusal[128]; /* the last text of RPC_EVENT_REFUSED_PEER; written before it is counted
			    */
};

extern struct fixture fixture;

/* add, fail, fail_silently, wait, pass, progress, big, chatter, hook */
#define RPC_FIXTURE_METHODS 9

int rpc_fixture_setup(void **state);
int rpc_fixture_teardown(void **state);

/* Starts the server with fixture.config, which a test may have changed after the setup. */
void start_server(void);
void wait_client_count(size_t wanted);

static inline uint64_t patience(void)
{
	return clock_now_ns() + PATIENCE_MS * NSEC_PER_MSEC;
}

/* Waits until `*counter` is at least `wanted`; what it waits for has no descriptor to poll. */
static inline void wait_for(_Atomic int *counter, int wanted)
{
	const uint64_t deadline = patience();

	while (atomic_load(counter) < wanted && clock_now_ns() < deadline)
		(void)poll(NULL, 0, 1);
	assert_true(atomic_load(counter) >= wanted);
}

static inline void wait_begun(void)
{
	uint64_t count;

	assert_true(cancel_poll(NULL, fixture.begun_fd, POLLIN, patience()) > 0);
	assert_int_equal(read(fixture.begun_fd, &count, sizeof(count)), sizeof(count));
}

static inline int raw_connect(void)
{
	struct err err = ERR_INIT;
	int fd = -1;

	assert_int_equal(unix_connect(fixture.path, &fd, &err), 0);
	return fd;
}

static inline void raw_send(int fd, const char *text)
{
	assert_int_equal(fd_write_all(fd, span_str(text)), 0);
}

/* One line without its newline, or NULL at the end of the stream. Byte by byte: for short answers.
 */
static inline char *raw_line(int fd)
{
	AUTO_BUF line = BUF_INIT;
	char byte;

	for (;;) {
		ssize_t n;

		assert_true(cancel_poll(NULL, fd, POLLIN, patience()) > 0);
		n = fd_read_some(fd, &byte, 1);
		if (n <= 0)
			return NULL;
		if (byte == '\n')
			return buf_detach(&line);
		buf_add_byte(&line, (uint8_t)byte);
	}
}

/* Sends a frame and compares the code of the error that comes, 0 for a result. */
static inline void raw_expect(int fd, const char *frame, int code)
{
	AUTO_FREE char *line = NULL;
	AUTO_JSON *answer = NULL;
	struct err err = ERR_INIT;

	if (frame)
		raw_send(fd, frame);
	line = raw_line(fd);
	assert_non_null(line);
	assert_int_equal(json_read(span_str(line), &answer, &err), 0);
	CHECK_INT(json_integer_value(json_object_get(json_object_get(answer, "error"), "code")),
		  code);
}

/* The peer closes without a further byte. */
static inline void raw_expect_end(int fd)
{
	AUTO_FREE char *line = raw_line(fd);

	assert_null(line);
}

static inline struct rpc_client *connect_client(void)
{
	struct rpc_client *client = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(rpc_connect(fixture.path, &client, &err), 0);
	return client;
}

static inline size_t count_open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

#define CALL(id, method) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\"}\n"
#define ADD(id, a) \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"add\",\"params\":{\"a\":" a "}}\n"
