/* The state machine: two muxes joined by hand, and one that is fed raw frames. */
#include "check.h"

#include "base/buf.h"
#include "base/mem.h"
#include "mux/mux.h"

#define HOST_SESSION  0x1111222233334444ULL
#define GUEST_SESSION 0x5555666677778888ULL

struct pair {
	struct mux *host;
	struct mux *guest;
};

/* Moves at most `piece` bytes at a time from one to the other; whether anything moved. */
static bool move(struct mux *from, struct mux *to, size_t piece)
{
	const struct span out = mux_output(from);
	const size_t count = out.len < piece ? out.len : piece;
	struct err err = ERR_INIT;

	if (count == 0)
		return false;
	if (mux_feed(to, span_of(out.ptr, count), &err) < 0)
		fail_msg("%s", err.message);
	mux_sent(from, count);
	return true;
}

static void shuttle(const struct pair *pair, size_t piece)
{
	bool is_moving = true;

	while (is_moving) {
		is_moving = move(pair->host, pair->guest, piece);
		is_moving = move(pair->guest, pair->host, piece) || is_moving;
	}
}

static struct mux_event expect_event(struct mux *mux, enum mux_event_kind kind)
{
	struct mux_event event = { 0 };

	assert_true(mux_next_event(mux, &event));
	CHECK_INT(event.kind, kind);
	return event;
}

static void expect_silence(struct mux *mux)
{
	struct mux_event event = { 0 };

	if (mux_next_event(mux, &event))
		fail_msg("unexpected event %d of stream %u", (int)event.kind, event.stream);
}

static struct pair pair_up(void)
{
	struct pair pair = { .host = mux_new(MUX_HOST, HOST_SESSION),
			     .guest = mux_new(MUX_GUEST, GUEST_SESSION) };

	shuttle(&pair, SIZE_MAX);
	(void)expect_event(pair.host, MUX_EVENT_UP);
	(void)expect_event(pair.guest, MUX_EVENT_UP);
	return pair;
}

static void pair_done(struct pair *pair)
{
	mux_free(pair->host);
	mux_free(pair->guest);
}

/* Opens from host to guest; the two ends' numbers. */
static void open_stream(const struct pair *pair, uint32_t *ret_host, uint32_t *ret_guest)
{
	assert_int_equal(mux_open(pair->host, 1024, ret_host), 0);
	shuttle(pair, SIZE_MAX);
	*ret_guest = expect_event(pair->guest, MUX_EVENT_OPEN).stream;
	mux_accept(pair->guest, *ret_guest);
	shuttle(pair, SIZE_MAX);
	CHECK_INT(expect_event(pair->host, MUX_EVENT_ACCEPTED).stream, *ret_host);
}

static void write_all(struct mux *mux, uint32_t stream, const char *text)
{
	CHECK_INT(mux_write(mux, stream, span_str(text)), strlen(text));
}

static void expect_bytes(struct mux *mux, uint32_t stream, const char *text)
{
	const struct span got = mux_peek(mux, stream);

	if (!span_eq(got, span_str(text)))
		fail_msg("got '%.*s', wanted '%s'", (int)got.len, (const char *)got.ptr, text);
	mux_consume(mux, stream, got.len);
}

static void test_greeting(void **state)
{
	static const size_t pieces[] = { 1, 7, 36, 1000, SIZE_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct pair pair = { .host = mux_new(MUX_HOST, HOST_SESSION),
				     .guest = mux_new(MUX_GUEST, GUEST_SESSION) };
		uint32_t stream;

		assert_false(mux_is_up(pair.host));
		CHECK_INT(mux_open(pair.host, 1, &stream), -ENOTCONN);
		shuttle(&pair, pieces[i]);
		CHECK_ROW(i, mux_is_up(pair.host) && mux_is_up(pair.guest));
		(void)expect_event(pair.host, MUX_EVENT_UP);
		expect_silence(pair.host);
		pair_done(&pair);
	}
}

/* The guest starts later: the host's first HELLO went nowhere. */
static void test_late_peer(void **state)
{
	struct pair pair = { .host = mux_new(MUX_HOST, HOST_SESSION) };

	(void)state;
	mux_sent(pair.host, mux_output(pair.host).len);
	CHECK_INT(mux_output(pair.host).len, 0);
	pair.guest = mux_new(MUX_GUEST, GUEST_SESSION);
	shuttle(&pair, SIZE_MAX);
	assert_true(mux_is_up(pair.host) && mux_is_up(pair.guest));
	pair_done(&pair);
}

