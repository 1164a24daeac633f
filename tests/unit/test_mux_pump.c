/* Two pumps over a socket pair, driven by one loop: what the agent and banger-vmm do, without a
 * guest. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "mux/pump.h"

#define ROUNDS_MAX 200000

struct side {
	struct mux_pump *pump;
	int channel;
	int opened[MUX_STREAMS_MAX]; /* the test's ends of what the peer opened */
	size_t opened_count;
	int answers[MUX_STREAMS_MAX];
	size_t answer_count;
	int open_result; /* 0: a socket; else this */
};

struct fixture {
	struct side host;
	struct side guest;
	struct err err;
	int failed; /* result of the step that failed, of the guest or host */
};

static int open_port(void *context, uint32_t port)
{
	struct side *side = context;
	int ends[2];

	assert_int_equal(port, 1024);
	if (side->open_result < 0)
		return side->open_result;
	assert_int_equal(fd_socketpair(ends), 0);
	side->opened[side->opened_count++] = ends[0];
	return ends[1];
}

static void answered(void *context, int fd, uint32_t port, int result)
{
	struct side *side = context;

	assert_int_equal(port, 1024);
	side->answers[side->answer_count++] = result;
	if (result == 0)
		assert_int_equal(write(fd, "OK 5\n", 5), 5);
}

static const struct mux_pump_ops ops = { .open = open_port, .opened = answered };

static bool step(struct fixture *fixture, struct side *side)
{
	static struct pollfd fds[MUX_PUMP_FDS_MAX];
	size_t count;
	int ready, r;

	memset(fds, 0xff, sizeof(fds)); /* what lay there before must not matter */
	count = mux_pump_poll_fds(side->pump, fds, ARRAY_LEN(fds));
	ready = poll(fds, count, 0);
	r = mux_pump_step(side->pump, fds, count, &fixture->err);
	if (r < 0)
		fixture->failed = r;
	return ready > 0;
}

/* Runs both pumps until neither has anything to do: a spinning poll set would never end. */
static void settle(struct fixture *fixture)
{
	for (size_t i = 0; i < ROUNDS_MAX && fixture->failed == 0; i++) {
		const bool is_host_busy = step(fixture, &fixture->host);

		if (!step(fixture, &fixture->guest) && !is_host_busy)
			return;
	}
	if (fixture->failed == 0)
		fail_msg("the pumps never come to rest");
}

static struct fixture *setup_pumps(void)
{
	struct fixture *fixture = mem_alloc(1, sizeof(*fixture));
	int ends[2];

	assert_int_equal(fd_socketpair(ends), 0);
	fixture->host.channel = ends[0];
	fixture->guest.channel = ends[1];
	assert_int_equal(mux_pump_new(MUX_HOST, ends[0], &ops, &fixture->host, &fixture->host.pump),
			 0);
	assert_int_equal(
		mux_pump_new(MUX_GUEST, ends[1], &ops, &fixture->guest, &fixture->guest.pump), 0);
	return fixture;
}

static struct fixture *setup_up(void)
{
	struct fixture *fixture = setup_pumps();

	settle(fixture);
	return fixture;
}

static void side_done(struct side *side)
{
	mux_pump_free(side->pump);
	fd_close(side->channel);
	for (size_t i = 0; i < side->opened_count; i++)
		fd_close(side->opened[i]);
}

static void teardown(struct fixture *fixture)
{
	side_done(&fixture->host);
	side_done(&fixture->guest);
	mem_free(fixture);
}

/* Opens from the host; the test's end. The greeting is read away. */
static int dial(struct fixture *fixture)
{
	char greeting[5];
	int ends[2];

	assert_int_equal(fd_socketpair(ends), 0);
	assert_int_equal(mux_pump_open(fixture->host.pump, 1024, ends[1]), 0);
	settle(fixture);
	assert_int_equal(fd_read_exact(ends[0], greeting, sizeof(greeting)), 0);
	assert_memory_equal(greeting, "OK 5\n", 5);
	return ends[0];
}

static void expect_text(int fd, const char *text)
{
	char got[256] = "";
	const ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	CHECK_INT(n, strlen(text));
	CHECK_STR(got, text);
}

