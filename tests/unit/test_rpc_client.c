/* The RPC client against daemons that lie, die or are not there; and the probe. */
#include "rpc_fixture.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/limits.h"

/* --- a daemon that answers with given bytes ----------------------------------------------------
 */

static const struct {
	const char *answer; /* what it sends before it closes; the request has id 1 */
	enum err_kind kind; /* ERR_NONE: a result */
	const char *message;
	bool is_usable_after;
} rows[] = {
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", ERR_NONE, "", true },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"id\":1,\"stage\":\"a\"}}\n"
	  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
	  ERR_NONE, "", true },
	{ "{\"method\":\"progress\"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", ERR_NONE, "",
	  true },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32006,\"message\":\"taken\","
	  "\"data\":{\"kind\":\"busy\",\"errno\":0,\"hint\":\"\"}}}\n",
	  ERR_BUSY, "taken", true },
	{ "", ERR_SYSTEM, "the daemon went away before it answered 'x'", false },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", ERR_SYSTEM, "went away", false },
	{ "garbage\n", ERR_PROTOCOL, "the daemon's answer to 'x': JSON", false },
	{ "{\"id\":1,\"id\":1,\"result\":{}}\n", ERR_PROTOCOL, "JSON", false },
	{ "[]\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":1}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":2,\"result\":{}}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":\"1\",\"result\":{}}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":1.0,\"result\":{}}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":1,\"result\":[]}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":1,\"result\":{},\"error\":{}}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":1,\"error\":\"no\"}\n", ERR_PROTOCOL, "no JSON-RPC reply", false },
	{ "{\"id\":null,\"error\":{\"code\":-32007,\"message\":\"all in use\","
	  "\"data\":{\"kind\":\"limit\"}}}\n",
	  ERR_LIMIT, "all in use", false },
	{ "{\"id\":1,\"result\":{\"descriptor\":true}}\n", ERR_PROTOCOL, "lacks a descriptor",
	  false },
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
		AUTO_JSON *result = NULL;
		struct err err = ERR_INIT;
		int ends[2], r;

		assert_int_equal(fd_socketpair(ends), 0);
		client = rpc_client_of(ends[0]);
		raw_send(ends[1], rows[i].answer);
		assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
		r = rpc_call(client, "x", NULL, NULL, &result, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].kind == ERR_NONE));
		CHECK_ROW(i, err.kind == rows[i].kind);
		CHECK_ROW(i, (result != NULL) == (r == 0));
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, (rpc_client_fd(client) >= 0) == rows[i].is_usable_after);
		fd_close(ends[1]);
	}
}

