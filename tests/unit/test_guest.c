/* CONNECT, health and short requests against agents that answer wrongly in every way of FAULTS.md's
 * GA rows. */
#include "test_guest_fake.h"

#include "base/json.h"
#include "guest/agent.h"
#include "guest/connect.h"
#include "guest/http.h"
#include "guest/renew.h"
#include "wire/protocol.h"

#define HEALTH_BODY                                                                     \
	"{\"status\":\"ok\",\"protocol\":1,\"version\":\"0.1.0\",\"hostname\":\"box\"," \
	"\"uptime_ms\":2810,\"boot_token\":\"f3\",\"stages\":[\"root\",\"work\"]}"
#define HTTP_OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

/* What the fake VMM and agent say on one connection. */
struct script {
	const char *connect_reply;
	size_t connect_len;
	const char *answer; /* after one more line of the client; NULL: nothing */
	bool stays;	    /* keeps the connection open after that */
	bool trickles;	    /* a byte at a time */
	size_t refused;	    /* so many connections are closed at once before */
};

struct fake {
	char folder[32];
	char path[48];
	pid_t pid;
};

static void say(int fd, const char *bytes, size_t len, bool trickles)
{
	for (size_t i = 0; trickles && i < len; i++) {
		if (send(fd, bytes + i, 1, MSG_NOSIGNAL) < 0)
			return;
		(void)poll(NULL, 0, 5);
	}
	if (!trickles)
		(void)send(fd, bytes, len, MSG_NOSIGNAL);
}

static void hear_line(int fd)
{
	char byte = '\0';

	while (byte != '\n' && recv(fd, &byte, 1, 0) == 1) {
	}
}

static void wait_for_hang_up(int fd)
{
	char bytes[256];

	while (recv(fd, bytes, sizeof(bytes), 0) > 0) {
	}
}

static void serve_scripts(int listener, const struct script *script)
{
	for (size_t i = 0;; i++) {
		const int fd = accept(listener, NULL, NULL);

		CHILD_CHECK(fd >= 0);
		if (i >= script->refused) {
			hear_line(fd);
			say(fd, script->connect_reply, script->connect_len, script->trickles);
			if (script->answer) {
				hear_line(fd);
				say(fd, script->answer, strlen(script->answer), script->trickles);
			}
			if (script->stays)
				wait_for_hang_up(fd);
		}
		fd_close(fd);
	}
}

static struct fake start_fake(const struct script *script)
{
	struct fake fake = { .folder = "/tmp/test-guest-XXXXXX" };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_non_null(mkdtemp(fake.folder));
	(void)snprintf(fake.path, sizeof(fake.path), "%s/vsock.sock", fake.folder);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.path);
	assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 16), 0);
	fake.pid = fork();
	assert_true(fake.pid >= 0);
	if (fake.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_scripts(listener, script);
	}
	return fake;
}

static void stop_fake(const struct fake *fake)
{
	assert_int_equal(kill(fake->pid, SIGKILL), 0);
	assert_int_equal(waitpid(fake->pid, NULL, 0), fake->pid);
	assert_int_equal(unlink(fake->path), 0);
	assert_int_equal(rmdir(fake->folder), 0);
}

#define BYTES(text) text, sizeof(text) - 1

static void test_connect_reply_is_judged(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int verdict;
	} rows[] = {
		{ BYTES(""), 0 },
		{ BYTES("O"), 0 },
		{ BYTES("OK"), 0 },
		{ BYTES("OK "), 0 },
		{ BYTES("OK 1"), 0 },
		{ BYTES("OK 4294967295"), 0 },
		{ BYTES("OK 0\n"), 1 },
		{ BYTES("OK 1073741824\n"), 1 },
		{ BYTES("OK 4294967295\n"), 1 },
		{ BYTES("OK 4294967296"), -1 },
		{ BYTES("OK 4294967296\n"), -1 },
		{ BYTES("OK -1\n"), -1 },
		{ BYTES("OK +1\n"), -1 },
		{ BYTES("OK 01\n"), -1 },
		{ BYTES("OK \n"), -1 },
		{ BYTES("OK 1 \n"), -1 },
		{ BYTES("OK 1\r\n"), -1 },
		{ BYTES("OK 1\nx"), -1 },
		{ BYTES("OK\n"), -1 },
		{ BYTES("ok 1\n"), -1 },
		{ BYTES("\0"), -1 },
		{ BYTES("OK 1\0"), -1 },
		{ BYTES("\x80\xff"), -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, guest_connect_reply(span_of(rows[i].bytes, rows[i].len)) ==
				     rows[i].verdict);
}

