/* The RPC server with real sockets and threads: requests, progress, clients that leave. */
#include "rpc_fixture.h"

/* --- requests --------------------------------------------------------------------------------- */

static void test_calls(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	struct err err = ERR_INIT;

	(void)state;
	start_server();
	client = connect_client();
	for (uint64_t i = 0; i < 3; i++) {
		AUTO_JSON *params = json_new_object();
		AUTO_JSON *result = NULL;

		json_put_u64(params, "a", i);
		json_put_u64(params, "b", 40);
		json_put_str(params, "text", "\xc3\xa9\"\n");
		assert_int_equal(rpc_call(client, "add", TAKE_PTR(params), NULL, &result, &err), 0);
		CHECK_INT(json_get_u64(result, "sum"), i + 40);
		CHECK_STR(json_get_str(result, "text"), "\xc3\xa9\"\n");
		CHECK_STR(json_get_str(result, "method"), "add");
		CHECK_INT(json_get_u64(result, "connection"), 1);
		CHECK_INT(json_get_u64(result, "pid"), getpid());
		assert_true(json_get_bool(result, "context"));
	}
}

static void test_failures(void **state)
{
	static const struct {
		const char *method;
		const char *params;
		enum err_kind kind;
		const char *message;
		const char *hint;
	} rows[] = {
		{ "fail", NULL, ERR_BUSY, "'box' is taken", "wait" },
		{ "fail_silently", NULL, ERR_SYSTEM, "'fail_silently' failed: No space", "" },
		{ "ad", NULL, ERR_UNSUPPORTED, "unknown method 'ad'", "did you mean 'add'?" },
		{ "no\nsuch", NULL, ERR_UNSUPPORTED, "unknown method 'no", "" },
		{ "add", NULL, ERR_INVALID, "'a' is missing", "" },
		{ "add", "{\"a\":\"1\"}", ERR_INVALID, "'a' must be", "" },
		{ "add", "{\"a\":1001}", ERR_INVALID, "'a' must be", "" },
		{ "add", "{\"a\":-1}", ERR_INVALID, "'a' must be", "" },
		{ "add", "{\"a\":1.0}", ERR_INVALID, "'a' must be", "" },
		{ "add", "{\"a\":1,\"c\":1}", ERR_INVALID, "unknown field 'c'", "" },
		{ "fail", "{\"c\":1}", ERR_INVALID, "unknown field 'c'", "" },
	};
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	size_t fds;

	(void)state;
	start_server();
	fds = count_open_fds();
	client = connect_client();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *params = NULL;
		AUTO_JSON *result = NULL;
		struct err err = ERR_INIT;

		if (rows[i].params)
			CHECK_INT(json_read(span_str(rows[i].params), &params, &err), 0);
		CHECK_ROW(i, rpc_call(client, rows[i].method, TAKE_PTR(params), NULL, &result,
				      &err) < 0);
		CHECK_ROW(i, err.kind == rows[i].kind);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_STR(err.hint, rows[i].hint);
		assert_null(result);
		CHECK_ROW(i, rpc_client_fd(client) >= 0); /* the connection goes on */
	}
	CHECK_INT(atomic_load(&fixture.done), 0);
	rpc_client_freep(&client);
	rpc_server_stop(fixture.server);
	CHECK_INT(count_open_fds(), fds); /* what `fail` passed is closed, too */
}

/* After a frame that is refused the next one counts; answers carry the ids exactly. */
static void test_raw_frames(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *line = NULL;

	(void)state;
	start_server();
	fd = raw_connect();
	raw_expect(fd, "\n", -32700);
	raw_expect(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}\n", -32600);
	raw_expect(fd, "[" ADD("1", "1"), -32600);
	raw_expect(fd, "{}\n", -32600);
	raw_expect(fd, CALL("1", "nothing"), -32601);
	raw_expect(fd, CALL("1", "add"), -32602);
	raw_expect(fd, CALL("1", "fail"), -32000 - ERR_BUSY);
	raw_send(fd, ADD("9007199254740993", "1"));
	line = raw_line(fd);
	CHECK_HAS(line, "\"id\":9007199254740993,");
	raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":\"\\u00e9\\\"\",\"method\":\"fail\"}\n");
	mem_free(line);
	line = raw_line(fd);
	CHECK_HAS(line, "\"id\":\"\xc3\xa9\\\"\",");
	CHECK_HAS(line, "\"data\":{\"kind\":\"busy\",\"errno\":0,\"hint\":\"wait\"}");
}

/* Requests that come before the answers are read are answered in order, the last ones after a
 * half-close. */
