/* What clients of the RPC server may make grow, each at its limit and past it; and descriptors. */
#include "rpc_fixture.h"

#include <sys/resource.h>

#include "base/limits.h"

/* --- limits ----------------------------------------------------------------------------------- */

/* A request of exactly `size` bytes, filled with blanks. */
static char *sized_request(size_t size, bool has_newline)
{
	AUTO_BUF text = BUF_INIT;

	buf_add_str(&text,
		    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"a\":1}}");
	buf_reserve(&text, size - text.len + 1);
	memset(text.ptr + text.len, ' ', size - text.len);
	buf_advance(&text, size - text.len);
	if (has_newline)
		buf_add_byte(&text, '\n');
	return buf_detach(&text);
}

static void test_frame_limit(void **state)
{
	AUTO_FREE char *fits = sized_request(LIMIT_RPC_FRAME_BYTES, true);
	AUTO_FREE char *one_over = sized_request(LIMIT_RPC_FRAME_BYTES + 1, true);
	AUTO_FREE char *endless = sized_request(LIMIT_RPC_FRAME_BYTES + 1, false);
	AUTO_CLOSE int fd = -1;

	(void)state;
	start_server();
	fd = raw_connect();
	raw_expect(fd, fits, 0);
	raw_expect(fd, fits, 0);
	raw_expect(fd, one_over, -32600);
	raw_expect_end(fd);
	fd_assign(&fd, raw_connect());
	raw_expect(fd, endless, -32600);
	raw_expect_end(fd);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_DROPPED]), 2);
	CHECK_INT(atomic_load(&fixture.done), 2);
}

static void test_slow_peer(void **state)
{
	AUTO_CLOSE int slow = -1;
	AUTO_CLOSE int idle = -1;

	(void)state;
	fixture.config.frame_timeout_ms = 100;
	start_server();
	idle = raw_connect();
	slow = raw_connect();
	raw_send(slow, "{");
	/* More bytes do not buy more time. */
	for (size_t i = 0; i < 50; i++) {
		if (cancel_poll(NULL, slow, POLLIN, clock_now_ns() + 10 * NSEC_PER_MSEC) > 0)
			break;
		(void)send(slow, " ", 1, MSG_NOSIGNAL);
	}
	raw_expect(slow, NULL, -32600);
	raw_expect(idle, ADD("1", "1"), 0); /* an idle connection has all the time it wants */
	/* The rest of a frame that came with the one before starts its own clock. */
	raw_expect(idle, ADD("1", "1") "{", 0);
	raw_expect(idle, NULL, -32600);
	raw_expect_end(idle);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_DROPPED]), 2);
}

/* All `count` are served, side by side, and the next one is told why it is not. */
static void check_client_limit(size_t count)
{
	static int fds[512];
	AUTO_CLOSE int extra = -1;

	for (size_t i = 0; i < count; i++) {
		fds[i] = raw_connect();
		raw_expect(fds[i], ADD("1", "1"), 0);
	}
	CHECK_INT(rpc_server_client_count(fixture.server), count);
	extra = raw_connect();
	raw_expect(extra, NULL, -32000 - ERR_LIMIT);
	raw_expect_end(extra);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_REFUSED_FULL]), 1);

	/* A place that gets free is used again. */
	fd_close(fds[0]);
	wait_client_count(count - 1);
	fds[0] = raw_connect();
	raw_expect(fds[0], ADD("1", "1"), 0);
	for (size_t i = 0; i < count; i++)
		fd_close(fds[i]);
}

static void test_client_limit(void **state)
{
	(void)state;
	start_server();
	check_client_limit(LIMIT_RPC_CLIENTS);
}

static void test_300_connections(void **state)
{
	(void)state;
	fixture.config.clients_max = 300;
	start_server();
	check_client_limit(300);
}

static void test_hook_limit(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	struct err err = ERR_INIT;

	(void)state;
	start_server();
	client = connect_client();
	for (int i = 0; i <= RPC_CLOSE_HOOKS_MAX; i++) {
		AUTO_JSON *params = json_new_object();
		AUTO_JSON *result = NULL;
		int r;

		json_put_u64(params, "bytes", (uint64_t)i);
		r = rpc_call(client, "hook", TAKE_PTR(params), NULL, &result, &err);
		CHECK_INT(r == 0, i < RPC_CLOSE_HOOKS_MAX);
	}
	CHECK_INT(err.kind, ERR_LIMIT);
	rpc_client_freep(&client);
	wait_for(&fixture.hooks_run, RPC_CLOSE_HOOKS_MAX);
}

static void test_long_answers(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	/* {"jsonrpc":"2.0","id":1,"result":{"text":""}} and the newline around it. */
	static const struct {
		uint64_t bytes;
		enum err_kind kind;
	} rows[] = {
		{ 3 * 1024 * 1024, ERR_NONE },
		{ RPC_REPLY_BYTES_MAX - 46, ERR_NONE },
		{ RPC_REPLY_BYTES_MAX - 45, ERR_LIMIT },
	};

	(void)state;
	start_server();
	client = connect_client();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *params = json_new_object();
		AUTO_JSON *result = NULL;
		struct err err = ERR_INIT;

		json_put_u64(params, "bytes", rows[i].bytes);
		(void)!rpc_call(client, "big", TAKE_PTR(params), NULL, &result, &err);
		CHECK_ROW(i, err.kind == rows[i].kind);
		CHECK_ROW(i, (err.kind != ERR_NONE) == (json_object_get(result, "text") == NULL));
	}
}