static void test_connect(void **state)
{
	const struct script script = { BYTES("OK 7\n"), .answer = "answer", .trickles = true };
	const struct fake fake = start_fake(&script);
	struct err err = ERR_INIT;
	char answer[7] = "";
	int fd = -1;

	(void)state;
	CHECK_INT(guest_connect(fake.path, 1024, NULL, patience(), &fd, &err), 0);
	assert_int_equal(send(fd, "\n", 1, 0), 1);
	assert_int_equal(fd_read_exact(fd, answer, 6), 0);
	CHECK_STR(answer, "answer");
	fd_close(fd);
	stop_fake(&fake);
}

/* GA5: every wrong CONNECT reply by its message. */
static void test_connect_fails(void **state)
{
	static const struct {
		struct script script;
		uint64_t deadline_ms;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ { BYTES(""), .answer = NULL },
		  20000,
		  ERR_NOT_FOUND,
		  "nobody listens on that port in the guest" },
		{ { BYTES("OK 7"), .answer = NULL },
		  20000,
		  ERR_PROTOCOL,
		  "the VMM answered CONNECT with 'OK 7'" },
		{ { BYTES("OK -1\n"), .stays = true },
		  20000,
		  ERR_PROTOCOL,
		  "the VMM answered CONNECT with 'OK -'" },
		{ { BYTES("OK 99999999999999999999999999999999999"), .stays = true },
		  20000,
		  ERR_PROTOCOL,
		  "the VMM answered CONNECT with 'OK 9999999999'" },
		{ { BYTES("\x1b]52;c;"), .stays = true },
		  20000,
		  ERR_PROTOCOL,
		  "the VMM answered CONNECT with '\\x1b'" },
		{ { BYTES("OK \xff\n"), .stays = true },
		  20000,
		  ERR_PROTOCOL,
		  "the VMM answered CONNECT with 'OK \\xff'" },
		{ { BYTES(""), .stays = true },
		  50,
		  ERR_TIMEOUT,
		  "the agent did not answer in time" },
		{ { BYTES("OK 7"), .stays = true },
		  100,
		  ERR_TIMEOUT,
		  "the agent did not answer in time" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct fake fake = start_fake(&rows[i].script);
		struct err err = ERR_INIT;
		AUTO_BUF wanted = BUF_INIT;
		int fd = -7;

		CHECK_ROW(i, guest_connect(fake.path, 1024, NULL, in_ms(rows[i].deadline_ms), &fd,
					   &err) < 0);
		CHECK_INT(fd, -7);
		CHECK_INT(err.kind, rows[i].kind);
		buf_addf(&wanted, "connect to port 1024 of the guest: %s", rows[i].message);
		CHECK_STR(err.message, wanted.ptr);
		stop_fake(&fake);
	}
}