static void test_garbage_before_hello(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{ "login: root\r\n", 13 },
		{ "\1\1\0\0\0\0\0\0\0\0\0\x18"
		  "BNGRMUX",
		  19 },
		{ "\1\1\1\1\0\0\0\0\0\0\0\0\x18"
		  "BNGRMUX\n",
		  21 },
		{ "\1\1\0\0\0\0\0\0\0\0\0\x18"
		  "BNGRMUX\n"
		  "\0\0\0\0\0\0\0\0"
		  "\0\0\0\0\0\0\0\0",
		  36 },
		{ "\1\1\0\0\0\0\0\0\0\0\0\x18"
		  "BNGRMUX\n"
		  "stale..."
		  "session.",
		  36 },
		{ "\1\5\0\0\0\0\0\1\0\0\x80\0", 12 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pair pair = { .host = mux_new(MUX_HOST, HOST_SESSION),
				     .guest = mux_new(MUX_GUEST, GUEST_SESSION) };
		struct err err = ERR_INIT;

		CHECK_INT(mux_feed(pair.host, span_of(rows[i].bytes, rows[i].len), &err), 0);
		assert_false(mux_is_up(pair.host));
		shuttle(&pair, 5);
		CHECK_ROW(i, mux_is_up(pair.host) && mux_is_up(pair.guest));
		pair_done(&pair);
	}
}

static void test_bytes_both_ways(void **state)
{
	struct pair pair = pair_up();
	uint32_t host, guest;
	struct mux_event event;

	(void)state;
	open_stream(&pair, &host, &guest);
	write_all(pair.host, host, "ask");
	write_all(pair.host, host, " more");
	write_all(pair.guest, guest, "answer");
	mux_end(pair.host, host);
	shuttle(&pair, 3);

	event = expect_event(pair.guest, MUX_EVENT_READABLE);
	CHECK_INT(event.stream, guest);
	CHECK_INT(event.port, 1024);
	assert_false(mux_peer_ended(pair.guest, guest));
	expect_bytes(pair.guest, guest, "ask more");
	assert_true(mux_peer_ended(pair.guest, guest));

	/* The other direction is still open. */
	expect_bytes(pair.host, host, "answer");
	assert_false(mux_peer_ended(pair.host, host));
	write_all(pair.guest, guest, "end");
	mux_end(pair.guest, guest);
	mux_close(pair.guest, guest);
	CHECK_INT(mux_stream_count(pair.guest), 1);
	shuttle(&pair, SIZE_MAX);
	CHECK_INT(mux_stream_count(pair.guest), 0);
	expect_bytes(pair.host, host, "end");
	assert_true(mux_peer_ended(pair.host, host));
	mux_close(pair.host, host);
	CHECK_INT(mux_stream_count(pair.host), 0);
	shuttle(&pair, SIZE_MAX);
	pair_done(&pair);
}

static void test_guest_opens_too(void **state)
{
	struct pair pair = pair_up();
	struct mux_event event;
	uint32_t guest;

	(void)state;
	CHECK_INT(mux_open(pair.guest, 53, &guest), 0);
	shuttle(&pair, SIZE_MAX);
	event = expect_event(pair.host, MUX_EVENT_OPEN);
	CHECK_INT(event.port, 53);
	mux_accept(pair.host, event.stream);
	write_all(pair.host, event.stream, "hello");
	shuttle(&pair, SIZE_MAX);
	(void)expect_event(pair.guest, MUX_EVENT_ACCEPTED);
	expect_bytes(pair.guest, guest, "hello");
	pair_done(&pair);
}

static void test_refusals(void **state)
{
	static const enum mux_refusal rows[] = { MUX_REFUSED_NOBODY, MUX_REFUSED_LIMIT,
						 MUX_REFUSED_FAILED };
	struct pair pair = pair_up();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct mux_event event;
		uint32_t host;

		CHECK_INT(mux_open(pair.host, 9, &host), 0);
		shuttle(&pair, SIZE_MAX);
		mux_refuse(pair.guest, expect_event(pair.guest, MUX_EVENT_OPEN).stream, rows[i]);
		shuttle(&pair, SIZE_MAX);
		event = expect_event(pair.host, MUX_EVENT_REFUSED);
		CHECK_INT(event.stream, host);
		CHECK_INT(event.refusal, rows[i]);
		CHECK_INT(mux_room(pair.host, host), 0);
		mux_close(pair.host, host);
		CHECK_INT(mux_stream_count(pair.host) + mux_stream_count(pair.guest), 0);
	}
	pair_done(&pair);
}

