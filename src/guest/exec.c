/*
 * The pump of a running command. Two flows share one loop:
 *
 *   guest: stream -> reader (one frame) -> stdout or stderr
 *   host:  stdin or signal -> out (a few frames) -> stream
 *
 * Each waits for its own room, so that a full stdout stops neither signals nor input. The stream is
 * read only when the last frame was written out completely; stdin and signals are read only when
 * `out` is empty. The agent always takes what we send, since STDIN keeps within the window that it
 * has room for: Ctrl-C works whatever the command does with its input. Poll entries without events
 * are left out, for POLLHUP cannot be masked.
 */
#include "guest/exec.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/io.h"
#include "wire/frame.h"
#include "wire/protocol.h"

#define STDIN_CHUNK 32768
#define SIGNAL_MAX  64
#define STATUS_MAX  255

enum { POLL_STREAM, POLL_STDIN, POLL_OUTPUT, POLL_SIGNAL, POLL_CANCEL, POLL_COUNT };

struct session {
	struct guest_io io;
	const struct guest_exec_io *ends;
	struct guest_exec_status *status;
	bool is_over; /* EXIT has come */
	bool is_stdin_done;
	size_t stdin_ahead; /* bytes of STDIN that the command has not taken: the agent's count */
	bool is_stream_closed; /* the agent does not listen any more; it may still talk */
	bool is_sigpipe_sent;
	int stdout_fd; /* -1: its reader is gone */
	int stderr_fd;
	uint64_t stdout_bytes; /* that have come */
	uint64_t stderr_bytes;
	struct buf out;	     /* owned: frames that are on their way to the agent */
	int writing_fd;	     /* where `writing` goes; -1: nothing waits */
	struct span writing; /* in the reader's frame */
	uint8_t chunk[STDIN_CHUNK];
	struct wire_reader reader;
};

static void session_free(struct session *session)
{
	if (!session)
		return;
	buf_done(&session->out);
	mem_free(session);
}
DEFINE_FREEP(session, session_free);

/* A reader that is gone: what comes for it is dropped from now on. */
static void lose_output(struct session *session)
{
	const bool is_stdout = session->writing_fd == session->stdout_fd;

	if (is_stdout && !session->is_sigpipe_sent) {
		session->is_sigpipe_sent = true;
		wire_add_signal(&session->out, SIGPIPE);
	}
	if (is_stdout)
		session->stdout_fd = -1;
	else
		session->stderr_fd = -1;
	session->writing = span_of("", 0);
	session->writing_fd = -1;
}

/*
 * Writes once, after poll() has said that there is room. A socket is written without waiting; a
 * pipe or terminal that is ready takes PIPE_BUF bytes, and blocking descriptors are not ours to
 * change.
 */
static ssize_t write_output(int fd, struct span bytes)
{
	struct stat status;
	ssize_t n;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (S_ISSOCK(status.st_mode)) {
		n = send(fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return n < 0 ? -errno : n;
	}
	if (!S_ISREG(status.st_mode) && bytes.len > PIPE_BUF)
		bytes.len = PIPE_BUF;
	n = write(fd, bytes.ptr, bytes.len);
	return n < 0 ? -errno : n;
}

static int serve_output(struct session *session, struct err *err)
{
	const bool is_stdout = session->writing_fd == session->stdout_fd;
	const ssize_t n = write_output(session->writing_fd, session->writing);

	if (n == -EPIPE || n == -ECONNRESET) {
		lose_output(session);
		return 0;
	}
	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n < 0)
		return err_sys(err, (int)n, "write the command's %s",
			       is_stdout ? "output" : "errors");
	session->writing = span_skip(session->writing, (size_t)n);
	if (session->writing.len == 0)
		session->writing_fd = -1;
	return 0;
}

static void take_exit(struct session *session, struct wire_exit exit_status)
{
	const bool is_signal = exit_status.kind == WIRE_SIGNALED;
	const uint32_t least = is_signal ? 1 : 0;
	const uint32_t most = is_signal ? SIGNAL_MAX : STATUS_MAX;
	const uint32_t code = exit_status.code < least	? least
			      : exit_status.code > most ? most
							: exit_status.code;

	*session->status = (struct guest_exec_status){
		.status = (int)code + (is_signal ? 128 : 0),
		.signal = is_signal ? (int)code : 0,
		.is_clamped = code != exit_status.code,
	};
	session->is_over = true;
}