static void test_pipelining_and_half_close(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_BUF many = BUF_INIT;

	(void)state;
	start_server();
	fd = raw_connect();
	for (unsigned i = 0; i < 200; i++)
		buf_addf(&many,
			 "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"add\",\"params\":{\"a\":%u}}"
			 "\n",
			 i, i);
	buf_add_str(&many, "{\"jsonrpc\":\"2.0\",\"id\":"); /* never ended */
	raw_send(fd, many.ptr);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (unsigned i = 0; i < 200; i++) {
		AUTO_FREE char *line = raw_line(fd);
		AUTO_FREE char *wanted =
			mem_printf("{\"jsonrpc\":\"2.0\",\"id\":%u,\"result\":{\"sum\":%u,", i, i);

		CHECK_HAS(line, wanted);
	}
	raw_expect_end(fd);
}

/* --- progress --------------------------------------------------------------------------------- */

struct seen {
	int first;
	int second;
	bool has_end;
	struct cancel *cancel; /* fired at the first report, if set */
};

static void see_progress(void *context, const struct progress_event *event)
{
	struct seen *seen = context;

	seen->first += str_eq(event->stage, "first") && str_eq(event->detail, "d");
	seen->second += str_eq(event->stage, "second") && !event->detail;
	seen->has_end = seen->has_end || (event->total > 0 && event->done == event->total);
	if (seen->cancel)
		cancel_fire(seen->cancel);
}

static void observe(void *context, const struct progress_event *event)
{
	(void)event;
	atomic_fetch_add(&((struct fixture *)context)->observed, 1);
}

static int around(void *context, struct rpc_call *call, const struct rpc_method *method,
		  const void *params, json_t *result, struct err *err)
{
	const struct progress observer = { .report = observe, .context = context };
	int r;

	rpc_call_observe(call, &observer);
	r = method->handler(call, params, result, err);
	json_put_str(result, "around", method->name);
	return r;
}

static void test_progress(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	struct seen seen = { 0 };
	const struct progress progress = { .report = see_progress, .context = &seen };
	const struct rpc_options options = { .progress = &progress };
	struct err err = ERR_INIT;
	const uint64_t begin = clock_now_ms();

	(void)state;
	fixture.config.around = around;
	start_server();
	client = connect_client();
	assert_int_equal(rpc_call(client, "progress", NULL, &options, &result, &err), 0);
	CHECK_STR(json_get_str(result, "around"), "progress");
	CHECK_INT(atomic_load(&fixture.observed), 101001);
	assert_true(seen.has_end);
	assert_true(seen.first >= 2 && seen.second >= 1);
	/* Ten a second, and the first and the last. */
	assert_true((uint64_t)(seen.first + seen.second) <= (clock_now_ms() - begin) / 100 + 3);
}

/* --- clients that leave ----------------------------------------------------------------------- */

static void test_hang_up_cancels(void **state)
{
	AUTO_CLOSE int fd = -1;

	(void)state;
	start_server();
	fd = raw_connect();
	raw_send(fd, CALL("1", "wait") ADD("2", "1"));
	wait_begun();
	fd_closep(&fd);
	wait_for(&fixture.cancelled, 1);
	/* What was sent after it is not begun any more. */
	rpc_server_stop(fixture.server);
	CHECK_INT(atomic_load(&fixture.done), 0);
}

static void test_half_close_does_not_cancel(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int other = -1;

	(void)state;
	start_server();
	fd = raw_connect();
	raw_send(fd, CALL("1", "wait"));
	wait_begun();
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	/* Whatever the watcher makes of it, it has seen it when it has accepted another client. */
	other = raw_connect();
	raw_expect(other, ADD("1", "1"), 0);
	CHECK_INT(atomic_load(&fixture.cancelled), 0);
	/* The other half: now the peer is gone. */
	assert_int_equal(shutdown(fd, SHUT_RD), 0);
	wait_for(&fixture.cancelled, 1);
}