static void test_reset(void **state)
{
	struct pair pair = pair_up();
	uint32_t host, guest, second_host, second_guest;

	(void)state;
	open_stream(&pair, &host, &guest);
	open_stream(&pair, &second_host, &second_guest);
	write_all(pair.host, host, "lost");
	write_all(pair.guest, guest, "on the way");
	mux_close(pair.host, host);
	shuttle(&pair, SIZE_MAX);
	CHECK_INT(expect_event(pair.guest, MUX_EVENT_RESET).stream, guest);
	expect_silence(pair.guest);
	CHECK_INT(mux_peek(pair.guest, guest).len, 0);
	CHECK_INT(mux_write(pair.guest, guest, span_str("x")), 0);
	mux_end(pair.guest, guest);
	mux_close(pair.guest, guest);

	/* What was on the way did no harm, nor to the other stream. */
	write_all(pair.guest, second_guest, "fine");
	shuttle(&pair, SIZE_MAX);
	expect_bytes(pair.host, second_host, "fine");
	CHECK_INT(mux_stream_count(pair.host), 1);
	CHECK_INT(mux_stream_count(pair.guest), 1);
	pair_done(&pair);
}

/* Closed before the peer has answered, before and after OPEN went out. */
static void test_close_while_opening(void **state)
{
	struct pair pair = pair_up();
	uint32_t host, guest;

	(void)state;
	CHECK_INT(mux_open(pair.host, 1, &host), 0);
	mux_close(pair.host, host);
	CHECK_INT(mux_stream_count(pair.host), 0);
	CHECK_INT(mux_output(pair.host).len, 0);

	CHECK_INT(mux_open(pair.host, 1, &host), 0);
	shuttle(&pair, SIZE_MAX);
	mux_close(pair.host, host);
	guest = expect_event(pair.guest, MUX_EVENT_OPEN).stream;
	mux_accept(pair.guest, guest);
	write_all(pair.guest, guest, "");
	shuttle(&pair, SIZE_MAX);
	(void)expect_event(pair.guest, MUX_EVENT_RESET);
	mux_close(pair.guest, guest);

	/* A stream that its owner never saw ends without a word. */
	CHECK_INT(mux_open(pair.host, 1, &host), 0);
	shuttle(&pair, SIZE_MAX);
	mux_close(pair.host, host);
	shuttle(&pair, SIZE_MAX);
	expect_silence(pair.guest);
	CHECK_INT(mux_stream_count(pair.guest), 0);
	pair_done(&pair);
}

static void test_stream_limit(void **state)
{
	struct pair pair = pair_up();
	uint32_t stream;

	(void)state;
	for (size_t i = 0; i < MUX_STREAMS_MAX; i++)
		CHECK_ROW(i, mux_open(pair.host, 1, &stream) == 0);
	CHECK_INT(mux_open(pair.host, 1, &stream), -EMFILE);
	shuttle(&pair, SIZE_MAX);
	CHECK_INT(mux_stream_count(pair.guest), MUX_STREAMS_MAX);
	CHECK_INT(mux_open(pair.guest, 1, &stream), -EMFILE);

	/* One is closed: there is room for one. */
	mux_refuse(pair.guest, expect_event(pair.guest, MUX_EVENT_OPEN).stream, MUX_REFUSED_NOBODY);
	shuttle(&pair, SIZE_MAX);
	mux_close(pair.host, expect_event(pair.host, MUX_EVENT_REFUSED).stream);
	CHECK_INT(mux_open(pair.host, 1, &stream), 0);
	CHECK_INT(mux_open(pair.host, 1, &stream), -EMFILE);
	pair_done(&pair);
}

/* Writes until the mux takes no more and nothing moves; how much it took. */
static size_t fill(const struct pair *pair, uint32_t host)
{
	AUTO_FREE uint8_t *chunk = mem_alloc(1, MUX_SEND_STREAM_MAX);
	size_t total = 0;
	size_t taken;

	do {
		taken = mux_write(pair->host, host, span_of(chunk, MUX_SEND_STREAM_MAX));
		total += taken;
		shuttle(pair, SIZE_MAX);
	} while (taken > 0);
	return total;
}

