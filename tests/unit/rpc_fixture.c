#include "rpc_fixture.h"

#include <sys/eventfd.h>

struct fixture fixture;

/* --- the methods ------------------------------------------------------------------------------ */

struct add_params {
	uint64_t a;
	uint64_t b;
	char *text;
};

static const struct json_field add_fields[] = {
	{ "a", JSON_FIELD_U64, true, offsetof(struct add_params, a), 1000, "first" },
	{ "b", JSON_FIELD_U64, false, offsetof(struct add_params, b), 0, "second" },
	{ "text", JSON_FIELD_STRING, false, offsetof(struct add_params, text), 0, "echoed" },
};

static int handle_add(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct add_params *p = params;

	(void)err;
	json_put_u64(result, "sum", p->a + p->b);
	json_put_str(result, "text", p->text);
	json_put_str(result, "method", rpc_call_method(call));
	json_put_u64(result, "connection", rpc_call_connection(call));
	json_put_u64(result, "pid", (uint64_t)rpc_call_peer_pid(call));
	json_put_bool(result, "context", rpc_call_context(call) == &fixture);
	atomic_fetch_add(&fixture.done, 1);
	return 0;
}

static int handle_fail(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	int r;

	(void)call;
	(void)params;
	json_put_bool(result, "dropped", true);
	rpc_call_pass_fd(call, open("/dev/null", O_RDONLY | O_CLOEXEC));
	r = err_set(err, ERR_BUSY, "'%s' is taken", "box");
	err_hint(err, "wait");
	return r;
}

static int handle_fail_silently(struct rpc_call *call, const void *params, json_t *result,
				struct err *err)
{
	(void)call;
	(void)params;
	(void)result;
	(void)err;
	return -ENOSPC;
}

/* Until it is cancelled. */
static int handle_wait(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const uint64_t one = 1;
	int r;

	(void)params;
	(void)result;
	assert_int_equal(write(fixture.begun_fd, &one, sizeof(one)), sizeof(one));
	r = cancel_poll(rpc_call_cancel(call), -1, 0, patience());
	if (r == -ECANCELED)
		atomic_fetch_add(&fixture.cancelled, 1);
	return err_sys(err, r, "wait");
}

/* Until a byte comes on the test's pipe: unlike `wait`, whatever the client does. */
static int handle_pass(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	int ends[2];

	(void)params;
	(void)result;
	(void)err;
	assert_int_equal(fd_pipe(ends), 0);
	assert_int_equal(fd_write_all(ends[1], span_str("through")), 0);
	fd_close(ends[1]);
	rpc_call_pass_fd(call, open("/dev/null", O_RDONLY | O_CLOEXEC)); /* replaced */
	rpc_call_pass_fd(call, ends[0]);
	return 0;
}

static int handle_progress(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	const struct progress *progress = rpc_call_progress(call);

	(void)params;
	(void)result;
	(void)err;
	for (uint64_t i = 0; i <= 100000; i++)
		progress_report(progress, "first", "d", i, 100000);
	for (uint64_t i = 0; i < 1000; i++)
		progress_report(progress, "second", NULL, i, 0);
	return 0;
}

static int handle_chatter(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct add_params *p = params;

	(void)result;
	(void)err;
	/* Each is a stage of its own, so none is left out for coming too soon. */
	for (uint64_t i = 0; i < p->a; i++)
		progress_report(rpc_call_progress(call), i % 2 == 0 ? "even" : "odd", NULL, i, 0);
	atomic_fetch_add(&fixture.done, 1);
	return 0;
}

static int handle_big(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	const struct add_params *p = params;
	AUTO_FREE char *text = mem_alloc(p->a + 1, 1);

	(void)call;
	(void)err;
	memset(text, 'x', p->a);
	json_put_str(result, "text", text);
	return 0;
}

static const struct json_field big_fields[] = {
	{ "bytes", JSON_FIELD_U64, true, offsetof(struct add_params, a), 0, "how many" },
};

