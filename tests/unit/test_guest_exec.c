/* A command's client against agents that are scripted, slow or wrong. */
#include "test_guest_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "guest/exec.h"
#include "wire/frame.h"
#include "wire/protocol.h"

#define WRONG "wrong answer from the agent: "

static const struct guest_exec_io no_io = {
	.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .signal_fd = -1, .window_fd = -1
};

/* --- start --- */

static void test_start_sends_bytes_exactly(void **state)
{
	char *const argv[] = { (char[]){ "printf" }, (char[]){ "\xff\"\n" }, (char[]){ "" }, NULL };
	char *const env[] = { (char[]){ "A=\x01" }, NULL };
	const struct guest_exec exec = { .argv = argv,
					 .env = env,
					 .cwd = "/srv",
					 .user = "me",
					 .tty = true,
					 .rows = 40,
					 .cols = 120 };
	static const char wanted[] =
		"{\"op\":\"exec\",\"cwd\":\"/"
		"srv\",\"user\":\"me\",\"tty\":true,\"rows\":40,\"cols\":120}\n"
		"\2\0\0\0\0\0\0\6printf"
		"\2\0\0\0\0\0\0\3\xff\"\n"
		"\2\0\0\0\0\0\0\0"
		"\3\0\0\0\0\0\0\3A=\1"
		"\4\0\0\0\0\0\0\0";
	struct err err = ERR_INIT;
	char sent[512];
	uint32_t pid = 0;
	int peer;
	const int fd = prepared_stream(span_str("{\"ok\":true,\"pid\":412}\n\x10"), false, &peer);

	(void)state;
	if (guest_exec_start(fd, &exec, NULL, patience(), &pid, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(pid, 412);
	CHECK_INT(recv(peer, sent, sizeof(sent), 0), sizeof(wanted) - 1);
	assert_memory_equal(sent, wanted, sizeof(wanted) - 1);
	/* The first byte after the line is still in the stream. */
	CHECK_INT(recv(fd, sent, sizeof(sent), 0), 1);
	fd_close(fd);
	fd_close(peer);
}

static void test_start_login_shell(void **state)
{
	char *const env[] = { (char[]){ "A=1" }, NULL };
	const struct guest_exec exec = { .env = env };
	static const char wanted[] = "{\"op\":\"exec\"}\n\3\0\0\0\0\0\0\3A=1\4\0\0\0\0\0\0\0";
	struct err err = ERR_INIT;
	char sent[64];
	int peer;
	const int fd = prepared_stream(span_str("{\"ok\":true,\"pid\":1}\n"), false, &peer);

	(void)state;
	if (guest_exec_start(fd, &exec, NULL, patience(), NULL, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(recv(peer, sent, sizeof(sent), 0), sizeof(wanted) - 1);
	assert_memory_equal(sent, wanted, sizeof(wanted) - 1);
	fd_close(fd);
	fd_close(peer);
}

static void test_start_fails(void **state)
{
	static const struct {
		const char *reply;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "", ERR_PROTOCOL, "the agent closed the connection without an answer" },
		{ "{\"ok\":true}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":true,\"pid\":0}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":true,\"pid\":-3}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":true,\"pid\":2147483648}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":true,\"pid\":\"1\"}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":true,\"pid\":1,\"x\":1}\n", ERR_PROTOCOL, WRONG "no process number" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"not_found\",\"message\":\"exec 'x': "
		  "no\"}}\n",
		  ERR_NOT_FOUND, "exec 'x': no" },
	};
	char *const argv[] = { (char[]){ "x" }, NULL };
	const struct guest_exec exec = { .argv = argv };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		uint32_t pid = 7;
		int peer;
		const int fd = prepared_stream(span_str(rows[i].reply), true, &peer);

		CHECK_ROW(i, guest_exec_start(fd, &exec, NULL, patience(), &pid, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_STR(err.message, rows[i].message);
		CHECK_INT(pid, 7);
		fd_close(fd);
		fd_close(peer);
	}
}

/* Starts with these arguments; the kind of the error, or ERR_NONE. Nothing may be sent when it
 * fails. */
static enum err_kind start_kind(const struct guest_exec *exec)
{
	struct err err = ERR_INIT;
	char byte;
	int peer;
	const int fd = prepared_stream(span_str("{\"ok\":true,\"pid\":1}\n"), true, &peer);
	const int r = guest_exec_start(fd, exec, NULL, patience(), NULL, &err);

	CHECK_INT(recv(peer, &byte, 1, MSG_DONTWAIT), r < 0 ? -1 : 1);
	fd_close(fd);
	fd_close(peer);
	return r < 0 ? err.kind : ERR_NONE;
}

static void test_start_limits(void **state)
{
	AUTO_FREE char *big = mem_alloc(1, WIRE_ARGS_BYTES_MAX);
	AUTO_FREE char **many = mem_alloc(WIRE_ARGS_COUNT_MAX + 2, sizeof(*many));
	char *const argv[] = { (char[]){ "x" }, big, NULL };
	char *const none[] = { NULL };
	char *const empty[] = { (char[]){ "" }, NULL };
	char word[] = "m";
	struct guest_exec exec = { .argv = argv };

	(void)state;
	exec.argv = none;
	CHECK_INT(start_kind(&exec), ERR_INVALID);
	exec.argv = empty;
	CHECK_INT(start_kind(&exec), ERR_INVALID);
	exec.argv = argv;
	exec.cwd = "/\xff";
	CHECK_INT(start_kind(&exec), ERR_INVALID);
	exec.cwd = NULL;

	/* "x" and its NUL, the long one's NUL. */
	memset(big, 'b', WIRE_ARGS_BYTES_MAX - 2);
	CHECK_INT(start_kind(&exec), ERR_LIMIT);
	for (size_t i = 0; i <= WIRE_ARGS_COUNT_MAX; i++)
		many[i] = word;
	exec.argv = many;
	CHECK_INT(start_kind(&exec), ERR_LIMIT);
}

static void serve_big_start(int fd, void *context)
{
	size_t left = *(const size_t *)context;
	char bytes[8192];

	while (left > 0) {
		const ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		CHILD_CHECK(n > 0 && (size_t)n <= left);
		left -= (size_t)n;
	}
	CHILD_CHECK(fd_write_all(fd, span_str("{\"ok\":true,\"pid\":1}\n")) == 0);
}

static void test_start_at_the_limit(void **state)
{
	AUTO_FREE char *big = mem_alloc(1, WIRE_ARGS_BYTES_MAX);
	char *const argv[] = { (char[]){ "x" }, big, NULL };
	const struct guest_exec exec = { .argv = argv };
	struct err err = ERR_INIT;
	/* The request; START and "x"; 32 frames with the long string. */
	size_t expected = 14 + 8 + 9 + 32 * WIRE_HEADER_SIZE + WIRE_ARGS_BYTES_MAX - 3;
	pid_t pid;
	int fd;

	(void)state;
	memset(big, 'b', WIRE_ARGS_BYTES_MAX - 3);
	fd = fork_agent(serve_big_start, &expected, &pid);
	if (guest_exec_start(fd, &exec, NULL, patience(), NULL, &err) < 0)
		fail_msg("%s", err.message);
	fd_close(fd);
	reap_agent(pid);
}

/* --- run: what the agent says --- */

static void add_exit(struct buf *out, uint8_t kind, uint32_t code)
{
	buf_add(out, span_of("\x12\0\0\0\0\0\0\x8", 8));
	buf_add_byte(out, kind);
	buf_add(out, span_of("\0\0\0", 3));
	buf_add_be32(out, code);
}

/* GA6: impossible codes are clamped and flagged. */
static void test_status(void **state)
{
	static const struct {
		uint8_t kind;
		uint32_t code;
		struct guest_exec_status status;
	} rows[] = {
		{ WIRE_EXITED, 0, { 0, 0, false } },
		{ WIRE_EXITED, 3, { 3, 0, false } },
		{ WIRE_EXITED, 255, { 255, 0, false } },
		{ WIRE_EXITED, 256, { 255, 0, true } },
		{ WIRE_EXITED, UINT32_MAX, { 255, 0, true } },
		{ WIRE_SIGNALED, 1, { 129, 1, false } },
		{ WIRE_SIGNALED, 9, { 137, 9, false } },
		{ WIRE_SIGNALED, 64, { 192, 64, false } },
		{ WIRE_SIGNALED, 0, { 129, 1, true } },
		{ WIRE_SIGNALED, 65, { 192, 64, true } },
		{ WIRE_SIGNALED, 99, { 192, 64, true } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;
		struct guest_exec_status status = { 0 };
		struct err err = ERR_INIT;
		int peer, fd;

		add_exit(&out, rows[i].kind, rows[i].code);
		buf_add_str(&out, "\x10 more after EXIT");
		fd = prepared_stream(buf_span(&out), true, &peer);
		if (guest_exec_run(fd, &no_io, &status, &err) < 0)
			fail_msg("row %zu: %s", i, err.message);
		CHECK_INT(status.status, rows[i].status.status);
		CHECK_INT(status.signal, rows[i].status.signal);
		CHECK_ROW(i, status.is_clamped == rows[i].status.is_clamped);
		fd_close(fd);
		fd_close(peer);
	}
}

static void test_output_goes_where_it_should(void **state)
{
	AUTO_BUF said = BUF_INIT;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	struct guest_exec_io io = no_io;
	int out[2], errors[2], peer, fd;
	char got[32] = "";

	(void)state;
	assert_int_equal(fd_pipe(out), 0);
	assert_int_equal(fd_pipe(errors), 0);
	io.stdout_fd = out[1];
	io.stderr_fd = errors[1];
	wire_add_frame(&said, WIRE_STDOUT, span_of("a\0", 2));
	wire_add_frame(&said, WIRE_STDERR, span_str("warn"));
	wire_add_frame(&said, WIRE_STDOUT, span_str("b"));
	wire_add_exit(&said, (struct wire_exit){ WIRE_EXITED, 1 });
	fd = prepared_stream(buf_span(&said), true, &peer);
	CHECK_INT(guest_exec_run(fd, &io, &status, &err), 0);
	CHECK_INT(read(out[0], got, sizeof(got)), 3);
	assert_memory_equal(got, "a\0b", 3);
	CHECK_INT(read(errors[0], got, sizeof(got)), 4);
	assert_memory_equal(got, "warn", 4);
	for (size_t i = 0; i < 2; i++) {
		fd_close(out[i]);
		fd_close(errors[i]);
	}
	fd_close(fd);
	fd_close(peer);
}

static void test_wrong_streams(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum err_kind kind;
		const char *message;
	} rows[] = {
#define ROW(text) text, sizeof(text) - 1
		{ ROW(""), ERR_PROTOCOL,
		  "the agent closed the connection before the command ended" },
		{ ROW("\x10\0\0\0\0\0\0\1x\x12\0\0\0\0\0\0"), ERR_PROTOCOL,
		  "the agent closed the connection before the command ended" },
		{ ROW("\x7f"), ERR_PROTOCOL, WRONG "frame of unknown type 127" },
		{ ROW("\5\0\0\0\0\0\0\1x"), ERR_PROTOCOL, WRONG "STDIN frame from the guest" },
		{ ROW("\x10\0\0\0\xff\xff\xff\xff"), ERR_PROTOCOL,
		  WRONG "STDOUT frame of 4294967295 bytes" },
		{ ROW("\x20\0\0\0\0\0\0\1x"), ERR_PROTOCOL, WRONG "DATA frame during a command" },
		{ ROW("\x21\0\0\0\0\0\0\0"), ERR_PROTOCOL, WRONG "END frame during a command" },
		{ ROW("\x12\0\0\0\0\0\0\x8\3\0\0\0\0\0\0\0"), ERR_PROTOCOL,
		  WRONG "impossible EXIT frame" },
		{ ROW("\x13\0\0\0\0\0\0\4\0\0\0\1"), ERR_PROTOCOL,
		  WRONG "it took more input than it was sent" },
		{ ROW("\x13\0\0\0\0\0\0\4\0\0\0\0"), ERR_PROTOCOL,
		  WRONG "it took more input than it was sent" },
		{ ROW("\x22\0\0\0\0\0\0\6no\x1b[2J"), ERR_BAD_STATE,
		  "the agent gave up: no\\x1b[2J" },
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guest_exec_status status = { .status = 77 };
		struct err err = ERR_INIT;
		int peer;
		const int fd = prepared_stream(span_of(rows[i].bytes, rows[i].len), true, &peer);

		CHECK_ROW(i, guest_exec_run(fd, &no_io, &status, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_STR(err.message, rows[i].message);
		CHECK_INT(status.status, 77);
		fd_close(fd);
		fd_close(peer);
	}
}

static void test_cancel(void **state)
{
	struct cancel cancel = CANCEL_INIT;
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int peer;
	const int fd = prepared_stream(span_str(""), false, &peer);

	(void)state;
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	io.cancel = &cancel;
	assert_true(guest_exec_run(fd, &io, &status, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	cancel_done(&cancel);
	fd_close(fd);
	fd_close(peer);
}

/* --- run: what the agent hears --- */

/* In the child: waits for a frame of this type and returns it. */
static struct wire_frame hear(int fd, struct wire_reader *reader, enum wire_type type)
{
	struct err err = ERR_INIT;
	struct wire_frame frame;
	int r;

	while ((r = wire_reader_next(reader, WIRE_FROM_HOST, &frame, &err)) == 0) {
		size_t room;
		uint8_t *into = wire_reader_room(reader, &room);
		const ssize_t n = recv(fd, into, room, 0);

		CHILD_CHECK(n > 0);
		wire_reader_advance(reader, (size_t)n);
	}
	CHILD_CHECK(r == 1);
	if (frame.type != type) {
		(void)fprintf(stderr, "heard %s, not %s\n", wire_type_name(frame.type),
			      wire_type_name(type));
		_exit(1);
	}
	return frame;
}

static void say_frames(int fd, const struct buf *frames)
{
	CHILD_CHECK(fd_write_all(fd, buf_span(frames)) == 0);
}

static void say_exit(int fd, enum wire_exit_kind kind, uint32_t code)
{
	AUTO_BUF out = BUF_INIT;

	wire_add_exit(&out, (struct wire_exit){ kind, code });
	say_frames(fd, &out);
}

/* Like cat: says what it hears, and ends with its input. */
static void serve_cat(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	size_t left = *(const size_t *)context;

	while (left > 0) {
		AUTO_BUF out = BUF_INIT;
		const struct wire_frame frame = hear(fd, reader, WIRE_STDIN);

		CHILD_CHECK(frame.payload.len <= left);
		left -= frame.payload.len;
		wire_add_frame(&out, WIRE_STDOUT, frame.payload);
		wire_add_taken(&out, (uint32_t)frame.payload.len);
		say_frames(fd, &out);
	}
	(void)hear(fd, reader, WIRE_STDIN_EOF);
	say_exit(fd, WIRE_EXITED, 5);
	mem_free(reader);
}

static void test_stdin_and_its_end(void **state)
{
	enum { SIZE = 3 * 1024 * 1024 };
	AUTO_FREE uint8_t *bytes = mem_alloc(1, SIZE);
	AUTO_FREE uint8_t *got = mem_alloc(1, SIZE);
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	size_t size = SIZE;
	char in_path[] = "/tmp/test-guest-XXXXXX";
	char out_path[] = "/tmp/test-guest-XXXXXX";
	pid_t pid;
	int fd;

	(void)state;
	io.stdin_fd = mkstemp(in_path);
	io.stdout_fd = mkstemp(out_path);
	assert_true(io.stdin_fd >= 0 && io.stdout_fd >= 0);
	assert_int_equal(unlink(in_path), 0);
	assert_int_equal(unlink(out_path), 0);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 / 3);
	assert_int_equal(fd_write_all(io.stdin_fd, span_of(bytes, SIZE)), 0);
	assert_int_equal(lseek(io.stdin_fd, 0, SEEK_SET), 0);

	fd = fork_agent(serve_cat, &size, &pid);
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(status.status, 5);
	CHECK_INT(pread(io.stdout_fd, got, SIZE, 0), SIZE);
	assert_memory_equal(got, bytes, SIZE);
	fd_close(fd);
	fd_close(io.stdin_fd);
	fd_close(io.stdout_fd);
	reap_agent(pid);
}

static void serve_end_of_input(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));

	(void)context;
	(void)hear(fd, reader, WIRE_STDIN_EOF);
	say_exit(fd, WIRE_EXITED, 0);
	mem_free(reader);
}

/* No stdin, and one that cannot be read, have ended. */
static void test_stdin_that_is_none(void **state)
{
	const int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const int rows[] = { -1, folder };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guest_exec_io io = no_io;
		struct guest_exec_status status;
		struct err err = ERR_INIT;
		pid_t pid;
		const int fd = fork_agent(serve_end_of_input, NULL, &pid);

		io.stdin_fd = rows[i];
		CHECK_ROW(i, guest_exec_run(fd, &io, &status, &err) == 0);
		fd_close(fd);
		reap_agent(pid);
	}
	fd_close(folder);
}

/* A signalfd that says what we want: a pipe with the same bytes. */
static int signal_pipe(const uint32_t *signals, size_t count, int *ret_write)
{
	int ends[2];

	assert_int_equal(fd_pipe(ends), 0);
	for (size_t i = 0; i < count; i++) {
		const struct signalfd_siginfo info = { .ssi_signo = signals[i] };

		assert_int_equal(fd_write_all(ends[1], span_of(&info, sizeof(info))), 0);
	}
	*ret_write = ends[1];
	return ends[0];
}

/* Never takes its input, so that the window fills up; then expects SIGINT all the same. */
static void serve_deaf(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	const int *signal_write = context;
	const struct signalfd_siginfo info = { .ssi_signo = SIGINT };
	size_t heard = 0;
	uint8_t number = 0;
	struct wire_frame frame;

	while (heard < WIRE_STDIN_WINDOW)
		heard += hear(fd, reader, WIRE_STDIN).payload.len;
	CHILD_CHECK(heard == WIRE_STDIN_WINDOW);
	CHILD_CHECK(fd_write_all(*signal_write, span_of(&info, sizeof(info))) == 0);
	frame = hear(fd, reader, WIRE_SIGNAL);
	CHILD_CHECK(wire_read_signal(&frame, &number) && number == SIGINT);
	say_exit(fd, WIRE_SIGNALED, SIGINT);
	mem_free(reader);
}

static void test_signal_passes_input_that_waits(void **state)
{
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int signal_write;
	pid_t pid;
	int fd;

	(void)state;
	io.stdin_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	io.signal_fd = signal_pipe(NULL, 0, &signal_write);
	fd = fork_agent(serve_deaf, &signal_write, &pid);
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(status.status, 130);
	CHECK_INT(status.signal, SIGINT);
	fd_close(fd);
	fd_close(io.stdin_fd);
	fd_close(io.signal_fd);
	fd_close(signal_write);
	reap_agent(pid);
}

struct flood {
	int signal_write;
	int go_write; /* tells the reader of the output to begin */
};

/* Says more than anybody takes, until it would have to wait; then expects SIGTERM all the same. */
static void serve_flood(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	const struct flood *flood = context;
	const struct signalfd_siginfo info = { .ssi_signo = SIGTERM };
	AUTO_FREE uint8_t *zeros = mem_alloc(1, WIRE_PAYLOAD_MAX);
	AUTO_BUF out = BUF_INIT;
	struct span rest;
	ssize_t n;

	wire_add_frame(&out, WIRE_STDOUT, span_of(zeros, WIRE_PAYLOAD_MAX));
	(void)hear(fd, reader, WIRE_STDIN_EOF);
	rest = buf_span(&out);
	while ((n = send(fd, rest.ptr, rest.len, MSG_DONTWAIT)) > 0) {
		rest = span_skip(rest, (size_t)n);
		if (rest.len == 0)
			rest = buf_span(&out);
	}
	CHILD_CHECK(fd_write_all(flood->signal_write, span_of(&info, sizeof(info))) == 0);
	(void)hear(fd, reader, WIRE_SIGNAL);
	CHILD_CHECK(fd_write_all(flood->go_write, span_str("!")) == 0);
	CHILD_CHECK(fd_write_all(fd, rest) == 0);
	say_exit(fd, WIRE_SIGNALED, SIGTERM);
	mem_free(reader);
}

/* A child that reads all of `fd`, but only after a byte came from `go_fd`. */
static pid_t fork_sink(int fd, int go_fd, int unused_fd)
{
	const pid_t pid = fork();
	char bytes[8192];

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	fd_close(unused_fd);
	if (read(go_fd, bytes, 1) != 1)
		_exit(1);
	while (read(fd, bytes, sizeof(bytes)) > 0) {
	}
	_exit(0);
}

static void test_signal_passes_output_that_waits(void **state)
{
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	struct flood flood;
	int go[2], out[2];
	pid_t pid, sink;
	int fd;

	(void)state;
	assert_int_equal(fd_pipe(out), 0);
	assert_int_equal(fd_pipe(go), 0);
	io.stdout_fd = out[1];
	io.signal_fd = signal_pipe(NULL, 0, &flood.signal_write);
	flood.go_write = go[1];
	sink = fork_sink(out[0], go[0], out[1]);
	fd = fork_agent(serve_flood, &flood, &pid);
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(status.signal, SIGTERM);
	reap_agent(pid);
	fd_close(out[1]);
	reap_agent(sink);
	fd_close(out[0]);
	fd_close(go[0]);
	fd_close(go[1]);
	fd_close(fd);
	fd_close(io.signal_fd);
	fd_close(flood.signal_write);
}

static void serve_signals(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	struct wire_winsize size = { 0 };
	struct wire_frame frame;
	uint8_t number = 0;

	(void)context;
	(void)hear(fd, reader, WIRE_STDIN_EOF);
	frame = hear(fd, reader, WIRE_WINSIZE);
	CHILD_CHECK(wire_read_winsize(&frame, &size) && size.rows == 33 && size.cols == 99);
	frame = hear(fd, reader, WIRE_SIGNAL);
	CHILD_CHECK(wire_read_signal(&frame, &number) && number == SIGHUP);
	frame = hear(fd, reader, WIRE_SIGNAL);
	CHILD_CHECK(wire_read_signal(&frame, &number) && number == SIGQUIT);
	say_exit(fd, WIRE_EXITED, 0);
	mem_free(reader);
}

static void test_signals_and_window_size(void **state)
{
	static const uint32_t signals[] = { SIGWINCH, SIGHUP, SIGQUIT };
	const struct winsize size = { .ws_row = 33, .ws_col = 99 };
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int signal_write;
	pid_t pid;
	int fd;

	(void)state;
	io.window_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(ioctl(io.window_fd, TIOCSWINSZ, &size), 0);
	io.signal_fd = signal_pipe(signals, ARRAY_LEN(signals), &signal_write);
	fd = fork_agent(serve_signals, NULL, &pid);
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	fd_close(fd);
	fd_close(io.window_fd);
	fd_close(io.signal_fd);
	fd_close(signal_write);
	reap_agent(pid);
}

/* Goes on talking until it is told that nobody listens, as `yes` does. */
static void serve_yes(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	AUTO_BUF out = BUF_INIT;
	struct wire_frame frame;
	uint8_t number = 0;

	(void)context;
	wire_add_frame(&out, WIRE_STDOUT, span_str("y\n"));
	wire_add_frame(&out, WIRE_STDERR, span_str("e\n"));
	wire_add_frame(&out, WIRE_STDOUT, span_str("y\n"));
	(void)hear(fd, reader, WIRE_STDIN_EOF);
	say_frames(fd, &out);
	frame = hear(fd, reader, WIRE_SIGNAL);
	CHILD_CHECK(wire_read_signal(&frame, &number) && number == SIGPIPE);
	say_frames(fd, &out);
	say_exit(fd, WIRE_SIGNALED, SIGPIPE);
	/* Only once. */
	CHILD_CHECK(recv(fd, &number, 1, 0) == 0);
	mem_free(reader);
}

static void test_readers_that_are_gone(void **state)
{
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int out[2], errors[2];
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(fd_pipe(out), 0);
	assert_int_equal(fd_pipe(errors), 0);
	fd_close(out[0]);
	fd_close(errors[0]);
	io.stdout_fd = out[1];
	io.stderr_fd = errors[1];
	fd = fork_agent(serve_yes, NULL, &pid);
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(status.status, 141);
	fd_close(fd);
	fd_close(out[1]);
	fd_close(errors[1]);
	reap_agent(pid);
}

static void serve_output(int fd, void *context)
{
	size_t frames = *(const size_t *)context;
	AUTO_FREE uint8_t *bytes = mem_alloc(1, WIRE_PAYLOAD_MAX);
	AUTO_BUF out = BUF_INIT;

	wire_add_frame(&out, WIRE_STDOUT, span_of(bytes, WIRE_PAYLOAD_MAX));
	for (; frames > 0; frames--)
		say_frames(fd, &out);
	say_exit(fd, WIRE_EXITED, 0);
}

/* 64 MiB through a slow pipe: nothing is lost, and no descriptor changes its mode. */
static void test_much_output(void **state)
{
	size_t frames = 1024;
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int out[2];
	pid_t agent, sink;
	int fd, result;

	(void)state;
	assert_int_equal(fd_pipe(out), 0);
	sink = fork();
	assert_true(sink >= 0);
	if (sink == 0) {
		char bytes[8192];
		size_t total = 0;
		ssize_t n;

		fd_close(out[1]);
		while ((n = read(out[0], bytes, sizeof(bytes))) > 0)
			total += (size_t)n;
		_exit(total == 1024UL * WIRE_PAYLOAD_MAX ? 0 : 1);
	}
	fd_close(out[0]);
	fd = fork_agent(serve_output, &frames, &agent);
	io.stdout_fd = out[1];
	if (guest_exec_run(fd, &io, &status, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	fd_close(out[1]);
	fd_close(fd);
	reap_agent(agent);
	assert_int_equal(waitpid(sink, &result, 0), sink);
	CHECK_INT(result, 0);
}

static void test_output_that_cannot_be_written(void **state)
{
	AUTO_BUF said = BUF_INIT;
	struct guest_exec_io io = no_io;
	struct guest_exec_status status;
	struct err err = ERR_INIT;
	int peer, fd;

	(void)state;
	io.stdout_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	wire_add_frame(&said, WIRE_STDOUT, span_str("x"));
	fd = prepared_stream(buf_span(&said), false, &peer);
	assert_true(guest_exec_run(fd, &io, &status, &err) < 0);
	CHECK_INT(err.kind, ERR_SYSTEM);
	CHECK_STR(err.message, "write the command's output: No space left on device");
	fd_close(io.stdout_fd);
	fd_close(fd);
	fd_close(peer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_sends_bytes_exactly),
		cmocka_unit_test(test_start_login_shell),
		cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_start_limits),
		cmocka_unit_test(test_start_at_the_limit),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_output_goes_where_it_should),
		cmocka_unit_test(test_wrong_streams),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_stdin_and_its_end),
		cmocka_unit_test(test_stdin_that_is_none),
		cmocka_unit_test(test_signal_passes_input_that_waits),
		cmocka_unit_test(test_signal_passes_output_that_waits),
		cmocka_unit_test(test_signals_and_window_size),
		cmocka_unit_test(test_readers_that_are_gone),
		cmocka_unit_test(test_much_output),
		cmocka_unit_test(test_output_that_cannot_be_written),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
