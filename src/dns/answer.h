/*
 * The answer to one DNS query (RFC 1034, 1035; EDNS: RFC 6891). Pure but for looking names up.
 *
 * Authoritative for `vm.` and nothing else: A for names with an address, NODATA for other types and
 * for names without one, NXDOMAIN for unknown names and whatever is below a name, REFUSED outside
 * `vm.`, for other classes than IN and for zone transfers. ANY gets the A record (RFC 8482, 4.1).
 * Nothing is ever forwarded.
 *
 * What cannot be a query (under 12 bytes, or the QR bit set, so that two servers never answer each
 * other) gets no answer at all; a malformed one gets FORMERR, an opcode other than QUERY NOTIMP, an
 * EDNS version other than 0 BADVERS.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"
#include "dns/zone.h"

#define DNS_DOMAIN	"vm"
#define DNS_TTL_SECONDS 1 /* names follow what VMs do */
#define DNS_ANSWER_BYTES_MAX                                                                \
	512		   /* RFC 1035, 4.2.1; none of ours is longer, so none is truncated \
			    */
#define DNS_UDP_BYTES 1232 /* what we say that we take with EDNS (DNS flag day 2020) */

/* Appends the answer to `reply`, at most DNS_ANSWER_BYTES_MAX bytes. False: there is none, and
 * `reply` is untouched. */
bool dns_answer(struct dns_zone *zone, struct span query, struct buf *reply) MUST_CHECK;
