#include "dns/udp.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/mem.h"
#include "dns/answer.h"

#define BATCH 32

union peer {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct dns_udp {
	uint8_t queries[BATCH][DNS_UDP_BYTES];
	union peer peers[BATCH];
	struct buf answers[BATCH];
};

struct dns_udp *dns_udp_new(void)
{
	struct dns_udp *udp = mem_alloc(1, sizeof(*udp));

	for (size_t i = 0; i < BATCH; i++) {
		udp->answers[i] = BUF_INIT;
		buf_reserve(&udp->answers[i], DNS_ANSWER_BYTES_MAX);
	}
	return udp;
}

void dns_udp_free(struct dns_udp *udp)
{
	if (!udp)
		return;
	for (size_t i = 0; i < BATCH; i++)
		buf_done(&udp->answers[i]);
	mem_free(udp);
}

static int receive(struct dns_udp *udp, int fd, struct mmsghdr messages[static BATCH],
		   struct iovec vectors[static BATCH])
{
	for (size_t i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ udp->queries[i], sizeof(udp->queries[i]) };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &udp->peers[i],
						       .msg_namelen = sizeof(udp->peers[i]),
						       .msg_iov = &vectors[i],
						       .msg_iovlen = 1 };
	}
	return recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
}

/* Port 0 takes no answer. Both families have the port at one place. */
static bool has_port(const union peer *peer)
{
	return peer->in.sin_port != 0;
}

/* Turns the messages that get an answer into it, in place, and brings them to the front. */
static size_t answer_all(struct dns_udp *udp, struct dns_zone *zone,
			 struct mmsghdr messages[static BATCH], size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct msghdr *header = &messages[i].msg_hdr;
		struct buf *answer = &udp->answers[i];

		buf_clear(answer);
		if ((header->msg_flags & MSG_TRUNC) || !has_port(&udp->peers[i]) ||
		    !dns_answer(zone, span_of(udp->queries[i], messages[i].msg_len), answer))
			continue;
		*header->msg_iov = (struct iovec){ answer->ptr, answer->len };
		messages[kept++].msg_hdr = *header;
	}
	return kept;
}

size_t dns_udp_serve(struct dns_udp *udp, int fd, struct dns_zone *zone)
{
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	size_t count, sent = 0;
	int n;

	n = receive(udp, fd, messages, vectors);
	if (n <= 0)
		return 0;
	count = answer_all(udp, zone, messages, (size_t)n);
	while (sent < count) {
		n = sendmmsg(fd, messages + sent, (unsigned int)(count - sent), MSG_DONTWAIT);
		/* The first of the rest cannot be sent (its network is unreachable, say); the
		 * others may. */
		sent += n > 0 ? (size_t)n : 1;
	}
	return count;
}