static void test_unexpected_descriptor(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const size_t fds = count_open_fds();
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	client = rpc_client_of(ends[0]);
	assert_int_equal(unix_send_fd(ends[1], span_str("{\"id\":1,\"result\":{}}\n"), 0), 0);
	assert_true(rpc_call(client, "x", NULL, NULL, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_HAS(err.message, "carries a descriptor that it does not announce");
	fd_close(ends[1]);
	rpc_client_freep(&client);
	CHECK_INT(count_open_fds(), fds);
}

static void test_endless_answer(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	AUTO_BUF flood = BUF_INIT;
	pid_t writer;
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	client = rpc_client_of(ends[0]);
	writer = fork();
	assert_true(writer >= 0);
	if (writer == 0) {
		fd_close(ends[0]);
		for (size_t i = 0; i < 65536; i++)
			buf_add_byte(&flood, ' ');
		while (send(ends[1], flood.ptr, flood.len, MSG_NOSIGNAL) > 0)
			;
		_exit(0);
	}
	fd_close(ends[1]);
	assert_true(rpc_call(client, "x", NULL, NULL, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_HAS(err.message, "over 16777216 bytes");
	rpc_client_freep(&client); /* ends the flood */
	assert_int_equal(waitpid(writer, NULL, 0), writer);
}

static void test_timeout(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	const struct rpc_options options = { .timeout_ms = 20 };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	client = rpc_client_of(ends[0]);
	assert_true(rpc_call(client, "x", NULL, &options, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_TIMEOUT);
	CHECK_INT(rpc_client_fd(client), -1);
	fd_close(ends[1]);
}

/* Refused before a byte is sent, so the connection is as good as before. */
static void test_request_over_the_limit(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	const char *const around = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":"
				   "{\"t\":\"\"}}";
	AUTO_FREE char *text = mem_alloc(LIMIT_RPC_FRAME_BYTES + 1, 1);
	AUTO_JSON *params = json_new_object();
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	client = rpc_client_of(ends[0]);
	memset(text, 'x', LIMIT_RPC_FRAME_BYTES + 1 - strlen(around));
	json_put_str(params, "t", text);
	assert_true(rpc_call(client, "x", TAKE_PTR(params), NULL, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	assert_true(rpc_client_fd(client) >= 0);
	CHECK_INT(cancel_poll(NULL, ends[1], POLLIN, 0), -ETIMEDOUT);
	fd_close(ends[1]);
}

/* --- who is there ------------------------------------------------------------------------------
 */

static int handle_ping(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	(void)call;
	(void)params;
	(void)err;
	json_put_str(result, "version", "1.2.3");
	return 0;
}

static const struct rpc_method ping_method[] = {
	{ .name = "ping", .summary = "answer", .handler = handle_ping },
};

static enum rpc_presence probe(const char *path, uint64_t timeout_ms)
{
	enum rpc_presence presence = RPC_ALIVE;
	AUTO_JSON *ping = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(rpc_probe(path, timeout_ms, &presence, &ping, &err), 0);
	CHECK_INT(err.kind, ERR_NONE);
	CHECK_INT(ping != NULL, presence == RPC_ALIVE);
	if (ping)
		CHECK_STR(json_get_str(ping, "version"), "1.2.3");
	return presence;
}

static void test_probe(void **state)
{
	AUTO_FREE char *missing = mem_printf("%s/no/such", fixture.folder);
	AUTO_FREE char *file = mem_printf("%s/file", fixture.folder);
	AUTO_FREE char *below_file = mem_printf("%s/file/sock", fixture.folder);
	AUTO_FREE char *stale = mem_printf("%s/stale", fixture.folder);
	struct unix_listener dead = UNIX_LISTENER_INIT;
	struct err err = ERR_INIT;
	uint64_t begin;

	(void)state;
	CHECK_INT(probe(missing, 1000), RPC_ABSENT);
	fd_close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	CHECK_INT(probe(file, 1000), RPC_STALE);
	CHECK_INT(probe(below_file, 1000), RPC_ABSENT);

	/* A daemon that was killed leaves its socket behind. */
	assert_int_equal(unix_listen(stale, 1, &dead, &err), 0);
	fd_closep(&dead.fd);
	CHECK_INT(probe(stale, 1000), RPC_STALE);
	unix_listener_done(&dead);
	(void)unlink(file);
	mem_free(file);
	file = mem_printf("%s.lock", stale);
	(void)unlink(file);

	/* The fixture listens, and nobody accepts. */
	begin = clock_now_ms();
	CHECK_INT(probe(fixture.path, 50), RPC_SILENT);
	assert_true(clock_now_ms() - begin >= 49);

	fixture.config.methods = ping_method;
	fixture.config.method_count = 1;
	start_server();
	CHECK_INT(probe(fixture.path, PATIENCE_MS), RPC_ALIVE);
}

static void *hang_up(void *context)
{
	struct unix_listener *listener = context;
	const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

	fd_closep(&listener->fd);
	fd_close(fd);
	return NULL;
}

/* A daemon that dies with our ping in its hands: there is none, rather than one that is silent. */
static void test_probe_of_a_dying_daemon(void **state)
{
	AUTO_FREE char *path = mem_printf("%s/dying", fixture.folder);
	AUTO_FREE char *lock = mem_printf("%s.lock", path);
	struct unix_listener listener = UNIX_LISTENER_INIT;
	struct err err = ERR_INIT;
	pthread_t thread;

	(void)state;
	assert_int_equal(unix_listen(path, 4, &listener, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, hang_up, &listener), 0);
	CHECK_INT(probe(path, PATIENCE_MS), RPC_STALE);
	(void)pthread_join(thread, NULL);
	unix_listener_done(&listener);
	(void)unlink(lock);
}

/* A daemon that does not accept and whose backlog is full: neither probe nor connect wait for ever.
 */
static void test_full_backlog(void **state)
{
	AUTO_FREE char *path = mem_printf("%s/full", fixture.folder);
	AUTO_FREE char *lock = mem_printf("%s.lock", path);
	struct unix_listener listener = UNIX_LISTENER_INIT;
	struct err err = ERR_INIT;
	int first = -1;

	(void)state;
	assert_int_equal(unix_listen(path, 0, &listener, &err), 0);
	assert_int_equal(unix_connect(path, &first, &err), 0);
	CHECK_INT(probe(path, 30), RPC_SILENT);
	fd_close(first);
	unix_listener_done(&listener);
	(void)unlink(lock);
}

static void test_no_daemon(void **state)
{
	AUTO_FREE char *missing = mem_printf("%s/none", fixture.folder);
	AUTO_FREE char *long_path = mem_printf("/tmp/%0110d", 0);
	struct rpc_client *client = NULL;
	enum rpc_presence presence = RPC_ALIVE;
	struct err err = ERR_INIT;

	(void)state;
	assert_true(rpc_connect(missing, &client, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_true(rpc_connect(long_path, &client, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	assert_true(rpc_probe(long_path, 10, &presence, NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	assert_null(client);
}

/* A daemon that is full is alive: its words are the answer, not "dead". */
static void test_probe_of_a_full_daemon(void **state)
{
	AUTO_CLOSE int other = -1;
	enum rpc_presence presence = RPC_ABSENT;
	struct err err = ERR_INIT;

	(void)state;
	fixture.config.clients_max = 1;
	start_server();
	other = raw_connect();
	assert_true(rpc_probe(fixture.path, PATIENCE_MS, &presence, NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_HAS(err.message, "all 1 connections are in use");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_unexpected_descriptor),
		cmocka_unit_test(test_endless_answer),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_request_over_the_limit),
		TEST(test_probe),
		TEST(test_probe_of_a_dying_daemon),
		TEST(test_full_backlog),
		TEST(test_no_daemon),
		TEST(test_probe_of_a_full_daemon),
	};

	return cmocka_run_group_tests_name("rpc_client", tests, NULL, NULL);
}