static void test_slow_reader_holds_up_itself_only(void **state)
{
	struct pair pair = pair_up();
	uint32_t slow_host, slow_guest, host, guest;
	struct mux_event event;

	(void)state;
	open_stream(&pair, &slow_host, &slow_guest);
	open_stream(&pair, &host, &guest);
	CHECK_INT(fill(&pair, slow_host), MUX_WINDOW_LARGE);
	CHECK_INT(mux_room(pair.host, slow_host), 0);
	CHECK_INT(mux_peek(pair.guest, slow_guest).len, MUX_WINDOW_LARGE);

	write_all(pair.host, host, "quick");
	shuttle(&pair, SIZE_MAX);
	expect_bytes(pair.guest, guest, "quick");

	/* Less than a quarter of the window is not worth a frame. */
	mux_consume(pair.guest, slow_guest, MUX_WINDOW_LARGE / 4 - 1);
	shuttle(&pair, SIZE_MAX);
	CHECK_INT(mux_room(pair.host, slow_host), 0);
	expect_silence(pair.host);
	mux_consume(pair.guest, slow_guest, 1);
	shuttle(&pair, SIZE_MAX);
	event = expect_event(pair.host, MUX_EVENT_WRITABLE);
	CHECK_INT(event.stream, slow_host);
	CHECK_INT(mux_room(pair.host, slow_host), MUX_WINDOW_LARGE / 4);
	CHECK_INT(fill(&pair, slow_host), MUX_WINDOW_LARGE / 4);
	pair_done(&pair);
}

static void test_windows_shrink(void **state)
{
	struct pair pair = pair_up();
	uint32_t host[MUX_LARGE_STREAMS_MAX + 1], guest[MUX_LARGE_STREAMS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(host); i++)
		open_stream(&pair, &host[i], &guest[i]);
	CHECK_INT(fill(&pair, host[MUX_LARGE_STREAMS_MAX - 1]), MUX_WINDOW_LARGE);
	CHECK_INT(fill(&pair, host[MUX_LARGE_STREAMS_MAX]), MUX_WINDOW_SMALL);
	pair_done(&pair);
}

/* The channel takes nothing: what the streams may hold is bounded, for each and for all. */
static void test_send_limits(void **state)
{
	enum { STREAMS = 20 };
	AUTO_FREE uint8_t *chunk = mem_alloc(1, MUX_SEND_STREAM_MAX + 1);
	struct pair pair = pair_up();
	uint32_t host[STREAMS], guest[STREAMS];
	struct mux_event event;
	size_t total = 0;

	(void)state;
	for (size_t i = 0; i < STREAMS; i++)
		open_stream(&pair, &host[i], &guest[i]);
	for (size_t i = 0; i < STREAMS; i++) {
		const size_t taken =
			mux_write(pair.host, host[i], span_of(chunk, MUX_SEND_STREAM_MAX + 1));

		CHECK_INT(taken, i < 16 ? MUX_SEND_STREAM_MAX : 0);
		total += taken;
	}
	CHECK_INT(total, MUX_SEND_TOTAL_MAX);
	shuttle(&pair, SIZE_MAX);
	for (size_t i = 0; i < STREAMS; i++) {
		event = expect_event(pair.host, MUX_EVENT_WRITABLE);
		CHECK_ROW(i, mux_room(pair.host, event.stream) > 0);
	}
	expect_silence(pair.host);
	pair_done(&pair);
}

static void test_streams_take_turns(void **state)
{
	enum { STREAMS = 3, FRAME = MUX_HEADER_SIZE + MUX_PAYLOAD_MAX + 1 };
	AUTO_FREE uint8_t *chunk = mem_alloc(1, MUX_SEND_STREAM_MAX);
	struct pair pair = pair_up();
	uint32_t host[STREAMS], guest[STREAMS];
	AUTO_BUF sent = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < STREAMS; i++)
		open_stream(&pair, &host[i], &guest[i]);
	for (size_t i = 0; i < STREAMS; i++)
		assert_int_equal(mux_write(pair.host, host[i], span_of(chunk, MUX_SEND_STREAM_MAX)),
				 MUX_SEND_STREAM_MAX);
	while (mux_output(pair.host).len > 0) {
		const struct span out = mux_output(pair.host);

		buf_add(&sent, out);
		mux_sent(pair.host, out.len);
	}
	CHECK_INT(sent.len, 2 * STREAMS * FRAME);
	for (size_t i = 0; i < 2 * STREAMS; i++)
		CHECK_INT(sent.ptr[i * FRAME + 7], 1 + 2 * (i % STREAMS));
	pair_done(&pair);
}

