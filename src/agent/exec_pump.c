#include "agent/exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "wire/protocol.h"

#define READ_SIZE     (32UL * 1024)  /* of the command's output at a time */
#define OUTGOING_MAX  (64UL * 1024)  /* frames that wait for the host before no more is read */
#define REST_TERMINAL (256UL * 1024) /* more than a terminal's buffers can hold */

struct exec_pump {
	struct conn *conn;	      /* borrowed */
	struct wire_reader *reader;   /* borrowed */
	struct exec_process *process; /* borrowed */
	bool has_tty;
	bool is_stream_ended;
	bool is_input_ended; /* STDIN_EOF has come */
	struct buf input;    /* owned: not yet with the command; at most WIRE_STDIN_WINDOW */
	size_t taken;	     /* bytes of STDIN that the host is to be told of */
	struct buf outgoing; /* owned */
	size_t sent;	     /* of outgoing */
};

static void signal_command(const struct exec_pump *pump, int number)
{
	pid_t group = 0;

	/* The shell's own jobs are other groups: the one in front is meant, as with a real
	 * keyboard. */
	if (pump->has_tty && ioctl(pump->process->input, TIOCGPGRP, &group) == 0 && group > 0)
		(void)kill(-group, number);
	else
		(void)kill(-pump->process->pid, number);
}

static void set_window(const struct exec_pump *pump, struct wire_winsize size)
{
	const struct winsize window = {
		.ws_row = size.rows,
		.ws_col = size.cols,
		.ws_xpixel = size.width,
		.ws_ypixel = size.height,
	};

	if (pump->has_tty)
		(void)ioctl(pump->process->input, TIOCSWINSZ, &window);
}

/* The end comes after what the command has not taken yet. */
static void end_input(struct exec_pump *pump)
{
	struct termios settings;
	uint8_t end_of_file = 4;

	pump->is_input_ended = true;
	if (!pump->has_tty) {
		if (pump->input.len == 0)
			fd_assign(&pump->process->input, -1);
		return;
	}
	if (tcgetattr(pump->process->input, &settings) == 0 && settings.c_cc[VEOF] != 0)
		end_of_file = settings.c_cc[VEOF];
	buf_add_byte(&pump->input, end_of_file);
}

/* A command that closed its stdin misses the rest; the host is told as if it had taken it. */
static int take_input(struct exec_pump *pump, struct span bytes, struct err *err)
{
	if (bytes.len > WIRE_STDIN_WINDOW - pump->input.len - pump->taken)
		return err_set(err, ERR_PROTOCOL,
			       "STDIN is more than %d bytes ahead of the command",
			       WIRE_STDIN_WINDOW);
	if (pump->process->input >= 0)
		buf_add(&pump->input, bytes);
	else
		pump->taken += bytes.len;
	return 0;
}

static int take_frame(struct exec_pump *pump, const struct wire_frame *frame, struct err *err)
{
	struct wire_winsize size;
	uint8_t number;

	switch (frame->type) {
	case WIRE_SIGNAL:
		if (!wire_read_signal(frame, &number))
			return err_set(err, ERR_PROTOCOL, "SIGNAL with an impossible number");
		signal_command(pump, number);
		return 0;
	case WIRE_WINSIZE:
		if (!wire_read_winsize(frame, &size))
			return err_set(err, ERR_PROTOCOL, "WINSIZE with an impossible size");
		set_window(pump, size);
		return 0;
	case WIRE_STDIN:
	case WIRE_STDIN_EOF:
		break;
	case WIRE_PART:
	case WIRE_ARG:
	case WIRE_ENV:
	case WIRE_START:
	case WIRE_STDOUT:
	case WIRE_STDERR:
	case WIRE_EXIT:
	case WIRE_STDIN_TAKEN:
	case WIRE_DATA:
	case WIRE_END:
	case WIRE_ERROR:
		return err_set(err, ERR_PROTOCOL, "%s is not for a running command",
			       wire_type_name(frame->type));
	}
	if (pump->is_input_ended)
		return err_set(err, ERR_PROTOCOL, "%s after STDIN_EOF",
			       wire_type_name(frame->type));
	if (frame->type == WIRE_STDIN)
		return take_input(pump, frame->payload, err);
	end_input(pump);
	return 0;
}