/* A peer that asks for much and does not read is let go, and stops nobody else. */
static void test_peer_that_does_not_read(void **state)
{
	AUTO_CLOSE int deaf = -1;
	AUTO_CLOSE int other = -1;
	static const char *const request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\","
					   "\"params\":{\"bytes\":8000000}}\n";

	(void)state;
	fixture.config.send_timeout_ms = 100;
	start_server();
	deaf = raw_connect();
	other = raw_connect();
	raw_send(deaf, request);
	raw_expect(other, ADD("1", "1"), 0);
	wait_client_count(1);
}

/* A client that is suspended misses progress, not its answer. */
static void test_peer_that_reads_later(void **state)
{
	AUTO_CLOSE int suspended = -1;
	AUTO_CLOSE int other = -1;
	static const char *const request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"chatter\","
					   "\"params\":{\"bytes\":20000}}\n";
	size_t reports = 0;

	(void)state;
	fixture.config.send_timeout_ms = 1;
	start_server();
	suspended = raw_connect();
	other = raw_connect();
	raw_send(suspended, request);
	wait_for(&fixture.done, 1);
	for (int i = 0; i < 100; i++) /* far longer than an answer may take */
		raw_expect(other, ADD("1", "1"), 0);
	for (;;) {
		AUTO_FREE char *line = raw_line(suspended);

		assert_non_null(line);
		if (strstr(line, "\"result\""))
			break;
		reports++;
	}
	assert_true(reports > 10 && reports < 20000);
	raw_expect(suspended, ADD("2", "1"), 0);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void test_passing_a_descriptor(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	const struct rpc_options options = { .ret_fd = &fd };
	struct err err = ERR_INIT;
	char text[16] = { 0 };
	size_t fds;

	(void)state;
	start_server();
	fds = count_open_fds();
	client = connect_client();
	assert_int_equal(rpc_call(client, "pass", NULL, &options, &result, &err), 0);
	assert_true(json_get_bool(result, "descriptor"));
	CHECK_INT(fd_read_some(fd, text, sizeof(text) - 1), 7);
	CHECK_STR(text, "through");
	CHECK_INT(fd_read_some(fd, text, sizeof(text)), 0); /* no copy stays in the server */

	/* Who does not ask for it does not leak it. */
	for (size_t i = 0; i < 10; i++) {
		AUTO_JSON *ignored = NULL;

		assert_int_equal(rpc_call(client, "pass", NULL, NULL, &ignored, &err), 0);
	}
	rpc_client_freep(&client);
	fd_closep(&fd);
	rpc_server_stop(fixture.server);
	CHECK_INT(count_open_fds(), fds);
}

/* Sends a frame with `count` descriptors on it. */
static void send_with_fds(int fd, size_t count)
{
	static const char *const frame = ADD("1", "1");
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 253)];
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)frame, .iov_len = strlen(frame) };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (!header)
		abort();
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
	assert_true(sendmsg(fd, &message, MSG_NOSIGNAL) > 0);
}

static void test_descriptors_from_clients(void **state)
{
	static const size_t counts[] = { 1, 2, 253 };
	size_t fds;

	(void)state;
	start_server();
	fds = count_open_fds();
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		AUTO_CLOSE int fd = raw_connect();

		send_with_fds(fd, counts[i]);
		raw_expect(fd, NULL, -32600);
		raw_expect_end(fd);
	}
	CHECK_INT(count_open_fds(), fds);
	CHECK_INT(atomic_load(&fixture.done), 0);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_DROPPED]), ARRAY_LEN(counts));
}

/* Without descriptors the server says so to one peer, waits, and goes on when there are some again.
 */
static void test_out_of_descriptors(void **state)
{
	AUTO_CLOSE int before = -1;
	AUTO_CLOSE int refused = -1;
	AUTO_CLOSE int after = -1;
	struct rlimit normal, tight;
	AUTO_FREE char *line = NULL;

	(void)state;
	start_server();
	/* Accepted but idle: a request would open and close a descriptor of its own. */
	before = raw_connect();
	wait_client_count(1);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &normal), 0);
	tight = normal;
	refused = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	tight.rlim_cur = (rlim_t)refused + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	{
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);

		assert_int_equal(
			getsockname(fixture.listener.fd, (struct sockaddr *)&address, &size), 0);
		assert_int_equal(connect(refused, (struct sockaddr *)&address, size), 0);
	}
	line = raw_line(refused);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &normal), 0);
	CHECK_HAS(line, "\"errno\":24");
	raw_expect_end(refused);
	assert_true(atomic_load(&fixture.events[RPC_EVENT_NO_RESOURCES]) > 0);
	assert_true(atomic_load(&fixture.events[RPC_EVENT_NO_RESOURCES]) < 10);

	after = raw_connect();
	raw_expect(after, ADD("1", "1"), 0);
	raw_expect(before, ADD("1", "1"), 0);
}

static void allow_many_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2048) {
		limit.rlim_cur = limit.rlim_max < 2048 ? limit.rlim_max : 2048;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_frame_limit),
		TEST(test_slow_peer),
		TEST(test_client_limit),
		TEST(test_300_connections),
		TEST(test_hook_limit),
		TEST(test_long_answers),
		TEST(test_peer_that_does_not_read),
		TEST(test_peer_that_reads_later),
		TEST(test_passing_a_descriptor),
		TEST(test_descriptors_from_clients),
		TEST(test_out_of_descriptors),
	};

	allow_many_fds();
	return cmocka_run_group_tests_name("rpc_limits", tests, NULL, NULL);
}