static void close_hook(void *context, uint64_t connection, bool is_stopping)
{
	assert_true(connection > 0);
	const int digit = *(const int *)context;

	atomic_store(&fixture.hook_order, atomic_load(&fixture.hook_order) % 1000 * 10 + digit);
	if (is_stopping)
		atomic_fetch_add(&fixture.hooks_stopping, 1);
	atomic_fetch_add(&fixture.hooks_run, 1);
}

static int handle_hook(struct rpc_call *call, const void *params, json_t *result, struct err *err)
{
	static const int digits[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	const struct add_params *p = params;

	(void)result;
	return rpc_call_on_close(call, close_hook, (void *)(uintptr_t)&digits[p->a % 10], err);
}

static const struct rpc_result_field add_results[] = { { "sum", "integer", "a + b" } };

static const struct rpc_method methods[RPC_FIXTURE_METHODS] = {
	{ .name = "add",
	  .summary = "add numbers",
	  .fields = add_fields,
	  .field_count = ARRAY_LEN(add_fields),
	  .params_size = sizeof(struct add_params),
	  .handler = handle_add,
	  .results = add_results,
	  .result_count = ARRAY_LEN(add_results) },
	{ .name = "fail", .summary = "fail", .handler = handle_fail, .flags = RPC_MUTATES },
	{ .name = "fail_silently", .summary = "fail", .handler = handle_fail_silently },
	{ .name = "wait", .summary = "wait", .handler = handle_wait },
	{ .name = "pass", .summary = "pass", .handler = handle_pass, .flags = RPC_PASSES_FD },
	{ .name = "progress", .summary = "report", .handler = handle_progress },
	{ .name = "big",
	  .summary = "a long answer",
	  .fields = big_fields,
	  .field_count = ARRAY_LEN(big_fields),
	  .params_size = sizeof(struct add_params),
	  .handler = handle_big },
	{ .name = "chatter",
	  .summary = "report much",
	  .fields = big_fields,
	  .field_count = ARRAY_LEN(big_fields),
	  .params_size = sizeof(struct add_params),
	  .handler = handle_chatter },
	{ .name = "hook",
	  .summary = "leave a hook",
	  .fields = big_fields,
	  .field_count = ARRAY_LEN(big_fields),
	  .params_size = sizeof(struct add_params),
	  .handler = handle_hook },
};

static void count_event(void *context, enum rpc_event event, const char *text)
{
	struct fixture *f = context;

	assert_true(text[0] != '\0');
	if (event == RPC_EVENT_REFUSED_PEER)
		(void)snprintf(f->refusal, sizeof(f->refusal), "%s", text);
	atomic_fetch_add(&f->events[event], 1);
}

int rpc_fixture_setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	fixture = (struct fixture){ .begun_fd = -1 };
	(void)snprintf(fixture.folder, sizeof(fixture.folder), "/tmp/test-rpc-XXXXXX");
	assert_non_null(mkdtemp(fixture.folder));
	(void)snprintf(fixture.path, sizeof(fixture.path), "%s/sock", fixture.folder);
	assert_int_equal(unix_listen(fixture.path, 64, &fixture.listener, &err), 0);
	fixture.begun_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	fixture.config = (struct rpc_server_config){
		.listen_fd = fixture.listener.fd,
		.owner_uid = getuid(),
		.methods = methods,
		.method_count = RPC_FIXTURE_METHODS,
		.context = &fixture,
		.on_event = count_event,
	};
	return 0;
}

int rpc_fixture_teardown(void **state)
{
	AUTO_FREE char *lock = mem_printf("%s.lock", fixture.path);

	(void)state;
	rpc_server_free(fixture.server);
	unix_listener_done(&fixture.listener);
	fd_close(fixture.begun_fd);
	(void)unlink(lock);
	assert_int_equal(rmdir(fixture.folder), 0);
	return 0;
}

void start_server(void)
{
	struct err err = ERR_INIT;

	assert_int_equal(rpc_server_start(&fixture.config, &fixture.server, &err), 0);
}

void wait_client_count(size_t wanted)
{
	const uint64_t deadline = patience();

	while (rpc_server_client_count(fixture.server) != wanted && clock_now_ns() < deadline)
		(void)poll(NULL, 0, 1);
	CHECK_INT(rpc_server_client_count(fixture.server), wanted);
}