/* Whether there is room for what has come; it then waits to be written. */
static int take_output(struct session *session, const struct wire_frame *frame, struct err *err)
{
	const struct guest_exec_io *ends = session->ends;
	const bool is_stdout = frame->type == WIRE_STDOUT;

	*(is_stdout ? &session->stdout_bytes : &session->stderr_bytes) += frame->payload.len;
	if (is_stdout && ends->stdout_max > 0 && session->stdout_bytes > ends->stdout_max)
		return err_set(err, ERR_LIMIT, "the command's output is over %llu bytes",
			       (unsigned long long)ends->stdout_max);
	if (!is_stdout && ends->stderr_max > 0 && session->stderr_bytes > ends->stderr_max)
		return 0;
	session->writing_fd = is_stdout ? session->stdout_fd : session->stderr_fd;
	session->writing = frame->payload;
	return 0;
}

static int take_frame(struct session *session, const struct wire_frame *frame, struct err *err)
{
	struct wire_exit exit_status;
	uint32_t taken;

	switch (frame->type) {
	case WIRE_STDOUT:
	case WIRE_STDERR:
		return take_output(session, frame, err);
	case WIRE_EXIT:
		if (!wire_read_exit(frame, &exit_status))
			return err_set(err, ERR_PROTOCOL,
				       "wrong answer from the agent: impossible EXIT frame");
		take_exit(session, exit_status);
		return 0;
	case WIRE_STDIN_TAKEN:
		if (!wire_read_taken(frame, &taken) || taken > session->stdin_ahead)
			return err_set(
				err, ERR_PROTOCOL,
				"wrong answer from the agent: it took more input than it was sent");
		session->stdin_ahead -= taken;
		return 0;
	case WIRE_ERROR:
		return guest_io_agent_error(frame, err);
	case WIRE_PART:
	case WIRE_ARG:
	case WIRE_ENV:
	case WIRE_START:
	case WIRE_STDIN:
	case WIRE_STDIN_EOF:
	case WIRE_SIGNAL:
	case WIRE_WINSIZE:
	case WIRE_DATA:
	case WIRE_END:
		break;
	}
	return err_set(err, ERR_PROTOCOL, "wrong answer from the agent: %s frame during a command",
		       wire_type_name(frame->type));
}

/* Takes frames from what was received, until one waits for its output or there is none. */
static int take_frames(struct session *session, struct err *err)
{
	struct wire_frame frame;
	int r = 1;

	while (r == 1 && !session->is_over && session->writing_fd < 0) {
		r = wire_reader_next(&session->reader, WIRE_FROM_GUEST, &frame, err);
		if (r < 0)
			return err_context(err, r, "wrong answer from the agent");
		if (r == 1)
			r = take_frame(session, &frame, err) < 0 ? -EPROTO : 1;
	}
	return r < 0 ? r : 0;
}

static int serve_stream_input(struct session *session, struct err *err)
{
	size_t room;
	uint8_t *into = wire_reader_room(&session->reader, &room);
	const ssize_t n = guest_io_recv_now(&session->io, into, room, 0);

	if (n == -EAGAIN)
		return 0;
	if (n < 0 && n != -ECONNRESET)
		return err_sys(err, (int)n, "read from the agent");
	if (n <= 0)
		return err_set(err, ERR_PROTOCOL,
			       "the agent closed the connection before the command ended");
	wire_reader_advance(&session->reader, (size_t)n);
	return 0;
}

static int serve_stream_output(struct session *session, struct err *err)
{
	const ssize_t n = guest_io_send_now(&session->io, buf_span(&session->out));

	if (n == -EAGAIN)
		return 0;
	if (n == -EPIPE || n == -ECONNRESET) {
		/* The command may have ended: its EXIT is still to be read. */
		session->is_stream_closed = true;
		buf_clear(&session->out);
		return 0;
	}
	if (n < 0)
		return err_sys(err, (int)n, "write to the agent");
	buf_consume(&session->out, (size_t)n);
	return 0;
}

/* An end that cannot be read any more has ended, for whatever reason. */
static int serve_stdin(struct session *session, struct err *err)
{
	const struct guest_exec_io *ends = session->ends;
	const size_t room = WIRE_STDIN_WINDOW - session->stdin_ahead;
	const size_t size = room < sizeof(session->chunk) ? room : sizeof(session->chunk);
	const ssize_t n = ends->read ? ends->read(ends->context, session->chunk, size, err)
				     : read(ends->stdin_fd, session->chunk, size);

	if (n < 0 && ends->read)
		return (int)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		wire_add_frame(&session->out, WIRE_STDIN, span_of(session->chunk, (size_t)n));
		session->stdin_ahead += (size_t)n;
		if (ends->moved)
			ends->moved(ends->context, (uint64_t)n);
		return 0;
	}
	wire_add_frame(&session->out, WIRE_STDIN_EOF, span_of("", 0));
	session->is_stdin_done = true;
	return 0;
}

