/*
 * DNS queries. Whatever comes in, what goes out is a short answer that a second parser reads, with
 * the query's id, and never to something that is an answer itself.
 */
#include <ldns/ldns.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "dns/answer.h"
#include "dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check_reply(const uint8_t *query, const struct buf *reply)
{
	ldns_pkt *packet = NULL;

	want(reply->len >= 12 && reply->len <= DNS_ANSWER_BYTES_MAX);
	want(memcmp(reply->ptr, query, 2) == 0);
	want(ldns_wire2pkt(&packet, (const uint8_t *)reply->ptr, reply->len) == LDNS_STATUS_OK);
	want(ldns_pkt_qr(packet) && !ldns_pkt_ra(packet) && !ldns_pkt_tc(packet));
	want(ldns_pkt_ancount(packet) + ldns_pkt_nscount(packet) <= 1);
	want(ldns_pkt_aa(packet) == (ldns_pkt_ancount(packet) + ldns_pkt_nscount(packet) == 1));
	ldns_pkt_free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(dns_zone_freep) struct dns_zone *zone = dns_zone_new();
	AUTO_BUF reply = BUF_INIT;

	dns_zone_set(zone, "box", 0xac100002);
	dns_zone_set(zone, "asleep", 0);
	if (dns_answer(zone, span_of(data, size), &reply)) {
		want(size >= 12 && !(data[2] & 0x80));
		check_reply(data, &reply);
	} else {
		want(reply.len == 0 && (size < 12 || (data[2] & 0x80)));
	}
	return 0;
}