/* The guest restarts while the host is in the middle of one of its frames. */
static void test_restart_in_the_middle_of_a_frame(void **state)
{
	for (size_t cut = 1; cut < MUX_HEADER_SIZE + 100; cut += 5) {
		AUTO_FREE uint8_t *chunk = mem_alloc(1, 100);
		struct pair pair = pair_up();
		uint32_t host, guest, later;
		struct err err = ERR_INIT;
		int r;

		(void)state;
		open_stream(&pair, &host, &guest);
		memset(chunk, 'x', 100);
		CHECK_INT(mux_write(pair.guest, guest, span_of(chunk, 100)), 100);
		CHECK_INT(mux_feed(pair.host, span_of(mux_output(pair.guest).ptr, cut), &err), 0);
		mux_free(pair.guest);
		pair.guest = mux_new(MUX_GUEST, GUEST_SESSION + 1);

		/* The host may notice by itself, or by the HELLO that follows. */
		r = mux_feed(pair.host, mux_output(pair.guest), &err);
		mux_sent(pair.guest, mux_output(pair.guest).len);
		if (r < 0)
			mux_restart(pair.host, HOST_SESSION + 1);
		shuttle(&pair, 1000);
		CHECK_ROW(cut, mux_is_up(pair.host) && mux_is_up(pair.guest));

		(void)expect_event(pair.host, MUX_EVENT_DOWN);
		(void)expect_event(pair.host, MUX_EVENT_UP);
		CHECK_INT(expect_event(pair.host, MUX_EVENT_RESET).stream, host);
		CHECK_INT(mux_peek(pair.host, host).len, 0);
		mux_close(pair.host, host);
		expect_silence(pair.host);
		(void)expect_event(pair.guest, MUX_EVENT_UP);
		open_stream(&pair, &later, &guest);
		assert_int_not_equal(later, host);
		pair_done(&pair);
	}
}

static void test_host_restarts(void **state)
{
	struct pair pair = pair_up();
	uint32_t host, guest;

	(void)state;
	open_stream(&pair, &host, &guest);
	mux_restart(pair.host, HOST_SESSION + 1);
	(void)expect_event(pair.host, MUX_EVENT_DOWN);
	(void)expect_event(pair.host, MUX_EVENT_RESET);
	mux_close(pair.host, host);
	/* An old frame of the guest is still on the way. */
	write_all(pair.guest, guest, "old");
	shuttle(&pair, 11);
	assert_true(mux_is_up(pair.host) && mux_is_up(pair.guest));
	(void)expect_event(pair.guest, MUX_EVENT_DOWN);
	(void)expect_event(pair.guest, MUX_EVENT_UP);
	CHECK_INT(expect_event(pair.guest, MUX_EVENT_RESET).stream, guest);
	mux_close(pair.guest, guest);
	(void)expect_event(pair.host, MUX_EVENT_UP);
	open_stream(&pair, &host, &guest);
	pair_done(&pair);
}

/* A host mux that was greeted by raw bytes; session of the "guest" is "guest..." and so on. */
static struct mux *raw_host(void)
{
	static const char hello[] = "\1\1\0\0\0\0\0\0\0\0\0\x18"
				    "BNGRMUX\n"
				    "guest..."
				    "\x11\x11\x22\x22\x33\x33\x44\x44";
	struct mux *mux = mux_new(MUX_HOST, HOST_SESSION);
	struct err err = ERR_INIT;

	assert_int_equal(mux_feed(mux, span_of(hello, sizeof(hello) - 1), &err), 0);
	(void)expect_event(mux, MUX_EVENT_UP);
	while (mux_output(mux).len > 0)
		mux_sent(mux, mux_output(mux).len);
	return mux;
}