static void test_client_cancels(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	struct cancel cancel = CANCEL_INIT;
	const struct rpc_options options = { .cancel = &cancel };
	struct err err = ERR_INIT;

	(void)state;
	start_server();
	client = connect_client();
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_true(rpc_call(client, "wait", NULL, &options, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	CHECK_INT(rpc_client_fd(client), -1);
	assert_true(rpc_call(client, "add", NULL, NULL, &result, &err) < 0);
	CHECK_INT(err.kind, ERR_BAD_STATE);
	cancel_done(&cancel);
	/* It began or it did not: nothing runs on. */
	rpc_server_stop(fixture.server);
	CHECK_INT(rpc_server_client_count(fixture.server), 0);
}

static void leave_hook(int fd, const char *digit)
{
	AUTO_FREE char *frame = mem_printf("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hook\","
					   "\"params\":{\"bytes\":%s}}\n",
					   digit);

	raw_expect(fd, frame, 0);
}

static void test_close_hooks(void **state)
{
	AUTO_CLOSE int fd = -1;

	(void)state;
	start_server();
	fd = raw_connect();
	leave_hook(fd, "1");
	leave_hook(fd, "2");
	/* However often: no place is taken again. */
	for (int i = 0; i < 2 * RPC_CLOSE_HOOKS_MAX; i++)
		leave_hook(fd, "1");
	raw_send(fd, CALL("1", "wait"));
	wait_begun();
	CHECK_INT(atomic_load(&fixture.hooks_run), 0);
	fd_closep(&fd);
	wait_for(&fixture.hooks_run, 2);
	CHECK_INT(atomic_load(&fixture.cancelled), 1); /* the request first */
	CHECK_INT(atomic_load(&fixture.hook_order), 21);
	CHECK_INT(atomic_load(&fixture.hooks_stopping), 0);
}

static void test_close_hooks_wait_for_the_other_half(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int other = -1;

	(void)state;
	start_server();
	fd = raw_connect();
	other = raw_connect();
	leave_hook(fd, "3");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	raw_expect(other, ADD("1", "1"), 0);
	raw_expect(other, ADD("1", "1"), 0);
	CHECK_INT(atomic_load(&fixture.hooks_run), 0);
	fd_closep(&fd);
	wait_for(&fixture.hooks_run, 1);
}

static void test_stop(void **state)
{
	AUTO_CLOSE int waiting = -1;
	AUTO_CLOSE int hooked = -1;
	AUTO_CLOSE int deaf = -1;

	(void)state;
	start_server();
	waiting = raw_connect();
	hooked = raw_connect();
	deaf = raw_connect();
	leave_hook(hooked, "4");
	raw_send(waiting, CALL("1", "wait"));
	wait_begun();
	raw_send(deaf, CALL("1", "wait"));
	wait_begun();
	rpc_server_stop(fixture.server);
	CHECK_INT(atomic_load(&fixture.cancelled), 2);
	CHECK_INT(atomic_load(&fixture.hooks_stopping), 1);
	CHECK_INT(rpc_server_client_count(fixture.server), 0);
	raw_expect(waiting, NULL, -32000 - ERR_CANCELLED); /* told before the end */
	raw_expect_end(waiting);
	rpc_server_stop(fixture.server); /* once more is nothing */
}

static void test_discover(void **state)
{
	CLEANUP(rpc_client_freep) struct rpc_client *client = NULL;
	AUTO_JSON *result = NULL;
	AUTO_BUF first = BUF_INIT;
	struct err err = ERR_INIT;
	const json_t *list;

	(void)state;
	fixture.config.around = around;
	start_server();
	client = connect_client();
	assert_int_equal(rpc_call(client, "rpc.discover", NULL, NULL, &result, &err), 0);
	list = json_object_get(result, "methods");
	CHECK_INT(json_array_size(list), RPC_FIXTURE_METHODS + 1);
	json_write(json_array_get(list, 0), &first);
	CHECK_STR(first.ptr,
		  "{\"name\":\"add\",\"summary\":\"add numbers\",\"params\":["
		  "{\"name\":\"a\",\"type\":\"integer\",\"required\":true,\"meaning\":\"first\"},"
		  "{\"name\":\"b\",\"type\":\"integer\",\"required\":false,\"meaning\":\"second\"},"
		  "{\"name\":\"text\",\"type\":\"string\",\"required\":false,\"meaning\":"
		  "\"echoed\"}],"
		  "\"result\":[{\"name\":\"sum\",\"type\":\"integer\",\"meaning\":\"a + b\"}],"
		  "\"mutates\":false,\"descriptor\":false}");
	CHECK_STR(json_get_str(json_array_get(list, RPC_FIXTURE_METHODS), "name"), "rpc.discover");
	assert_true(json_get_bool(json_array_get(list, 1), "mutates"));
	assert_true(json_get_bool(json_array_get(list, 4), "descriptor"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_calls),
		TEST(test_failures),
		TEST(test_raw_frames),
		TEST(test_pipelining_and_half_close),
		TEST(test_progress),
		TEST(test_hang_up_cancels),
		TEST(test_half_close_does_not_cancel),
		TEST(test_client_cancels),
		TEST(test_close_hooks),
		TEST(test_close_hooks_wait_for_the_other_half),
		TEST(test_stop),
		TEST(test_discover),
	};

	return cmocka_run_group_tests_name("rpc_server", tests, NULL, NULL);
}