static void add_window_size(struct session *session)
{
	struct winsize size = { 0 };

	if (session->ends->window_fd < 0 ||
	    ioctl(session->ends->window_fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 ||
	    size.ws_col == 0)
		return;
	wire_add_winsize(&session->out, (struct wire_winsize){ .rows = size.ws_row,
							       .cols = size.ws_col,
							       .width = size.ws_xpixel,
							       .height = size.ws_ypixel });
}

static int serve_signal(struct session *session, struct err *err)
{
	struct signalfd_siginfo info;
	const int r = fd_read_exact(session->ends->signal_fd, &info, sizeof(info));

	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read signals");
	if (info.ssi_signo == SIGWINCH)
		add_window_size(session);
	else if (info.ssi_signo >= 1 && info.ssi_signo <= SIGNAL_MAX)
		wire_add_signal(&session->out, (uint8_t)info.ssi_signo);
	return 0;
}

/* Whether the stream has room for more of the command's input. */
static bool wants_stdin(const struct session *session)
{
	return !session->is_stream_closed && session->out.len == 0 && !session->is_stdin_done &&
	       session->stdin_ahead < WIRE_STDIN_WINDOW;
}

static void fill_polls(const struct session *session, struct pollfd polls[POLL_COUNT])
{
	const bool can_send = !session->is_stream_closed;
	const bool wants_input = can_send && session->out.len == 0;
	const short stream = (short)((session->writing_fd < 0 ? POLLIN : 0) |
				     (can_send && session->out.len > 0 ? POLLOUT : 0));

	polls[POLL_STREAM] =
		(struct pollfd){ .fd = stream ? session->io.fd : -1, .events = stream };
	polls[POLL_STDIN] = (struct pollfd){
		.fd = wants_stdin(session) && !session->ends->read ? session->ends->stdin_fd : -1,
		.events = POLLIN,
	};
	polls[POLL_OUTPUT] = (struct pollfd){ .fd = session->writing_fd, .events = POLLOUT };
	polls[POLL_SIGNAL] = (struct pollfd){ .fd = wants_input ? session->ends->signal_fd : -1,
					      .events = POLLIN };
	polls[POLL_CANCEL] = (struct pollfd){
		.fd = session->io.cancel ? session->io.cancel->fd : -1,
		.events = POLLIN,
	};
}

static int turn(struct session *session, struct err *err)
{
	const bool has_input = session->ends->read && wants_stdin(session);
	struct pollfd polls[POLL_COUNT];
	int r;

	fill_polls(session, polls);
	if (poll(polls, POLL_COUNT, has_input ? 0 : -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, -errno, "wait for the command");
	if (polls[POLL_CANCEL].revents)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (polls[POLL_OUTPUT].revents) {
		r = serve_output(session, err);
		if (r < 0)
			return r;
	}
	if (polls[POLL_SIGNAL].revents) {
		r = serve_signal(session, err);
		if (r < 0)
			return r;
	}
	if (polls[POLL_STDIN].revents || has_input) {
		r = serve_stdin(session, err);
		if (r < 0)
			return r;
	}
	if (polls[POLL_STREAM].revents & POLLOUT) {
		r = serve_stream_output(session, err);
		if (r < 0)
			return r;
	}
	if (polls[POLL_STREAM].revents && (polls[POLL_STREAM].events & POLLIN)) {
		r = serve_stream_input(session, err);
		if (r < 0)
			return r;
	}
	return take_frames(session, err);
}

int guest_exec_run(int fd, const struct guest_exec_io *io, struct guest_exec_status *ret,
		   struct err *err)
{
	CLEANUP(session_freep) struct session *session = mem_alloc(1, sizeof(*session));
	int r = 0;

	session->io =
		(struct guest_io){ .fd = fd, .cancel = io->cancel, .deadline_ns = UINT64_MAX };
	session->ends = io;
	session->status = ret;
	session->stdout_fd = io->stdout_fd;
	session->stderr_fd = io->stderr_fd;
	session->writing_fd = -1;
	session->out = BUF_INIT;
	wire_reader_init(&session->reader);
	if (io->stdin_fd < 0 && !io->read) {
		wire_add_frame(&session->out, WIRE_STDIN_EOF, span_of("", 0));
		session->is_stdin_done = true;
	}
	while (r == 0 && !session->is_over)
		r = turn(session, err);
	return r;
}
