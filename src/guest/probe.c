/*
 * Two rounds over all ports: in the first each is greeted in TLS, in the second those that did not
 * say what they are are asked in plain HTTP. In a round all streams are opened first and waited for
 * together, so that silent ports cost one wait and not one each.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/parse.h"
#include "guest/connect.h"
#include "guest/io.h"
#include "guest/ports.h"
#include "wire/protocol.h"

#define AT_ONCE	     32
#define GREETING_MAX 8 /* bytes that tell all there is to tell */

#define TLS_ALERT     21
#define TLS_HANDSHAKE 22

/* clang-format off */
/*
 * A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) that any server answers, one that wants 1.3 with an
 * alert. Its "random" has line ends, at which a server of plain HTTP gives up and says so at once.
 */
static const uint8_t client_hello[] = {
	TLS_HANDSHAKE, 3, 1, 0, 85,             /* the record; all begin as TLS 1.0 */
	1, 0, 0, 81,                            /* ClientHello */
	3, 3,                                   /* TLS 1.2 */
	'\r', '\n', '\r', '\n', 'b', 'a', 'n', 'g', 'e', 'r', ' ', 'a', 's', 'k', 's', ' ',
	'w', 'h', 'a', 't', ' ', 's', 'p', 'e', 'a', 'k', 's', '\r', '\n', '\r', '\n', '.',
	0,                                      /* no session */
	0, 8,                                   /* ECDHE-ECDSA, ECDHE-RSA and RSA with AES-128 */
	0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0x9c, 0x00, 0x2f,
	1, 0,                                   /* no compression */
	0, 32,                                  /* extensions */
	0, 10, 0, 6, 0, 4, 0, 29, 0, 23,        /* groups: x25519, P-256 */
	0, 11, 0, 2, 1, 0,                      /* points: uncompressed */
	0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1,    /* signatures */
	0, 23, 0, 0,                            /* extended master secret */
};
/* clang-format on */
_Static_assert(sizeof(client_hello) == 5 + 85, "as long as it says");

static const char http_question[] =
	"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

enum guest_speaks guest_judge_greeting(struct span bytes, bool *ret_decided)
{
	const bool is_tls = bytes.len >= 3 && bytes.ptr[1] == 3 && bytes.ptr[2] <= 4 &&
			    (bytes.ptr[0] == TLS_ALERT || bytes.ptr[0] == TLS_HANDSHAKE);

	/* Other words are another protocol's; silence may be a server that has not understood. */
	*ret_decided = bytes.len > 0;
	if (is_tls)
		return GUEST_SPEAKS_HTTPS;
	return parse_literal(&bytes, "HTTP/") ? GUEST_SPEAKS_HTTP : GUEST_SPEAKS_UNKNOWN;
}

struct probe {
	size_t index; /* of its port */
	int fd;	      /* owned; -1: nothing is expected any more */
	uint8_t greeting[GREETING_MAX];
	size_t len;
};

/* A stream to the port, greeted; < 0 when there is none. */
static int open_probe(const struct guest_target *target, uint16_t port, struct span greeting)
{
	AUTO_JSON *request = json_new_object();
	struct guest_io io = { .cancel = target->cancel, .deadline_ns = target->deadline_ns };
	struct err ignored = ERR_INIT;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(request, "op", wire_op_name(WIRE_OP_FORWARD));
	json_put_u64(request, "tcp", port);
	r = guest_connect(target->socket_path, WIRE_PORT, target->cancel, target->deadline_ns, &fd,
			  &ignored);
	if (r == 0)
		r = guest_call(fd, request, target->cancel, target->deadline_ns, NULL, &ignored);
	if (r == 0) {
		io.fd = fd;
		r = guest_io_send(&io, greeting, &ignored);
	}
	return r < 0 ? r : TAKE_FD(fd);
}

/* Takes what has come; the end of the stream is the end of the probe. */
static void take(struct probe *probe)
{
	const struct guest_io io = { .fd = probe->fd };
	const ssize_t n =
		guest_io_recv_now(&io, probe->greeting + probe->len, GREETING_MAX - probe->len, 0);

	if (n == -EAGAIN)
		return;
	if (n > 0)
		probe->len += (size_t)n;
	if (n <= 0 || probe->len == GREETING_MAX)
		fd_closep(&probe->fd);
}

static void wait_for_greetings(const struct guest_target *target, struct probe *probes,
			       size_t count)
{
	const uint64_t deadline_ns = clock_now_ns() + GUEST_PROBE_WAIT_MS * NSEC_PER_MSEC;

	for (;;) {
		struct pollfd polls[AT_ONCE + 1];
		bool is_waiting = false;

		for (size_t i = 0; i < count; i++) {
			polls[i] = (struct pollfd){ .fd = probes[i].fd, .events = POLLIN };
			is_waiting = is_waiting || probes[i].fd >= 0;
		}
		polls[count] = (struct pollfd){ .fd = target->cancel ? target->cancel->fd : -1,
						.events = POLLIN };
		if (!is_waiting || clock_now_ns() >= deadline_ns || polls[count].revents)
			return;
		if (poll(polls, count + 1, clock_poll_ms(deadline_ns)) < 0 && errno != EINTR)
			return;
		if (polls[count].revents)
			return;
		for (size_t i = 0; i < count; i++) {
			if (polls[i].revents)
				take(&probes[i]);
		}
	}
}

/* Ports that are tried side by side. */
struct batch {
	const uint16_t *ports;	   /* borrowed, as the next */
	enum guest_speaks *speaks; /* what they are found to speak */
	size_t count;
	bool decided[AT_ONCE];
};

/* Greets the undecided ports and judges what they say. */
static int probe_round(const struct guest_target *target, struct batch *batch, struct span greeting,
		       struct err *err)
{
	struct probe probes[AT_ONCE];
	size_t open = 0;
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		if (batch->decided[i])
			continue;
		probes[open] = (struct probe){ .index = i };
		probes[open].fd = open_probe(target, batch->ports[i], greeting);
		if (probes[open].fd >= 0)
			open++;
		r = cancel_check(target->cancel, err);
	}
	if (r == 0)
		wait_for_greetings(target, probes, open);
	for (size_t i = 0; i < open; i++) {
		const size_t at = probes[i].index;

		batch->speaks[at] = guest_judge_greeting(span_of(probes[i].greeting, probes[i].len),
							 &batch->decided[at]);
		fd_close(probes[i].fd);
	}
	return r < 0 ? r : cancel_check(target->cancel, err);
}

int guest_probe(const struct guest_target *target, const uint16_t *ports, size_t count,
		enum guest_speaks *ret, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		ret[i] = GUEST_SPEAKS_UNKNOWN;
	if (count > GUEST_PROBES_MAX)
		count = GUEST_PROBES_MAX;
	for (size_t at = 0; at < count; at += AT_ONCE) {
		struct batch batch = {
			.ports = ports + at,
			.speaks = ret + at,
			.count = count - at < AT_ONCE ? count - at : AT_ONCE,
		};
		int r;

		r = probe_round(target, &batch, span_of(client_hello, sizeof(client_hello)), err);
		if (r == 0)
			r = probe_round(target, &batch, span_str(http_question), err);
		if (r < 0)
			return r;
	}
	return 0;
}