static void raw_open(struct buf *out, uint32_t id, uint32_t credit)
{
	buf_add(out, span_of("\1\2\0\0", 4));
	buf_add_be32(out, id);
	buf_add_be32(out, 8);
	buf_add_be32(out, 1);
	buf_add_be32(out, credit);
}

static void raw_data(struct buf *out, uint32_t id, size_t len)
{
	AUTO_FREE uint8_t *bytes = mem_alloc(1, len + 1);

	buf_add(out, span_of("\1\5\0\0", 4));
	buf_add_be32(out, id);
	buf_add_be32(out, (uint32_t)len);
	bytes[len] = 0xC5;
	buf_add(out, span_of(bytes, len + 1));
}

#define FRAME(text)                    \
	{                              \
		text, sizeof(text) - 1 \
	}

/* Stream 1 is ours and open, 3 is ours and not answered, 2 the peer's and open, 4 not answered. */
static void test_violations(void **state)
{
	static const struct {
		struct {
			const char *bytes;
			size_t len;
		} frame;
		const char *message;
	} rows[] = {
		{ FRAME("\2\5\0\0\0\0\0\1\0\0\0\1"), "multiplexer: frame of version 2" },
		{ FRAME("\1\0\0\0\0\0\0\0\0\0\0\0"), "multiplexer: frame of unknown type 0" },
		{ FRAME("\1\x9\0\0\0\0\0\0\0\0\0\0"), "multiplexer: frame of unknown type 9" },
		{ FRAME("\1\7\1\0\0\0\0\1\0\0\0\0"), "multiplexer: EOF frame with reserved bits" },
		{ FRAME("\1\7\0\1\0\0\0\1\0\0\0\0"), "multiplexer: EOF frame with reserved bits" },
		{ FRAME("\1\7\0\0\0\0\0\1\0\0\0\1"), "multiplexer: EOF frame of 1 bytes" },
		{ FRAME("\1\1\0\0\0\0\0\0\0\0\0\x17"), "multiplexer: HELLO frame of 23 bytes" },
		{ FRAME("\1\1\0\0\0\0\0\0\0\0\0\x18"
			"BNGRMUX."
			"12345678"
			"12345678"),
		  "multiplexer: HELLO without its magic or session" },
		{ FRAME("\1\1\0\0\0\0\0\1\0\0\0\x18"
			"BNGRMUX\n"
			"12345678"
			"12345678"),
		  "multiplexer: HELLO without its magic or session" },
		{ FRAME("\1\1\0\0\0\0\0\0\0\0\0\x18"
			"BNGRMUX\n"
			"\0\0\0\0\0\0\0\0"
			"12345678"),
		  "multiplexer: HELLO without its magic or session" },
		{ FRAME("\1\5\0\0\0\0\0\1\0\0\x80\1"), "multiplexer: DATA frame of 32769 bytes" },
		{ FRAME("\1\5\0\0\0\0\0\1\xff\xff\xff\xff"),
		  "multiplexer: DATA frame of 4294967295 bytes" },
		{ FRAME("\1\5\0\0\0\0\0\1\0\0\0\0"), "multiplexer: DATA frame of 0 bytes" },
		{ FRAME("\1\5\0\0\0\0\0\5\0\0\0\1"),
		  "multiplexer: DATA for stream 5, which was never open" },
		{ FRAME("\1\5\0\0\0\0\0\6\0\0\0\1"),
		  "multiplexer: DATA for stream 6, which was never open" },
		{ FRAME("\1\5\0\0\0\0\0\0\0\0\0\1"),
		  "multiplexer: DATA for stream 0, which was never open" },
		{ FRAME("\1\5\0\0\0\0\0\3\0\0\0\1"),
		  "multiplexer: DATA for stream 3 before its ACCEPT" },
		{ FRAME("\1\5\0\0\0\0\0\4\0\0\0\1"),
		  "multiplexer: DATA for stream 4 before its ACCEPT" },
		{ FRAME("\1\5\0\0\0\0\0\1\0\0\0\1xx"),
		  "multiplexer: DATA frame without its end mark" },
		{ FRAME("\1\7\0\0\0\0\0\1\0\0\0\0"
			"\1\5\0\0\0\0\0\1\0\0\0\1"),
		  "multiplexer: DATA for stream 1 after its EOF" },
		{ FRAME("\1\7\0\0\0\0\0\1\0\0\0\0"
			"\1\7\0\0\0\0\0\1\0\0\0\0"),
		  "multiplexer: EOF of stream 1 twice" },
		{ FRAME("\1\7\0\0\0\0\0\3\0\0\0\0"),
		  "multiplexer: EOF of stream 3 before its ACCEPT" },
		{ FRAME("\1\7\0\0\0\0\0\7\0\0\0\0"),
		  "multiplexer: EOF for stream 7, which was never open" },
		{ FRAME("\1\2\0\0\0\0\0\5\0\0\0\x8"
			"\0\0\0\1\0\0\0\1"),
		  "multiplexer: OPEN of stream 5, whose number is not the peer's next" },
		{ FRAME("\1\2\0\0\0\0\0\4\0\0\0\x8"
			"\0\0\0\1\0\0\0\1"),
		  "multiplexer: OPEN of stream 4, whose number is not the peer's next" },
		{ FRAME("\1\2\0\0\0\0\0\0\0\0\0\x8"
			"\0\0\0\1\0\0\0\1"),
		  "multiplexer: OPEN of stream 0, whose number is not the peer's next" },
		{ FRAME("\1\2\0\0\0\0\0\6\0\0\0\x8"
			"\0\0\0\1\x40\0\0\1"),
		  "multiplexer: credit of 1073741825 bytes for stream 6" },
		{ FRAME("\1\3\0\0\0\0\0\1\0\0\0\4"
			"\0\0\0\1"),
		  "multiplexer: ACCEPT of stream 1, which was not asked for" },
		{ FRAME("\1\3\0\0\0\0\0\4\0\0\0\4"
			"\0\0\0\1"),
		  "multiplexer: ACCEPT of stream 4, which was not asked for" },
		{ FRAME("\1\3\0\0\0\0\0\3\0\0\0\4"
			"\x40\0\0\1"),
		  "multiplexer: credit of 1073741825 bytes for stream 3" },
		{ FRAME("\1\4\0\0\0\0\0\2\0\0\0\4"
			"\0\0\0\1"),
		  "multiplexer: REFUSE of stream 2, which was not asked for" },
		{ FRAME("\1\4\0\0\0\0\0\x9\0\0\0\4"
			"\0\0\0\1"),
		  "multiplexer: REFUSE for stream 9, which was never open" },
		{ FRAME("\1\6\0\0\0\0\0\1\0\0\0\4"
			"\0\0\0\0"),
		  "multiplexer: credit of 100 and 0 bytes for stream 1" },
		{ FRAME("\1\6\0\0\0\0\0\1\0\0\0\4"
			"\x3f\xff\xff\x9d"),
		  "multiplexer: credit of 100 and 1073741725 bytes for stream 1" },
		{ FRAME("\1\6\0\0\0\0\0\3\0\0\0\4"
			"\0\0\0\1"),
		  "multiplexer: WINDOW for stream 3 before its ACCEPT" },
		{ FRAME("\1\x8\0\0\0\0\0\x8\0\0\0\0"),
		  "multiplexer: RESET for stream 8, which was never open" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct mux *mux = raw_host();
		AUTO_BUF in = BUF_INIT;
		struct err err = ERR_INIT;
		uint32_t stream;

		assert_int_equal(mux_open(mux, 1, &stream), 0);
		assert_int_equal(mux_open(mux, 1, &stream), 0);
		mux_sent(mux, mux_output(mux).len);
		buf_add(&in, span_of("\1\3\0\0\0\0\0\1\0\0\0\4"
				     "\0\0\0\x64",
				     16));
		raw_open(&in, 2, 100);
		assert_int_equal(mux_feed(mux, buf_span(&in), &err), 0);
		(void)expect_event(mux, MUX_EVENT_ACCEPTED);
		mux_accept(mux, expect_event(mux, MUX_EVENT_OPEN).stream);
		buf_clear(&in);
		raw_open(&in, 4, 100);
		assert_int_equal(mux_feed(mux, buf_span(&in), &err), 0);

		CHECK_ROW(i,
			  mux_feed(mux, span_of(rows[i].frame.bytes, rows[i].frame.len), &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_STR(err.message, rows[i].message);

		/* Broken until the restart, and says so again. */
		CHECK_INT(mux_output(mux).len, 0);
		err = ERR_INIT;
		assert_true(mux_feed(mux, span_str("x"), &err) < 0);
		CHECK_STR(err.message, rows[i].message);
		mux_restart(mux, HOST_SESSION + 1);
		CHECK_INT(mux_feed(mux, span_str("x"), &err), 0);
		mux_free(mux);
	}
}

static void test_credit_at_the_limit(void **state)
{
	struct mux *mux = raw_host();
	AUTO_BUF in = BUF_INIT;
	struct err err = ERR_INIT;
	uint32_t stream;

	(void)state;
	raw_open(&in, 2, MUX_CREDIT_MAX);
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	stream = expect_event(mux, MUX_EVENT_OPEN).stream;
	mux_accept(mux, stream);
	buf_clear(&in);
	for (size_t i = 0; i < MUX_WINDOW_LARGE / MUX_PAYLOAD_MAX; i++)
		raw_data(&in, 2, MUX_PAYLOAD_MAX);
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	CHECK_INT(mux_peek(mux, stream).len, MUX_WINDOW_LARGE);
	buf_clear(&in);
	raw_data(&in, 2, 1);
	assert_true(mux_feed(mux, buf_span(&in), &err) < 0);
	CHECK_STR(err.message, "multiplexer: 1 bytes for stream 2, which has credit for 0");
	mux_free(mux);
}

/* Over 1024 streams: refused; and more refusals than the mux keeps: broken. */
static void test_too_many_opens(void **state)
{
	struct mux *mux = raw_host();
	AUTO_BUF in = BUF_INIT;
	struct err err = ERR_INIT;
	uint32_t id = 2;
	size_t refusals = 0;

	(void)state;
	for (size_t i = 0; i < MUX_STREAMS_MAX + MUX_REFUSALS_MAX; i++, id += 2)
		raw_open(&in, id, 0);
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	CHECK_INT(mux_stream_count(mux), MUX_STREAMS_MAX);
	refusals = mux_output(mux).len / 16;
	CHECK_INT(mux_output(mux).len % 16, 0);
	CHECK_INT(refusals, MUX_REFUSALS_MAX);
	CHECK_INT(mux_output(mux).ptr[1], 4);
	CHECK_INT(mux_output(mux).ptr[15], MUX_REFUSED_LIMIT);

	buf_clear(&in);
	for (size_t i = 0; i < MUX_REFUSALS_MAX; i++, id += 2)
		raw_open(&in, id, 0);
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	buf_clear(&in);
	raw_open(&in, id, 0);
	assert_true(mux_feed(mux, buf_span(&in), &err) < 0);
	CHECK_STR(err.message, "multiplexer: more than 1024 streams and 256 refusals");
	mux_free(mux);
}

/* Frames that crossed our RESET on the way. */
static void test_recently_closed(void **state)
{
	static const char late[] = "\1\6\0\0\0\0\0\2\0\0\0\4\0\0\0\1"
				   "\1\7\0\0\0\0\0\2\0\0\0\0"
				   "\1\x8\0\0\0\0\0\2\0\0\0\0"
				   "\1\x8\0\0\0\0\0\2\0\0\0\0";
	struct mux *mux = raw_host();
	AUTO_BUF in = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	raw_open(&in, 2, 10);
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	mux_close(mux, expect_event(mux, MUX_EVENT_OPEN).stream);
	mux_sent(mux, mux_output(mux).len);
	CHECK_INT(mux_stream_count(mux), 0);
	buf_clear(&in);
	raw_data(&in, 2, 5);
	buf_add(&in, span_of(late, sizeof(late) - 1));
	CHECK_INT(mux_feed(mux, buf_span(&in), &err), 0);
	expect_silence(mux);
	mux_free(mux);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_late_peer),
		cmocka_unit_test(test_garbage_before_hello),
		cmocka_unit_test(test_bytes_both_ways),
		cmocka_unit_test(test_guest_opens_too),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_close_while_opening),
		cmocka_unit_test(test_stream_limit),
		cmocka_unit_test(test_slow_reader_holds_up_itself_only),
		cmocka_unit_test(test_windows_shrink),
		cmocka_unit_test(test_send_limits),
		cmocka_unit_test(test_streams_take_turns),
		cmocka_unit_test(test_restart_in_the_middle_of_a_frame),
		cmocka_unit_test(test_host_restarts),
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_credit_at_the_limit),
		cmocka_unit_test(test_too_many_opens),
		cmocka_unit_test(test_recently_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