static void expect_nothing(int fd)
{
	char byte;

	CHECK_INT(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	CHECK_INT(errno, EAGAIN);
}

static void send_text(int fd, const char *text)
{
	CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void test_half_close_both_ways(void **state)
{
	struct fixture *fixture = setup_up();
	const int host = dial(fixture);
	const int guest = fixture->guest.opened[0];

	(void)state;
	send_text(host, "question");
	assert_int_equal(shutdown(host, SHUT_WR), 0);
	settle(fixture);
	expect_text(guest, "question");
	expect_text(guest, "");
	expect_nothing(host);

	send_text(guest, "answer");
	settle(fixture);
	expect_text(host, "answer");
	expect_nothing(host);
	assert_int_equal(shutdown(guest, SHUT_WR), 0);
	settle(fixture);
	expect_text(host, "");
	CHECK_INT(mux_pump_stream_count(fixture->host.pump), 0);
	CHECK_INT(mux_pump_stream_count(fixture->guest.pump), 0);
	fd_close(host);
	teardown(fixture);
}

/* `nc -q0`: writes and closes. All arrives, then the end. */
static void test_close_delivers_first(void **state)
{
	enum { SIZE = 100 * 1000 };
	struct fixture *fixture = setup_up();
	const int host = dial(fixture);
	AUTO_FREE uint8_t *bytes = mem_alloc(1, SIZE);

	(void)state;
	CHECK_INT(send(host, bytes, SIZE, MSG_DONTWAIT), SIZE);
	fd_close(host);
	settle(fixture);
	assert_int_equal(fd_read_exact(fixture->guest.opened[0], bytes, SIZE), 0);
	settle(fixture);
	expect_text(fixture->guest.opened[0], "");

	/* What the guest says now, nobody takes: its end is closed. */
	send_text(fixture->guest.opened[0], "anybody?");
	settle(fixture);
	CHECK_INT(mux_pump_stream_count(fixture->host.pump), 0);
	CHECK_INT(mux_pump_stream_count(fixture->guest.pump), 0);
	CHECK_INT(send(fixture->guest.opened[0], "x", 1, MSG_NOSIGNAL), -1);
	CHECK_INT(errno, EPIPE);
	teardown(fixture);
}

static void test_refusals(void **state)
{
	static const struct {
		int listener;
		int answer;
	} rows[] = {
		{ -ECONNREFUSED, -ECONNREFUSED },
		{ -ENOENT, -ECONNREFUSED },
		{ -EMFILE, -EMFILE },
		{ -EACCES, -EIO },
	};
	struct fixture *fixture = setup_up();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int ends[2];

		fixture->guest.open_result = rows[i].listener;
		assert_int_equal(fd_socketpair(ends), 0);
		CHECK_INT(mux_pump_open(fixture->host.pump, 1024, ends[1]), 0);
		settle(fixture);
		CHECK_INT(fixture->host.answer_count, i + 1);
		CHECK_INT(fixture->host.answers[i], rows[i].answer);
		expect_text(ends[0], ""); /* closed without a word */
		fd_close(ends[0]);
	}
	CHECK_INT(mux_pump_stream_count(fixture->host.pump), 0);
	teardown(fixture);
}

static void test_not_up(void **state)
{
	struct fixture *fixture = setup_pumps();
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	CHECK_INT(mux_pump_open(fixture->host.pump, 1024, ends[1]), -ENOTCONN);
	fd_close(ends[0]);
	fd_close(ends[1]);
	teardown(fixture);
}

/* The client goes before the agent has answered. */
static void test_caller_leaves_early(void **state)
{
	struct fixture *fixture = setup_up();
	int ends[2];

	(void)state;
	assert_int_equal(fd_socketpair(ends), 0);
	CHECK_INT(mux_pump_open(fixture->host.pump, 1024, ends[1]), 0);
	fd_close(ends[0]);
	for (size_t i = 0; i < 3; i++)
		(void)step(fixture, &fixture->host);
	CHECK_INT(mux_pump_stream_count(fixture->host.pump), 0);
	settle(fixture);
	CHECK_INT(mux_pump_stream_count(fixture->guest.pump), 0);
	teardown(fixture);
}

/* 200 streams carry different bytes both ways in pieces; one more has a reader that never reads. */
static void test_many_streams_and_a_slow_reader(void **state)
{
	enum { STREAMS = 200, PIECE = 3000, PIECES = 20 };
	struct fixture *fixture = setup_up();
	AUTO_FREE uint8_t *sent = mem_alloc(1, PIECE);
	AUTO_FREE uint8_t *got = mem_alloc(1, PIECE);
	const int slow = dial(fixture);
	size_t stuffed = 0;
	int host[STREAMS];
	ssize_t n;

	(void)state;
	do {
		n = send(slow, sent, PIECE, MSG_DONTWAIT);
		stuffed += n > 0 ? (size_t)n : 0;
		settle(fixture);
	} while (n > 0);
	assert_true(stuffed > MUX_WINDOW_LARGE);

	for (size_t i = 0; i < STREAMS; i++)
		host[i] = dial(fixture);
	for (size_t round = 0; round < PIECES; round++) {
		for (size_t i = 0; i < STREAMS; i++) {
			memset(sent, (int)(i + round), PIECE);
			CHECK_INT(send(host[i], sent, PIECE, 0), PIECE);
			CHECK_INT(send(fixture->guest.opened[i + 1], sent, PIECE, 0), PIECE);
		}
		settle(fixture);
		for (size_t i = 0; i < STREAMS; i++) {
			memset(sent, (int)(i + round), PIECE);
			assert_int_equal(fd_read_exact(fixture->guest.opened[i + 1], got, PIECE),
					 0);
			assert_memory_equal(got, sent, PIECE);
			assert_int_equal(fd_read_exact(host[i], got, PIECE), 0);
			assert_memory_equal(got, sent, PIECE);
		}
	}

	/* The slow one has lost nothing. */
	while (stuffed > 0) {
		n = recv(fixture->guest.opened[0], got, PIECE, MSG_DONTWAIT);
		assert_true(n > 0);
		stuffed -= (size_t)n;
		settle(fixture);
	}
	expect_nothing(fixture->guest.opened[0]);
	for (size_t i = 0; i < STREAMS; i++)
		fd_close(host[i]);
	fd_close(slow);
	settle(fixture);
	teardown(fixture);
}

static void test_stream_limit(void **state)
{
	struct fixture *fixture = setup_up();
	static int near[MUX_STREAMS_MAX + 1][2];

	(void)state;
	for (size_t i = 0; i <= MUX_STREAMS_MAX; i++) {
		assert_int_equal(fd_socketpair(near[i]), 0);
		CHECK_ROW(i, mux_pump_open(fixture->host.pump, 1024, near[i][1]) ==
				     (i < MUX_STREAMS_MAX ? 0 : -EMFILE));
	}
	fd_close(near[MUX_STREAMS_MAX][1]);
	settle(fixture);
	CHECK_INT(fixture->guest.opened_count, MUX_STREAMS_MAX);
	for (size_t i = 0; i <= MUX_STREAMS_MAX; i++)
		fd_close(near[i][0]);
	teardown(fixture);
}

static void test_guest_violates(void **state)
{
	struct fixture *fixture = setup_up();
	const int host = dial(fixture);
	struct err err = ERR_INIT;

	(void)state;
	send_text(fixture->guest.channel, "\x7f this is garbage");
	while (fixture->failed == 0)
		(void)step(fixture, &fixture->host);
	err = fixture->err;
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_STR(err.message, "multiplexer: frame of version 127");

	/* The streams are gone, and both sides find to each other again. */
	assert_int_equal(mux_pump_restart(fixture->host.pump, fixture->host.channel), 0);
	expect_text(host, "");
	fixture->failed = 0;
	settle(fixture);
	CHECK_INT(mux_pump_stream_count(fixture->guest.pump), 0);
	fd_close(dial(fixture));
	fd_close(host);
	teardown(fixture);
}

static void test_channel_ends(void **state)
{
	struct fixture *fixture = setup_up();
	int ends[2];

	(void)state;
	fd_assign(&fixture->guest.channel, -1);
	while (fixture->failed == 0)
		(void)step(fixture, &fixture->host);
	CHECK_INT(fixture->failed, -EPIPE);
	CHECK_INT(fixture->err.kind, ERR_SYSTEM);
	CHECK_STR(fixture->err.message, "read the multiplexer's channel: Broken pipe");

	/* A new channel, for a new guest. */
	mux_pump_free(TAKE_PTR(fixture->guest.pump));
	assert_int_equal(fd_socketpair(ends), 0);
	fd_assign(&fixture->host.channel, ends[0]);
	fixture->guest.channel = ends[1];
	assert_int_equal(
		mux_pump_new(MUX_GUEST, ends[1], &ops, &fixture->guest, &fixture->guest.pump), 0);
	assert_int_equal(mux_pump_restart(fixture->host.pump, ends[0]), 0);
	fixture->failed = 0;
	settle(fixture);
	fd_close(dial(fixture));
	teardown(fixture);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close_both_ways),
		cmocka_unit_test(test_close_delivers_first),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_not_up),
		cmocka_unit_test(test_caller_leaves_early),
		cmocka_unit_test(test_many_streams_and_a_slow_reader),
		cmocka_unit_test(test_stream_limit),
		cmocka_unit_test(test_guest_violates),
		cmocka_unit_test(test_channel_ends),
	};

	/* Three descriptors for each of 1024 streams. */
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 1;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
