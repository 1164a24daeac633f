/*
 * What a real QEMU does not do on demand. Called through a link whose name ends with the behaviour
 * ("fake-qemu.dies-mid-reply"), since banger-vmm passes no environment:
 *
 *   healthy         is version 7.2, answers every command, and its guest's agent is up at once
 *   well            answers every command; its guest echoes on port 7, and when somebody opens port
 * 8 it opens a stream to the host's port 5 and writes a line late-greeting   greets after a second
 *   never-greets    says nothing, and takes no SIGTERM
 *   early-events    events before the greeting and in the middle of the handshake
 *   dies-mid-reply  answers `stop` with half a line and is gone
 *   garbage         greets with something that is no JSON
 *   wrong-id        answers `stop` with another id
 *   exits-1         a line on standard error, then status 1
 *   too-old         is version 6.2
 *   stays           does not end when told to, nor with SIGTERM
 *   chatters        ten thousand lines with escape sequences on standard error
 *   breaks-channel  sends rubbish on the agent's port
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"
#include "mux/mux.h"

#define AGENT_PORT 1024
#define ECHO_PORT  7
#define CALL_PORT  8
#define HOST_PORT  5
#define CALL_TEXT  "the guest calls\n"

struct fake {
	const char *behaviour;
	int qmp_fd;
	int console_fd;
	int agent_fd;
	struct mux *mux;
	uint32_t calling; /* the stream that the guest opened */
	struct buf line;
};

static bool is(const struct fake *fake, const char *behaviour)
{
	return str_eq(fake->behaviour, behaviour);
}

static void say(int fd, const char *text)
{
	if (fd >= 0 && fd_write_all(fd, span_str(text)) < 0)
		_exit(4);
}

/* The descriptor of "-chardev socket,id=NAME,fd=N", or -1. */
static int find_fd(char **argv, const char *name)
{
	AUTO_BUF prefix = BUF_INIT;

	buf_addf(&prefix, "socket,id=%s,fd=", name);
	for (char **arg = argv; *arg; arg++) {
		uint64_t fd = 0;

		if (str_starts(*arg, prefix.ptr) && parse_u64_text(*arg + prefix.len, 1000, &fd))
			return (int)fd;
	}
	return -1;
}

/* --- QMP --- */

static void greet(struct fake *fake)
{
	const struct timespec second = { .tv_sec = 1 };

	if (is(fake, "late-greeting"))
		(void)nanosleep(&second, NULL);
	if (is(fake, "early-events"))
		say(fake->qmp_fd, "{\"event\":\"RESUME\",\"timestamp\":{}}\r\n");
	if (is(fake, "garbage"))
		say(fake->qmp_fd, "QEMU 7.2 monitor - type 'help'\n");
	else if (is(fake, "too-old"))
		say(fake->qmp_fd, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":6,\"minor\":2,"
				  "\"micro\":0}},\"capabilities\":[]}}\r\n");
	else
		say(fake->qmp_fd, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,"
				  "\"micro\":0}},\"capabilities\":[]}}\r\n");
}

static void answer(struct fake *fake, const json_t *command)
{
	const char *name = json_get_str(command, "execute");
	uint64_t id = json_get_u64(command, "id");
	AUTO_BUF reply = BUF_INIT;

	if (is(fake, "early-events"))
		say(fake->qmp_fd, "{\"event\":\"BALLOON_CHANGE\",\"data\":{\"actual\":1}}\r\n");
	if (str_eq(name, "stop") && is(fake, "dies-mid-reply")) {
		say(fake->qmp_fd, "{\"return\": {}, \"i");
		_exit(3);
	}
	if (str_eq(name, "stop") && is(fake, "wrong-id"))
		id += 1000;
	if (str_eq(name, "quit") && is(fake, "stays"))
		return;
	buf_addf(&reply, "{\"return\":{},\"id\":%u}\r\n", (unsigned)id);
	say(fake->qmp_fd, reply.ptr);
	if (str_eq(name, "quit")) {
		say(fake->qmp_fd, "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":"
				  "\"host-qmp-quit\"}}\r\n");
		_exit(0);
	}
}

static void read_qmp(struct fake *fake)
{
	char bytes[4096];
	const ssize_t n = fd_read_some(fake->qmp_fd, bytes, sizeof(bytes));

	if (n <= 0)
		_exit(0);
	for (ssize_t i = 0; i < n; i++) {
		AUTO_JSON *command = NULL;
		struct err err = ERR_INIT;

		if (bytes[i] != '\n') {
			buf_add_byte(&fake->line, (uint8_t)bytes[i]);
			continue;
		}
		if (json_read(buf_span(&fake->line), &command, &err) < 0)
			_exit(5);
		buf_clear(&fake->line);
		answer(fake, command);
	}
}

/* --- the guest's end of the agent's port --- */

