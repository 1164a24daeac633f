#include "dns/tcp.h"

#include <assert.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "dns/answer.h"
#include "dns/server.h"

#define LENGTH_BYTES 2 /* RFC 1035, 4.2.2 */
#define INPUT_BYTES  (LENGTH_BYTES + DNS_TCP_QUERY_BYTES_MAX)
/* Answers are made while there is room for one more; a client that does not read gets no further.
 */
#define OUTPUT_BYTES 4096

struct client {
	int fd; /* owned; -1: the seat is free */
	uint64_t deadline_ns;
	bool has_ended; /* sends no more, but may still read */
	size_t input_len;
	uint8_t input[INPUT_BYTES];
	struct buf output;
};

struct dns_tcp {
	struct client clients[DNS_TCP_CLIENTS_MAX];
};

struct dns_tcp *dns_tcp_new(void)
{
	struct dns_tcp *tcp = mem_alloc(1, sizeof(*tcp));

	for (size_t i = 0; i < ARRAY_LEN(tcp->clients); i++) {
		tcp->clients[i].fd = -1;
		tcp->clients[i].output = BUF_INIT;
		buf_reserve(&tcp->clients[i].output, OUTPUT_BYTES);
	}
	return tcp;
}

void dns_tcp_free(struct dns_tcp *tcp)
{
	if (!tcp)
		return;
	for (size_t i = 0; i < ARRAY_LEN(tcp->clients); i++) {
		fd_close(tcp->clients[i].fd);
		buf_done(&tcp->clients[i].output);
	}
	mem_free(tcp);
}

static void restart_clock(struct client *client)
{
	client->deadline_ns = clock_now_ns() + DNS_TCP_IDLE_SECONDS * NSEC_PER_SEC;
}

int dns_tcp_accept(struct dns_tcp *tcp, int listener_fd, size_t *ret_seat)
{
	for (size_t i = 0; i < ARRAY_LEN(tcp->clients); i++) {
		struct client *client = &tcp->clients[i];

		if (client->fd >= 0)
			continue;
		/* cppcheck-suppress nullPointer; accept4() may be told not to say who it is */
		client->fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client->fd < 0)
			return -errno;
		client->has_ended = false;
		client->input_len = 0;
		buf_clear(&client->output);
		restart_clock(client);
		*ret_seat = i;
		return client->fd;
	}
	return -EBUSY;
}

int dns_tcp_fd(const struct dns_tcp *tcp, size_t seat)
{
	return tcp->clients[seat].fd;
}

void dns_tcp_close(struct dns_tcp *tcp, size_t seat)
{
	fd_assign(&tcp->clients[seat].fd, -1);
}

static size_t get_length(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

/* Answers the first query of the input if it is whole. 1: done; 0: not yet; -EPROTO: this is no
 * client. */
static int answer_first(struct client *client, struct dns_zone *zone)
{
	struct buf *output = &client->output;
	const size_t before = output->len;
	size_t query_len;

	if (client->input_len < LENGTH_BYTES)
		return 0;
	query_len = get_length(client->input);
	if (query_len > DNS_TCP_QUERY_BYTES_MAX)
		return -EPROTO;
	if (client->input_len < LENGTH_BYTES + query_len)
		return 0;

	buf_add_be16(output, 0);
	if (!dns_answer(zone, span_of(client->input + LENGTH_BYTES, query_len), output))
		return -EPROTO;
	output->ptr[before] = (char)((output->len - before - LENGTH_BYTES) >> 8);
	output->ptr[before + 1] = (char)((output->len - before - LENGTH_BYTES) & 0xff);

	client->input_len -= LENGTH_BYTES + query_len;
	memmove(client->input, client->input + LENGTH_BYTES + query_len, client->input_len);
	return 1;
}

static bool has_room(const struct client *client)
{
	return client->output.len + LENGTH_BYTES + DNS_ANSWER_BYTES_MAX <= OUTPUT_BYTES;
}

static int read_more(struct client *client)
{
	ssize_t n;

	if (client->has_ended || client->input_len == sizeof(client->input))
		return 0;
	n = fd_read_some(client->fd, client->input + client->input_len,
			 sizeof(client->input) - client->input_len);
	if (n < 0)
		return n == -EAGAIN ? 0 : (int)n;
	client->has_ended = n == 0;
	client->input_len += (size_t)n;
	return 0;
}

static int write_out(struct client *client)
{
	while (client->output.len > 0) {
		const ssize_t n = send(client->fd, client->output.ptr, client->output.len,
				       MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_consume(&client->output, (size_t)n);
		restart_clock(client);
	}
	return 0;
}

/* Answers the queries that are there as far as the client takes the answers. -errno when the
 * connection is to end. */
static int answer_all(struct client *client, struct dns_zone *zone, size_t *answers)
{
	int r = 1, written = 0;

	while (r > 0 && written == 0 && has_room(client)) {
		while (r > 0 && has_room(client)) {
			r = answer_first(client, zone);
			*answers += r > 0;
		}
		written = write_out(client);
	}
	return r < 0 ? r : written;
}

size_t dns_tcp_serve(struct dns_tcp *tcp, size_t seat, struct dns_zone *zone,
		     unsigned int *ret_events)
{
	struct client *client = &tcp->clients[seat];
	size_t answers = 0;
	int r;

	*ret_events = 0;
	if (client->fd < 0)
		return 0;
	r = write_out(client);
	if (r == 0)
		r = read_more(client);
	if (r == 0)
		r = answer_all(client, zone, &answers);
	if (r < 0 || (client->has_ended && client->output.len == 0)) {
		dns_tcp_close(tcp, seat);
		return answers;
	}
	*ret_events = client->output.len > 0 ? (unsigned int)EPOLLOUT : (unsigned int)EPOLLIN;
	return answers;
}

int dns_tcp_wait_ms(const struct dns_tcp *tcp)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_LEN(tcp->clients); i++)
		if (tcp->clients[i].fd >= 0 && tcp->clients[i].deadline_ns < first)
			first = tcp->clients[i].deadline_ns;
	return first == UINT64_MAX ? -1 : clock_poll_ms(first);
}

bool dns_tcp_close_idle(struct dns_tcp *tcp)
{
	bool is_any = false;

	for (size_t i = 0; i < ARRAY_LEN(tcp->clients); i++) {
		if (tcp->clients[i].fd < 0 || clock_now_ns() < tcp->clients[i].deadline_ns)
			continue;
		dns_tcp_close(tcp, i);
		is_any = true;
	}
	return is_any;
}