static void test_connect_to_nobody(void **state)
{
	struct err err = ERR_INIT;
	struct cancel cancel = CANCEL_INIT;
	const struct script script = { BYTES(""), .stays = true };
	struct fake fake;
	int fd;

	(void)state;
	assert_true(guest_connect("/nonexistent/vsock.sock", 1, NULL, UINT64_MAX, &fd, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "connect to the guest: nobody listens on '/nonexistent/vsock.sock'");

	fake = start_fake(&script);
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_true(guest_connect(fake.path, 1, &cancel, UINT64_MAX, &fd, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	CHECK_STR(err.message, "connect to port 1 of the guest: cancelled");
	cancel_done(&cancel);
	stop_fake(&fake);
}

static void test_health(void **state)
{
	static const struct script scripts[] = {
		{ BYTES("OK 7\n"), .answer = HTTP_OK "Content-Length: 123\r\n\r\n" HEALTH_BODY,
		  .stays = true },
		{ BYTES("OK 7\n"), .answer = HTTP_OK "Connection: close\r\n\r\n" HEALTH_BODY,
		  .trickles = true },
	};

	(void)state;
	CHECK_INT(strlen(HEALTH_BODY), 123);
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		const struct fake fake = start_fake(&scripts[i]);
		const struct guest_target target = { fake.path, NULL, patience() };
		struct guest_health health = { 0 };
		struct err err = ERR_INIT;

		if (guest_health(&target, &health, &err) < 0)
			fail_msg("%s", err.message);
		CHECK_STR(health.version, "0.1.0");
		CHECK_STR(health.hostname, "box");
		CHECK_STR(health.boot_token, "f3");
		CHECK_INT(health.protocol, 1);
		CHECK_INT(health.uptime_ms, 2810);
		CHECK_INT(health.stages.count, 2);
		assert_true(guest_health_has_stage(&health, "work"));
		assert_false(guest_health_has_stage(&health, "init"));
		assert_true(health.round_trip_us > 0);
		guest_health_done(&health);
		stop_fake(&fake);
	}
}

/* GA2: what the guest calls itself does no harm to a terminal. */
static void test_hostile_text_is_escaped(void **state)
{
	static const char answer[] = HTTP_OK
		"\r\n{\"status\":\"ok\",\"protocol\":1,\"version\":\"\\u001b]52;c;eA==\\u0007\","
		"\"hostname\":\"a\\rb\\u202ec</script>\",\"uptime_ms\":0,"
		"\"stages\":[\"\\u009b2J\"]}";
	AUTO_BUF long_name = BUF_INIT;
	struct guest_health health = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(guest_read_health(span_str(answer), &health, &err), 0);
	CHECK_STR(health.version, "\\x1b]52;c;eA==\\x07");
	CHECK_STR(health.hostname, "a\\x0db\\u{202e}c</script>");
	CHECK_STR(health.stages.items[0], "\\u{009b}2J");
	assert_null(health.boot_token);
	guest_health_done(&health);

	buf_add_str(&long_name, HTTP_OK "\r\n{\"status\":\"ok\",\"protocol\":1,\"version\":\"");
	for (size_t i = 0; i < 300; i++)
		buf_add_byte(&long_name, 'v');
	buf_add_str(&long_name, "\",\"hostname\":\"\",\"uptime_ms\":0,\"stages\":[]}");
	CHECK_INT(guest_read_health(buf_span(&long_name), &health, &err), 0);
	CHECK_INT(strlen(health.version), GUEST_TEXT_MAX + 3);
	CHECK_HAS(health.version, "vvv...");
	guest_health_done(&health);
}

#define WRONG	   "wrong answer from the agent: "
#define WRONG_HTTP "wrong HTTP answer from the agent: "
#define MINIMAL	   "\"protocol\":1,\"version\":\"\",\"hostname\":\"\",\"uptime_ms\":0,\"stages\":[]"

/* GA1: each answer that makes no sense, by its message. */
static void test_wrong_health(void **state)
{
	static const struct {
		const char *answer;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "", ERR_BAD_STATE, "the agent closed the connection without an answer" },
		{ "HTTP/1.1 200 OK\r\n", ERR_PROTOCOL, WRONG_HTTP "it ends in its head" },
		{ "SSH-2.0-OpenSSH\r\n\r\n", ERR_PROTOCOL, WRONG_HTTP "'SSH-2.0-OpenSSH'" },
		{ "HTTP/2 200 OK\r\n\r\n", ERR_PROTOCOL, WRONG_HTTP "'HTTP/2 200 OK'" },
		{ "HTTP/1.1 -1\r\n\r\n", ERR_PROTOCOL, WRONG_HTTP "'HTTP/1.1 -1'" },
		{ "HTTP/1.1 200\x1b[2J\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "'HTTP/1.1 200\\x1b[2J'" },
		{ "HTTP/1.1 404 Not Found\r\n\r\n", ERR_PROTOCOL, WRONG_HTTP "status 404" },
		{ "HTTP/1.1 200 OK\n\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "a line does not end in CR LF" },
		{ "HTTP/1.1 200 OK\r\nnothing\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "a header line without a name" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "it is in pieces" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "its length is not one number up to 1048576" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "its length is not one number up to 1048576" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "its length is not one number up to 1048576" },
		{ "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n", ERR_PROTOCOL,
		  WRONG_HTTP "its length is not one number up to 1048576" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", ERR_PROTOCOL,
		  WRONG_HTTP "its body is too short" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", ERR_PROTOCOL,
		  WRONG_HTTP "its body is too long" },
		{ HTTP_OK "\r\n{\"status\":\"ok\"", ERR_PROTOCOL, WRONG "JSON at byte 14: " },
		{ HTTP_OK "\r\n{\"status\":\"ok\"}{}", ERR_PROTOCOL, WRONG "JSON at byte " },
		{ HTTP_OK "\r\n{\"status\":\"ok\",\"status\":\"ok\"}", ERR_PROTOCOL,
		  WRONG "JSON at byte " },
		{ HTTP_OK "\r\n{\"status\":NaN}", ERR_PROTOCOL, WRONG "JSON at byte " },
		{ HTTP_OK "\r\n{\"status\":\"\xff\"}", ERR_PROTOCOL, WRONG "JSON at byte " },
		{ HTTP_OK "\r\n[]", ERR_PROTOCOL, WRONG "'status' is not ok" },
		{ HTTP_OK "\r\n{\"status\":\"bad\"}", ERR_PROTOCOL, WRONG "'status' is not ok" },
		{ HTTP_OK "\r\n{\"status\":\"ok\"}", ERR_PROTOCOL,
		  WRONG "field 'protocol' is missing" },
		{ HTTP_OK "\r\n{\"status\":\"ok\",\"extra\":1," MINIMAL "}", ERR_PROTOCOL,
		  WRONG "unknown field 'extra'" },
		{ HTTP_OK "\r\n{\"status\":\"ok\",\"protocol\":-1}", ERR_PROTOCOL,
		  WRONG "field 'protocol' must be from 0 to" },
		{ HTTP_OK "\r\n{\"status\":\"ok\",\"protocol\":1.5}", ERR_PROTOCOL,
		  WRONG "field 'protocol' must be a whole number" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guest_health health = { .uptime_ms = 7 };
		struct err err = ERR_INIT;

		CHECK_ROW(i, guest_read_health(span_str(rows[i].answer), &health, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		if (strncmp(err.message, rows[i].message, strlen(rows[i].message)) != 0)
			fail_msg("row %zu: %s", i, err.message);
		CHECK_INT(health.uptime_ms, 7);
	}
}

static int read_http(const struct buf *answer, bool is_ended, struct err *err)
{
	struct span body;

	return guest_http_read(buf_span(answer), is_ended, &body, err);
}

static void test_http_limits(void **state)
{
	AUTO_BUF answer = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	buf_add_str(&answer, "HTTP/1.0 200 OK\r\nX: ");
	while (answer.len < WIRE_HTTP_HEAD_MAX - 4)
		buf_add_byte(&answer, 'x');
	CHECK_INT(read_http(&answer, false, &err), 0);
	buf_add_str(&answer, "\r\n\r\n");
	CHECK_INT(read_http(&answer, true, &err), 1);
	answer.ptr[answer.len - 1] = 'x';
	assert_true(read_http(&answer, false, &err) < 0);
	CHECK_STR(err.message, WRONG_HTTP "its head is over 8192 bytes");

	buf_clear(&answer);
	buf_add_str(&answer, "HTTP/1.0 200 OK\r\n\r\n");
	for (size_t i = 0; i < WIRE_HTTP_BODY_MAX; i++)
		buf_add_byte(&answer, ' ');
	CHECK_INT(read_http(&answer, false, &err), 0);
	CHECK_INT(read_http(&answer, true, &err), 1);
	buf_add_byte(&answer, ' ');
	assert_true(read_http(&answer, false, &err) < 0);
	CHECK_STR(err.message, WRONG_HTTP "its body is too long");
}

static void test_wait_until_healthy(void **state)
{
	const struct script script = { BYTES("OK 7\n"), .answer = HTTP_OK "\r\n" HEALTH_BODY,
				       .refused = 3 };
	const struct fake fake = start_fake(&script);
	struct guest_target target = { fake.path, NULL, patience() };
	struct guest_health health = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	if (guest_wait_healthy(&target, "work", &health, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_STR(health.hostname, "box");
	guest_health_done(&health);

	target.deadline_ns = in_ms(100);
	assert_true(guest_wait_healthy(&target, "init", &health, &err) < 0);
	CHECK_INT(err.kind, ERR_TIMEOUT);
	CHECK_STR(err.message,
		  "the guest was not ready in time: the guest has not reached the stage 'init'");
	stop_fake(&fake);

	target.deadline_ns = in_ms(30);
	assert_true(guest_wait_healthy(&target, NULL, &health, &err) < 0);
	CHECK_INT(err.kind, ERR_TIMEOUT);
	CHECK_HAS(err.message, "the guest was not ready in time: connect to the guest: nobody");
}

static void test_wait_stops(void **state)
{
	const struct script wrong = { BYTES("OK 7\n"), .answer = "garbage\r\n\r\n" };
	const struct script never = { BYTES(""), .answer = NULL };
	struct fake fake = start_fake(&wrong);
	struct cancel cancel = CANCEL_INIT;
	struct guest_target target = { fake.path, NULL, patience() };
	struct guest_health health = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	assert_true(guest_wait_healthy(&target, NULL, &health, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_STR(err.message, "ask the agent for its health: " WRONG_HTTP "'garbage'");
	stop_fake(&fake);

	fake = start_fake(&never);
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	target = (struct guest_target){ fake.path, &cancel, UINT64_MAX };
	assert_true(guest_wait_healthy(&target, NULL, &health, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	cancel_done(&cancel);
	stop_fake(&fake);
}

static void test_replies_are_judged(void **state)
{
	static const struct {
		const char *line;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "", ERR_PROTOCOL, WRONG "JSON at byte 0" },
		{ "[]", ERR_PROTOCOL, WRONG "it has no boolean 'ok'" },
		{ "{}", ERR_PROTOCOL, WRONG "it has no boolean 'ok'" },
		{ "{\"ok\":1}", ERR_PROTOCOL, WRONG "it has no boolean 'ok'" },
		{ "{\"ok\":true,\"ok\":true}", ERR_PROTOCOL, WRONG "JSON at byte" },
		{ "{\"ok\":false}", ERR_PROTOCOL, WRONG "'error' is no error" },
		{ "{\"ok\":false,\"x\":{}}", ERR_PROTOCOL, WRONG "'error' is no error" },
		{ "{\"ok\":false,\"error\":\"x\"}", ERR_PROTOCOL, WRONG "'error' is no error" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"system\"}}", ERR_PROTOCOL,
		  WRONG "'error' is no error" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"system\",\"message\":\"m\"},\"x\":1}",
		  ERR_PROTOCOL, WRONG "'error' is no error" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"not_found\",\"message\":\"no\"}}",
		  ERR_NOT_FOUND, "no" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"made up\",\"message\":\"\\u001b[2Jx\"}}",
		  ERR_SYSTEM, "\\x1b[2Jx" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"none\",\"message\":\"m\"}}", ERR_SYSTEM,
		  "m" },
	};
	AUTO_JSON *reply = NULL;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_ROW(i, guest_read_reply(span_str(rows[i].line), &reply, &err) < 0);
		assert_null(reply);
		CHECK_INT(err.kind, rows[i].kind);
		if (strncmp(err.message, rows[i].message, strlen(rows[i].message)) != 0)
			fail_msg("row %zu: %s", i, err.message);
	}
	CHECK_INT(guest_read_reply(span_str("{\"ok\":true,\"pid\":3}"), &reply, &err), 0);
	CHECK_INT(json_get_u64(reply, "pid"), 3);
}

static void test_call_takes_one_line(void **state)
{
	AUTO_JSON *request = json_new_object();
	struct err err = ERR_INIT;
	char rest[16] = "";
	int peer;
	const int fd = prepared_stream(span_str("{\"ok\":true}\nframes"), true, &peer);

	(void)state;
	json_put_str(request, "op", "ping");
	CHECK_INT(guest_call(fd, request, NULL, patience(), NULL, &err), 0);
	CHECK_INT(recv(fd, rest, sizeof(rest), 0), 6);
	CHECK_STR(rest, "frames");
	CHECK_INT(recv(peer, rest, sizeof(rest), 0), 14);
	assert_memory_equal(rest, "{\"op\":\"ping\"}\n", 14);
	fd_close(fd);
	fd_close(peer);
}

static void test_call_fails(void **state)
{
	AUTO_JSON *request = json_new_object();
	AUTO_BUF endless = BUF_INIT;
	struct err err = ERR_INIT;
	int peer;
	int fd;

	(void)state;
	fd = prepared_stream(span_str("{\"ok\":tr"), true, &peer);
	assert_true(guest_call(fd, request, NULL, patience(), NULL, &err) < 0);
	CHECK_STR(err.message, "the agent closed the connection without an answer");
	fd_close(fd);
	fd_close(peer);

	fd = prepared_stream(span_str("{\"ok\":tr"), false, &peer);
	assert_true(guest_call(fd, request, NULL, in_ms(30), NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_TIMEOUT);
	CHECK_STR(err.message, "ask the agent: the agent did not answer in time");
	fd_close(fd);
	fd_close(peer);

	for (size_t i = 0; i < WIRE_REPLY_MAX; i++)
		buf_add_byte(&endless, ' ');
	fd = prepared_stream(buf_span(&endless), false, &peer);
	assert_true(guest_call(fd, request, NULL, patience(), NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_STR(err.message, "ask the agent: the answer has no newline in 262144 bytes");
	fd_close(fd);
	fd_close(peer);

	/* An agent that refuses early and closes: what it said counts, not EPIPE. */
	fd = prepared_stream(
		span_str("{\"ok\":false,\"error\":{\"kind\":\"busy\",\"message\":\"full\"}}\n"),
		true, &peer);
	fd_close(peer);
	assert_true(guest_call(fd, request, NULL, patience(), NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "full");
	fd_close(fd);
}

static void test_request_limit(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		AUTO_JSON *request = json_new_object();
		AUTO_FREE char *text = mem_alloc(1, WIRE_REQUEST_MAX);
		int peer;
		const int fd = prepared_stream(span_str("{\"ok\":true}\n"), true, &peer);

		/* {"x":"..."} and the newline are 9 bytes. */
		memset(text, 'x', WIRE_REQUEST_MAX - 9 + extra);
		json_put_str(request, "x", text);
		CHECK_ROW(extra, (guest_call(fd, request, NULL, patience(), NULL, &err) == 0) ==
					 (extra == 0));
		fd_close(fd);
		fd_close(peer);
	}
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "the request is over 65536 bytes");
}

#define STATS                                                                    \
	"\"uptime_ms\":1,\"memory_total_bytes\":2,\"memory_available_bytes\":3," \
	"\"root_total_bytes\":4,\"root_free_bytes\":5,\"work_total_bytes\":6,"   \
	"\"work_free_bytes\":7,\"processes\":8,\"load_milli\":9,\"cpu_busy_ms\":10"

static void test_short_requests(void **state)
{
	const struct script ok = { BYTES("OK 7\n"), .answer = "{\"ok\":true}\n" };
	const struct script other = { BYTES("OK 7\n"), .answer = "{\"ok\":true,\"x\":{}}\n" };
	const struct script more = { BYTES("OK 7\n"),
				     .answer = "{\"ok\":true,\"stats\":{" STATS "}}\n" };
	AUTO_JSON *identity = json_new_object();
	struct fake fake = start_fake(&ok);
	struct guest_target target = { fake.path, NULL, patience() };
	struct guest_stats stats = { 0 };
	struct err err = ERR_INIT;
	uint64_t us = 0;

	(void)state;
	json_put_str(identity, "hostname", "box");
	CHECK_INT(guest_identity(&target, identity, &err), 0);
	CHECK_INT(guest_shutdown(&target, GUEST_POWEROFF, &err), 0);
	CHECK_INT(guest_ping(&target, &us, &err), 0);
	assert_true(us > 0);
	assert_true(guest_stats(&target, &stats, &err) < 0);
	CHECK_STR(err.message, "ask the agent for 'stats': " WRONG "it has 1 members");
	stop_fake(&fake);

	fake = start_fake(&other);
	target.socket_path = fake.path;
	assert_true(guest_stats(&target, &stats, &err) < 0);
	CHECK_STR(err.message, WRONG "must be an object, not nothing");
	stop_fake(&fake);

	fake = start_fake(&more);
	target.socket_path = fake.path;
	CHECK_INT(guest_stats(&target, &stats, &err), 0);
	CHECK_INT(stats.uptime_ms, 1);
	CHECK_INT(stats.cpu_busy_ms, 10);
	assert_true(guest_shutdown(&target, GUEST_REBOOT, &err) < 0);
	CHECK_STR(err.message, "ask the agent for 'shutdown': " WRONG "it has 2 members");
	stop_fake(&fake);
}

static void test_rest_and_standstill(void **state)
{
	static const struct {
		const char *answer;
		const char *message; /* NULL: it is what was waited for */
	} quiet_rows[] = {
		{ "{\"ok\":true,\"quiet\":true}\n", NULL },
		{ "{\"ok\":true,\"quiet\":false,\"why\":\"a\\u001bb\"}\n",
		  "the guest did not come to rest: a\\x1bb" },
		{ "{\"ok\":true,\"quiet\":false}\n", WRONG "whether it is quiet" },
		{ "{\"ok\":true,\"quiet\":true,\"why\":\"x\"}\n", WRONG "whether it is quiet" },
		{ "{\"ok\":true,\"quiet\":1}\n", WRONG "whether it is quiet" },
		{ "{\"ok\":true,\"quiet\":true,\"x\":1}\n", WRONG "whether it is quiet" },
	};
	static const struct {
		const char *answer;
		bool is_freeze;
		bool is_thaw;
		bool held;
	} rows[] = {
		{ "{\"ok\":true,\"frozen\":[\"/\"]}\n", true, false, false },
		{ "{\"ok\":true,\"frozen\":1}\n", false, false, false },
		{ "{\"ok\":true,\"held\":true}\n", false, true, true },
		{ "{\"ok\":true,\"held\":false}\n", false, true, false },
		{ "{\"ok\":true,\"held\":1}\n", false, false, false },
		{ "{\"ok\":true}\n", false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(quiet_rows); i++) {
		const struct script script = { BYTES("OK 7\n"), .answer = quiet_rows[i].answer };
		const struct fake fake = start_fake(&script);
		const struct guest_target target = { fake.path, NULL, in_ms(150) };
		struct err err = ERR_INIT;

		CHECK_ROW(i, (guest_wait_quiet(&target, &err) == 0) == !quiet_rows[i].message);
		if (quiet_rows[i].message)
			CHECK_HAS(err.message, quiet_rows[i].message);
		stop_fake(&fake);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct script script = { BYTES("OK 7\n"), .answer = rows[i].answer };
		const struct fake fake = start_fake(&script);
		const struct guest_target target = { fake.path, NULL, patience() };
		struct err err = ERR_INIT;
		bool held = false;

		CHECK_ROW(i, (guest_freeze(&target, 1000, &err) == 0) == rows[i].is_freeze);
		CHECK_ROW(i, (guest_thaw(&target, &held, &err) == 0) == rows[i].is_thaw);
		CHECK_ROW(i, held == rows[i].held);
		stop_fake(&fake);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_reply_is_judged),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_connect_fails),
		cmocka_unit_test(test_connect_to_nobody),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_hostile_text_is_escaped),
		cmocka_unit_test(test_wrong_health),
		cmocka_unit_test(test_http_limits),
		cmocka_unit_test(test_wait_until_healthy),
		cmocka_unit_test(test_wait_stops),
		cmocka_unit_test(test_replies_are_judged),
		cmocka_unit_test(test_call_takes_one_line),
		cmocka_unit_test(test_call_fails),
		cmocka_unit_test(test_request_limit),
		cmocka_unit_test(test_short_requests),
		cmocka_unit_test(test_rest_and_standstill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