/* Takes all frames: input that the command does not take never holds up a signal behind it. */
static int take_frames(struct exec_pump *pump, struct err *err)
{
	while (!pump->is_stream_ended) {
		struct wire_frame frame;
		int r = wire_reader_next(pump->reader, WIRE_FROM_HOST, &frame, err);

		if (r <= 0)
			return r;
		r = take_frame(pump, &frame, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive(struct exec_pump *pump, struct err *err)
{
	size_t room;
	uint8_t *into = wire_reader_room(pump->reader, &room);
	const ssize_t n = fd_read_some(pump->conn->fd, into, room);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		pump->is_stream_ended = true; /* a reset is an end too */
	else
		wire_reader_advance(pump->reader, (size_t)n);
	return take_frames(pump, err);
}

static void feed_command(struct exec_pump *pump)
{
	const ssize_t n = fd_write_some(pump->process->input, buf_span(&pump->input));
	/* After a failure nobody reads any more. The rest is dropped, as a pipe would. */
	const size_t gone = n < 0 ? pump->input.len : (size_t)n;

	if (n == -EAGAIN)
		return;
	buf_consume(&pump->input, gone);
	if (!pump->is_input_ended)
		pump->taken += gone;
	if (!pump->has_tty && (n < 0 || (pump->is_input_ended && pump->input.len == 0)))
		fd_assign(&pump->process->input, -1);
}

/* Tells the host how much more it may send, when there is room to say so. */
static void report_taken(struct exec_pump *pump)
{
	if (pump->taken == 0 || pump->outgoing.len - pump->sent >= OUTGOING_MAX)
		return;
	wire_add_taken(&pump->outgoing, (uint32_t)pump->taken);
	pump->taken = 0;
}

/* Reads once from *fd into a frame: bytes, 0 when there is nothing now; closes at the end. */
static size_t collect(struct exec_pump *pump, int *fd, enum wire_type type)
{
	struct buf *out = &pump->outgoing;
	ssize_t n;

	buf_reserve(out, WIRE_HEADER_SIZE + READ_SIZE);
	n = fd_read_some(*fd, out->ptr + out->len + WIRE_HEADER_SIZE, READ_SIZE);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		/* A terminal says EIO when no process has it open any more. */
		fd_assign(fd, -1);
		return 0;
	}
	wire_put_header((uint8_t *)out->ptr + out->len, type, (size_t)n);
	buf_advance(out, WIRE_HEADER_SIZE + (size_t)n);
	return (size_t)n;
}

static int send_outgoing(struct exec_pump *pump, struct err *err)
{
	const struct span rest = span_skip(buf_span(&pump->outgoing), pump->sent);
	const ssize_t n = fd_write_some(pump->conn->fd, rest);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return err_sys(err, (int)n, "send to the host");
	pump->sent += (size_t)n;
	/* Not only when all is sent: there may always be more behind it. */
	if (pump->sent == pump->outgoing.len || pump->sent >= OUTGOING_MAX) {
		buf_consume(&pump->outgoing, pump->sent);
		pump->sent = 0;
	}
	return 0;
}

/*
 * The command has ended: what it wrote lies in the pipe. What others write to it from now on is
 * theirs, so no more is taken than is there now.
 */
static void collect_rest(struct exec_pump *pump, int *fd, enum wire_type type)
{
	int waiting = 0;
	size_t rest = REST_TERMINAL;

	if (*fd < 0)
		return;
	if (!pump->has_tty && ioctl(*fd, FIONREAD, &waiting) == 0)
		rest = (size_t)waiting;
	while (*fd >= 0 && rest > 0) {
		const size_t n = collect(pump, fd, type);

		if (n == 0)
			return;
		rest -= n < rest ? n : rest;
	}
}

static int finish(struct exec_pump *pump, struct err *err)
{
	struct wire_exit status = { .kind = WIRE_EXITED };
	struct span rest;
	int raw = 0;
	int r;

	while (waitpid(pump->process->pid, &raw, 0) < 0) {
		if (errno != EINTR)
			return err_sys(err, -errno, "wait for the command");
	}
	pump->process->pid = 0;
	collect_rest(pump, &pump->process->output, WIRE_STDOUT);
	collect_rest(pump, &pump->process->errors, WIRE_STDERR);
	if (WIFSIGNALED(raw)) {
		status.kind = WIRE_SIGNALED;
		status.code = (uint32_t)WTERMSIG(raw);
	} else {
		status.code = (uint32_t)WEXITSTATUS(raw);
	}
	wire_add_exit(&pump->outgoing, status);

	rest = span_skip(buf_span(&pump->outgoing), pump->sent);
	r = fd_set_nonblocking(pump->conn->fd, false);
	if (r == 0)
		r = fd_write_all(pump->conn->fd, rest);
	return r < 0 ? err_sys(err, r, "send to the host") : 0;
}

enum poll_slot { SLOT_STREAM, SLOT_PROCESS, SLOT_INPUT, SLOT_OUTPUT, SLOT_ERRORS, SLOT_COUNT };

static void fill_slots(const struct exec_pump *pump, struct pollfd fds[static SLOT_COUNT])
{
	const struct exec_process *process = pump->process;
	const bool has_room = pump->outgoing.len - pump->sent < OUTGOING_MAX;
	const bool has_input = pump->input.len > 0;

	fds[SLOT_STREAM] = (struct pollfd){ .fd = pump->conn->fd, .events = POLLIN };
	if (pump->outgoing.len > pump->sent)
		fds[SLOT_STREAM].events |= POLLOUT;
	fds[SLOT_PROCESS] = (struct pollfd){ .fd = process->pidfd, .events = POLLIN };
	fds[SLOT_INPUT] =
		(struct pollfd){ .fd = has_input ? process->input : -1, .events = POLLOUT };
	fds[SLOT_OUTPUT] =
		(struct pollfd){ .fd = has_room ? process->output : -1, .events = POLLIN };
	fds[SLOT_ERRORS] =
		(struct pollfd){ .fd = has_room ? process->errors : -1, .events = POLLIN };
}

/* One turn: 1 the command has ended, 0 go on. */
static int turn(struct exec_pump *pump, struct err *err)
{
	struct pollfd fds[SLOT_COUNT];
	int r = 0;

	report_taken(pump);
	fill_slots(pump, fds);
	if (poll(fds, SLOT_COUNT, -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, -errno, "poll");

	if (fds[SLOT_INPUT].revents)
		feed_command(pump);
	if (fds[SLOT_OUTPUT].revents)
		(void)collect(pump, &pump->process->output, WIRE_STDOUT);
	if (fds[SLOT_ERRORS].revents)
		(void)collect(pump, &pump->process->errors, WIRE_STDERR);
	if (fds[SLOT_STREAM].revents & POLLOUT)
		r = send_outgoing(pump, err);
	if (r == 0 && (fds[SLOT_STREAM].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		r = receive(pump, err);
	if (r < 0)
		return r;
	return fds[SLOT_PROCESS].revents ? 1 : 0;
}

static int run(struct exec_pump *pump, struct err *err)
{
	int r = fd_set_nonblocking(pump->conn->fd, true);

	if (r < 0)
		return err_sys(err, r, "prepare the stream");
	r = take_frames(pump, err);
	while (r == 0) {
		if (pump->is_stream_ended)
			return err_set(err, ERR_CANCELLED, "the stream ended before the command");
		r = turn(pump, err);
		if (r == 0)
			r = take_frames(pump, err);
	}
	return r > 0 ? finish(pump, err) : r;
}

int exec_run(struct conn *conn, struct wire_reader *reader, struct exec_process *process,
	     bool has_tty, struct err *err)
{
	struct exec_pump pump = {
		.conn = conn,
		.reader = reader,
		.process = process,
		.has_tty = has_tty,
		.input = BUF_INIT,
		.outgoing = BUF_INIT,
	};
	const int r = run(&pump, err);

	buf_done(&pump.input);
	buf_done(&pump.outgoing);
	if (r < 0) {
		/* The host hears of it before the grace time, not after. */
		IGNORE_RESULT(fd_set_nonblocking(conn->fd, false));
		conn_fail(conn, err);
		exec_hang_up(process);
	}
	return r;
}

/* Reads and forgets what the command writes, until the deadline. */
static void drop_output(struct exec_process *process, uint64_t deadline_ns)
{
	uint8_t dropped[4096];

	while (clock_now_ns() < deadline_ns) {
		struct pollfd fds[] = {
			{ .fd = process->output, .events = POLLIN },
			{ .fd = process->errors, .events = POLLIN },
		};

		(void)poll(fds, ARRAY_LEN(fds), clock_poll_ms(deadline_ns));
		if (fds[0].revents && fd_read_some(process->output, dropped, sizeof(dropped)) <= 0)
			fd_assign(&process->output, -1);
		if (fds[1].revents && fd_read_some(process->errors, dropped, sizeof(dropped)) <= 0)
			fd_assign(&process->errors, -1);
	}
}

void exec_hang_up(struct exec_process *process)
{
	const uint64_t deadline_ns = clock_now_ns() + EXEC_GRACE_MS * NSEC_PER_MSEC;
	const pid_t pid = process->pid;

	if (pid == 0)
		return;
	fd_assign(&process->input, -1);
	/* A terminal that closes hangs up its foreground group by itself. */
	if (process->has_tty)
		fd_assign(&process->output, -1);
	(void)kill(-pid, SIGHUP);
	(void)kill(-pid, SIGCONT); /* a stopped process would get SIGHUP only when it goes on */

	/*
	 * Pipes stay open meanwhile: who cleans up at SIGHUP must not be killed by SIGPIPE for
	 * saying so. The command is not reaped before the last signal, so that the group's number
	 * stays its own.
	 */
	drop_output(process, deadline_ns);
	(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	process->pid = 0;
}