static void echo(struct fake *fake, uint32_t stream)
{
	const struct span bytes = mux_peek(fake->mux, stream);

	mux_consume(fake->mux, stream, mux_write(fake->mux, stream, bytes));
	if (mux_peer_ended(fake->mux, stream)) {
		mux_end(fake->mux, stream);
		mux_close(fake->mux, stream);
	}
}

/* All that is ever asked of it is GET /healthz. */
static void answer_as_agent(struct fake *fake, uint32_t stream)
{
	static const char answer[] =
		"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
		"{\"status\":\"ok\",\"protocol\":1,\"version\":\"1\",\"hostname\":\"fake\","
		"\"uptime_ms\":1,\"stages\":[\"root\",\"work\",\"identity\",\"init\"]}\n";
	const struct span bytes = mux_peek(fake->mux, stream);

	if (bytes.len == 0)
		return;
	mux_consume(fake->mux, stream, bytes.len);
	if (mux_write(fake->mux, stream, span_str(answer)) < strlen(answer))
		_exit(11);
	mux_end(fake->mux, stream);
}

static void open_stream(struct fake *fake, const struct mux_event *event)
{
	if (is(fake, "healthy") && event->port == AGENT_PORT) {
		mux_accept(fake->mux, event->stream);
		return;
	}
	if (event->port != ECHO_PORT && event->port != CALL_PORT) {
		mux_refuse(fake->mux, event->stream, MUX_REFUSED_NOBODY);
		return;
	}
	mux_accept(fake->mux, event->stream);
	if (event->port == CALL_PORT && mux_open(fake->mux, HOST_PORT, &fake->calling) < 0)
		_exit(6);
}

static void read_agent(struct fake *fake)
{
	char bytes[8192];
	const ssize_t n = fd_read_some(fake->agent_fd, bytes, sizeof(bytes));
	struct err err = ERR_INIT;
	struct mux_event event;

	if (n <= 0 || mux_feed(fake->mux, span_of(bytes, (size_t)n), &err) < 0)
		_exit(7);
	while (mux_next_event(fake->mux, &event)) {
		switch (event.kind) {
		case MUX_EVENT_OPEN:
			open_stream(fake, &event);
			break;
		case MUX_EVENT_ACCEPTED:
			if (mux_write(fake->mux, event.stream, span_str(CALL_TEXT)) == 0)
				_exit(10);
			mux_end(fake->mux, event.stream);
			break;
		case MUX_EVENT_READABLE:
		case MUX_EVENT_WRITABLE:
			if (is(fake, "healthy"))
				answer_as_agent(fake, event.stream);
			else
				echo(fake, event.stream);
			break;
		case MUX_EVENT_REFUSED:
		case MUX_EVENT_RESET:
			mux_close(fake->mux, event.stream);
			break;
		case MUX_EVENT_UP:
		case MUX_EVENT_DOWN:
			break;
		}
	}
}

static void write_agent(struct fake *fake)
{
	struct span output;

	while ((output = mux_output(fake->mux)).len > 0) {
		if (fd_write_all(fake->agent_fd, output) < 0)
			_exit(8);
		mux_sent(fake->mux, output.len);
	}
}

static void serve(struct fake *fake)
{
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = fake->qmp_fd, .events = POLLIN },
			{ .fd = fake->mux ? fake->agent_fd : -1, .events = POLLIN },
		};

		if (fake->mux)
			write_agent(fake);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			_exit(9);
		if (fds[0].revents != 0)
			read_qmp(fake);
		if (fds[1].revents != 0)
			read_agent(fake);
	}
}

static void begin(struct fake *fake)
{
	if (is(fake, "exits-1")) {
		say(2, "qemu: the accelerator is \x1b[31mbroken\x1b[0m\n");
		_exit(1);
	}
	for (int i = 0; is(fake, "chatters") && i < 10000; i++)
		say(2, "\x1b]0;owned\x07 line\n");
	if (is(fake, "never-greets") || is(fake, "stays"))
		(void)signal(SIGTERM, SIG_IGN);
	if (is(fake, "never-greets"))
		for (;;)
			(void)pause();
	greet(fake);
	say(fake->console_fd, "the fake guest's console\n");
	if (is(fake, "breaks-channel"))
		say(fake->agent_fd, "rubbish");
	if (fake->agent_fd >= 0 && !is(fake, "breaks-channel"))
		fake->mux = mux_new(MUX_GUEST, 12345);
}

int main(int argc, char **argv)
{
	const char *dot = argc > 0 ? strrchr(argv[0], '.') : NULL;
	struct fake fake = {
		.behaviour = dot ? dot + 1 : "well",
		.qmp_fd = find_fd(argv, "qmp"),
		.console_fd = find_fd(argv, "console"),
		.agent_fd = find_fd(argv, "agent"),
		.line = BUF_INIT,
	};

	if (is(&fake, "healthy") && argc == 2 && str_eq(argv[1], "--version"))
		return puts("QEMU emulator version 7.2.0") < 0;
	if (fake.qmp_fd < 0)
		return 2;
	begin(&fake);
	serve(&fake);
}
