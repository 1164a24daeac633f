/* Frames, requests' names and the collection of arguments: each limit at N and N + 1. */
#include "check.h"

#include "base/mem.h"
#include "wire/args.h"
#include "wire/frame.h"
#include "wire/protocol.h"

static void test_op_names(void **state)
{
	enum wire_op op = WIRE_OP_PING;

	(void)state;
	for (size_t i = 0; i < WIRE_OP_COUNT; i++) {
		CHECK_ROW(i, wire_op_from_name(wire_op_name((enum wire_op)i), &op));
		CHECK_INT(op, i);
	}
	assert_false(wire_op_from_name("EXEC", &op));
	assert_false(wire_op_from_name("", &op));
	assert_false(wire_op_from_name(NULL, &op));
}

static void test_frames_come_back(void **state)
{
	static const struct {
		enum wire_sender sender;
		enum wire_type type;
		const char *payload;
		const char *name;
	} rows[] = {
		{ WIRE_FROM_HOST, WIRE_PART, "p", "PART" },
		{ WIRE_FROM_HOST, WIRE_ARG, "", "ARG" },
		{ WIRE_FROM_HOST, WIRE_ARG, "\xff\x01", "ARG" },
		{ WIRE_FROM_HOST, WIRE_ENV, "A=b", "ENV" },
		{ WIRE_FROM_HOST, WIRE_START, "", "START" },
		{ WIRE_FROM_HOST, WIRE_STDIN, "in", "STDIN" },
		{ WIRE_FROM_HOST, WIRE_STDIN_EOF, "", "STDIN_EOF" },
		{ WIRE_FROM_HOST, WIRE_SIGNAL, "\x02", "SIGNAL" },
		{ WIRE_FROM_HOST, WIRE_WINSIZE, "12345678", "WINSIZE" },
		{ WIRE_FROM_HOST, WIRE_DATA, "tar", "DATA" },
		{ WIRE_FROM_HOST, WIRE_END, "", "END" },
		{ WIRE_FROM_GUEST, WIRE_STDOUT, "out", "STDOUT" },
		{ WIRE_FROM_GUEST, WIRE_STDERR, "err", "STDERR" },
		{ WIRE_FROM_GUEST, WIRE_EXIT, "12345678", "EXIT" },
		{ WIRE_FROM_GUEST, WIRE_DATA, "tar", "DATA" },
		{ WIRE_FROM_GUEST, WIRE_END, "{}", "END" },
		{ WIRE_FROM_GUEST, WIRE_ERROR, "no", "ERROR" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;
		struct err err = ERR_INIT;
		struct wire_frame frame = { .type = WIRE_DATA };
		struct span cursor;

		wire_add_frame(&out, rows[i].type, span_str(rows[i].payload));
		/* Every shorter beginning only wants more, and leaves the cursor alone. */
		for (size_t len = 0; len < out.len; len++) {
			cursor = span_of(out.ptr, len);
			CHECK_INT(wire_decode(&cursor, rows[i].sender, &frame, &err), 0);
			CHECK_INT(cursor.len, len);
		}
		cursor = buf_span(&out);
		CHECK_INT(wire_decode(&cursor, rows[i].sender, &frame, &err), 1);
		CHECK_INT(cursor.len, 0);
		CHECK_INT(frame.type, rows[i].type);
		CHECK_ROW(i, span_eq(frame.payload, span_str(rows[i].payload)));
		CHECK_STR(wire_type_name(frame.type), rows[i].name);
	}
}

static void test_bad_frames(void **state)
{
	static const struct {
		enum wire_sender sender;
		const char *bytes;
		size_t len;
		const char *message;
	} rows[] = {
		{ WIRE_FROM_HOST, "\x00", 1, "frame of unknown type 0" },
		{ WIRE_FROM_HOST, "\x09", 1, "frame of unknown type 9" },
		{ WIRE_FROM_GUEST, "\x23", 1, "frame of unknown type 35" },
		{ WIRE_FROM_GUEST, "\xff", 1, "frame of unknown type 255" },
		{ WIRE_FROM_GUEST, "\x05", 1, "STDIN frame from the guest" },
		{ WIRE_FROM_HOST, "\x10", 1, "STDOUT frame from the host" },
		{ WIRE_FROM_HOST, "\x22", 1, "ERROR frame from the host" },
		{ WIRE_FROM_GUEST, "\x10\x01\0\0\0\0\0\1", 8, "STDOUT frame with reserved bits" },
		{ WIRE_FROM_GUEST, "\x10\0\0\x80\0\0\0\1", 8, "STDOUT frame with reserved bits" },
		{ WIRE_FROM_GUEST, "\x10\0\0\0\0\0\0\0", 8, "STDOUT frame of 0 bytes" },
		{ WIRE_FROM_GUEST, "\x10\0\0\0\0\1\0\1", 8, "STDOUT frame of 65537 bytes" },
		{ WIRE_FROM_GUEST, "\x10\0\0\0\xff\xff\xff\xff", 8,
		  "STDOUT frame of 4294967295 bytes" },
		{ WIRE_FROM_GUEST, "\x12\0\0\0\0\0\0\7", 8, "EXIT frame of 7 bytes" },
		{ WIRE_FROM_GUEST, "\x12\0\0\0\0\0\0\x9", 8, "EXIT frame of 9 bytes" },
		{ WIRE_FROM_GUEST, "\x22\0\0\0\0\0\x10\1", 8, "ERROR frame of 4097 bytes" },
		{ WIRE_FROM_HOST, "\x04\0\0\0\0\0\0\1", 8, "START frame of 1 bytes" },
		{ WIRE_FROM_HOST, "\x07\0\0\0\0\0\0\0", 8, "SIGNAL frame of 0 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct wire_frame frame = { .type = WIRE_DATA };
		struct span cursor = span_of(rows[i].bytes, rows[i].len);

		CHECK_ROW(i, wire_decode(&cursor, rows[i].sender, &frame, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_STR(err.message, rows[i].message);
		CHECK_INT(cursor.len, rows[i].len);
		CHECK_INT(frame.type, WIRE_DATA);
	}
}

static void test_payloads(void **state)
{
	AUTO_BUF out = BUF_INIT;
	struct err err = ERR_INIT;
	struct wire_frame frame;
	struct wire_winsize size;
	struct wire_exit status;
	struct span cursor;
	uint8_t number;

	(void)state;
	wire_add_signal(&out, 64);
	wire_add_winsize(&out, (struct wire_winsize){ 40, 65535, 1, 2 });
	cursor = buf_span(&out);
	CHECK_INT(wire_decode(&cursor, WIRE_FROM_HOST, &frame, &err), 1);
	assert_true(wire_read_signal(&frame, &number));
	CHECK_INT(number, 64);
	CHECK_INT(wire_decode(&cursor, WIRE_FROM_HOST, &frame, &err), 1);
	assert_true(wire_read_winsize(&frame, &size));
	CHECK_INT(size.rows, 40);
	CHECK_INT(size.cols, 65535);
	CHECK_INT(size.width, 1);
	CHECK_INT(size.height, 2);

	buf_clear(&out);
	wire_add_exit(&out, (struct wire_exit){ WIRE_SIGNALED, UINT32_MAX });
	cursor = buf_span(&out);
	CHECK_INT(wire_decode(&cursor, WIRE_FROM_GUEST, &frame, &err), 1);
	assert_true(wire_read_exit(&frame, &status));
	CHECK_INT(status.kind, WIRE_SIGNALED);
	CHECK_INT(status.code, UINT32_MAX);
}

static void test_bad_payloads(void **state)
{
	static const struct {
		enum wire_type type;
		const char *payload;
		size_t len;
	} rows[] = {
		{ WIRE_SIGNAL, "\0", 1 },
		{ WIRE_SIGNAL, "\x41", 1 },
		{ WIRE_SIGNAL, "\xff", 1 },
		{ WIRE_WINSIZE, "\0\0\0\1\0\0\0\0", 8 },
		{ WIRE_WINSIZE, "\0\1\0\0\0\0\0\0", 8 },
		{ WIRE_EXIT, "\0\0\0\0\0\0\0\0", 8 },
		{ WIRE_EXIT, "\3\0\0\0\0\0\0\0", 8 },
		{ WIRE_EXIT, "\1\0\0\1\0\0\0\0", 8 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct wire_frame frame = { rows[i].type,
						  span_of(rows[i].payload, rows[i].len) };
		struct wire_winsize size;
		struct wire_exit status;
		uint8_t number;

		CHECK_ROW(i, rows[i].type == WIRE_SIGNAL    ? !wire_read_signal(&frame, &number)
			     : rows[i].type == WIRE_WINSIZE ? !wire_read_winsize(&frame, &size)
							    : !wire_read_exit(&frame, &status));
	}
}

static void test_reader_takes_any_pieces(void **state)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	AUTO_BUF out = BUF_INIT;
	AUTO_FREE void *big = mem_alloc(1, WIRE_PAYLOAD_MAX);
	struct err err = ERR_INIT;

	(void)state;
	wire_add_frame(&out, WIRE_STDOUT, span_of(big, WIRE_PAYLOAD_MAX));
	wire_add_frame(&out, WIRE_STDERR, span_str("x"));
	wire_add_exit(&out, (struct wire_exit){ WIRE_EXITED, 3 });

	for (size_t piece = 1; piece < 70000; piece = piece * 3 + 1) {
		struct span rest = buf_span(&out);
		size_t frames = 0;

		wire_reader_init(reader);
		while (rest.len > 0) {
			struct wire_frame frame;
			size_t room;
			uint8_t *into = wire_reader_room(reader, &room);
			const size_t len = piece < rest.len ? piece : rest.len;
			const size_t count = len < room ? len : room;

			assert_true(room > 0);
			memcpy(into, rest.ptr, count);
			wire_reader_advance(reader, count);
			rest = span_skip(rest, count);
			while (wire_reader_next(reader, WIRE_FROM_GUEST, &frame, &err) == 1)
				frames++;
		}
		CHECK_INT(frames, 3);
		CHECK_INT(wire_reader_pending(reader), 0);
	}
	mem_free(reader);
}

/* Feeds encoded strings to a collector; the result of the last frame. */
static int take_all(struct wire_args *args, struct span bytes, struct err *err)
{
	struct wire_frame frame;
	int r = 0;

	while (r == 0 && bytes.len > 0) {
		assert_int_equal(wire_decode(&bytes, WIRE_FROM_HOST, &frame, err), 1);
		r = wire_args_take(args, &frame, err);
	}
	return r;
}

static void test_args_are_byte_exact(void **state)
{
	AUTO_BUF out = BUF_INIT;
	AUTO_FREE char *big = mem_alloc(1, 3 * WIRE_PAYLOAD_MAX + 1);
	struct wire_args args;
	struct err err = ERR_INIT;

	(void)state;
	memset(big, 'x', 3 * WIRE_PAYLOAD_MAX);
	wire_add_string(&out, WIRE_ARG, span_str("sh"));
	wire_add_string(&out, WIRE_ARG, span_str(""));
	wire_add_string(&out, WIRE_ARG, span_str("\xff\n\"\x1b"));
	wire_add_string(&out, WIRE_ENV, span_str("A="));
	wire_add_string(&out, WIRE_ARG, span_str(big));
	wire_add_frame(&out, WIRE_START, span_of("", 0));

	wire_args_init(&args);
	CHECK_INT(take_all(&args, buf_span(&out), &err), 0);
	assert_true(args.is_complete);
	CHECK_INT(args.argv.count, 4);
	CHECK_STR(args.argv.items[1], "");
	CHECK_STR(args.argv.items[2], "\xff\n\"\x1b");
	CHECK_STR(args.argv.items[3], big);
	CHECK_INT(args.env.count, 1);
	CHECK_STR(args.env.items[0], "A=");
	wire_args_done(&args);
}

static void test_bad_args(void **state)
{
	static const struct {
		enum wire_type types[3];
		const char *payloads[3];
		size_t count;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ { WIRE_START }, { "" }, 1, ERR_INVALID, "START without a program" },
		{ { WIRE_ARG, WIRE_START }, { "", "" }, 2, ERR_INVALID, "START without a program" },
		{ { WIRE_ENV, WIRE_START },
		  { "A=1", "" },
		  2,
		  ERR_INVALID,
		  "START without a program" },
		{ { WIRE_ENV }, { "A" }, 1, ERR_INVALID, "variable 'A' is not NAME=VALUE" },
		{ { WIRE_ENV }, { "=x" }, 1, ERR_INVALID, "variable '=x' is not NAME=VALUE" },
		{ { WIRE_ENV }, { "" }, 1, ERR_INVALID, "variable '' is not NAME=VALUE" },
		{ { WIRE_ARG, WIRE_PART, WIRE_START },
		  { "sh", "x", "" },
		  3,
		  ERR_INVALID,
		  "START in the middle of an argument" },
		{ { WIRE_STDIN }, { "x" }, 1, ERR_PROTOCOL, "STDIN frame before START" },
		{ { WIRE_ARG, WIRE_START, WIRE_ARG },
		  { "sh", "", "x" },
		  3,
		  ERR_PROTOCOL,
		  "ARG frame after START" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;
		struct wire_args args;
		struct err err = ERR_INIT;

		for (size_t k = 0; k < rows[i].count; k++)
			wire_add_frame(&out, rows[i].types[k], span_str(rows[i].payloads[k]));
		wire_args_init(&args);
		CHECK_ROW(i, take_all(&args, buf_span(&out), &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_STR(err.message, rows[i].message);
		wire_args_done(&args);
	}
}

static void test_arg_with_nul(void **state)
{
	const struct wire_frame frame = { WIRE_ARG, span_of("a\0b", 3) };
	struct wire_args args;
	struct err err = ERR_INIT;

	(void)state;
	wire_args_init(&args);
	assert_true(wire_args_take(&args, &frame, &err) < 0);
	CHECK_STR(err.message, "argument or variable with a NUL byte");
	wire_args_done(&args);
}

/* Collects strings of these many bytes; whether all were taken. */
static bool takes_bytes(size_t len, struct err *err)
{
	AUTO_BUF out = BUF_INIT;
	AUTO_FREE char *text = mem_alloc(1, len + 1);
	struct wire_args args;
	int r;

	memset(text, 'x', len);
	wire_add_string(&out, WIRE_ARG, span_str(text));
	wire_args_init(&args);
	r = take_all(&args, buf_span(&out), err);
	wire_args_done(&args);
	return r == 0;
}

static bool takes_count(size_t count, struct err *err)
{
	const struct wire_frame frame = { WIRE_ARG, span_str("x") };
	struct wire_args args;
	int r = 0;

	wire_args_init(&args);
	for (size_t i = 0; i < count && r == 0; i++)
		r = wire_args_take(&args, &frame, err);
	wire_args_done(&args);
	return r == 0;
}

static void test_arg_limits(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_true(takes_bytes(WIRE_ARGS_BYTES_MAX - 1, &err));
	assert_false(takes_bytes(WIRE_ARGS_BYTES_MAX, &err));
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "arguments and environment of more than 2097152 bytes");
	assert_true(takes_count(WIRE_ARGS_COUNT_MAX, &err));
	assert_false(takes_count(WIRE_ARGS_COUNT_MAX + 1, &err));
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "more than 16384 arguments and variables");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_op_names),
		cmocka_unit_test(test_frames_come_back),
		cmocka_unit_test(test_bad_frames),
		cmocka_unit_test(test_payloads),
		cmocka_unit_test(test_bad_payloads),
		cmocka_unit_test(test_reader_takes_any_pieces),
		cmocka_unit_test(test_args_are_byte_exact),
		cmocka_unit_test(test_bad_args),
		cmocka_unit_test(test_arg_with_nul),
		cmocka_unit_test(test_arg_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
