#include "dns/answer.h"

#include <assert.h>
#include <ldns/ldns.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HEADER_BYTES	   12
#define NAME_BYTES_MAX	   255 /* RFC 1035, 2.3.4 */
#define QUESTION_NAME_AT   HEADER_BYTES
#define RCODE_BADVERS	   16 /* RFC 6891, 9: does not fit the header's four bits */
#define OPT_VERSION_SHIFT  16
#define POINTER_TO(offset) ((uint16_t)(0xc000U | (offset)))
#define OPCODE_AND_RD	   0x7900U /* what an answer repeats of a query's flags */
#define FLAG_QR		   0x8000U
#define FLAG_AA		   0x0400U

/* A query taken apart. */
struct query {
	uint16_t id;
	uint16_t flags;
	struct span
		question;  /* borrowed: name, type and class as they came; empty when unreadable */
	size_t name_bytes; /* of `question` */
	uint16_t type;
	uint16_t class;
	bool has_edns;
	uint8_t edns_version;
};

/* What is to be said. */
struct verdict {
	unsigned int rcode;
	bool is_authoritative;
	enum { SAY_NOTHING, SAY_ADDRESS, SAY_SOA, SAY_NS, SAY_NEGATIVE } say;
	size_t domain_at; /* where in the reply `vm.` stands */
	uint32_t address;
};

static void rr_freep(ldns_rr **rr)
{
	ldns_rr_free(*rr);
	*rr = NULL;
}

static uint16_t be16(const uint8_t *at)
{
	return ldns_read_uint16(at);
}

/* The bytes of the name that starts `bytes`; 0 when it is malformed. A question has nothing before
 * it to point to. */
static size_t plain_name_bytes(struct span bytes)
{
	size_t at = 0;

	while (at < bytes.len && at < NAME_BYTES_MAX) {
		const uint8_t label = bytes.ptr[at];

		if (label == 0)
			return at + 1;
		if (label > DNS_LABEL_BYTES_MAX)
			return 0;
		at += 1U + label;
	}
	return 0;
}

static bool read_question(struct span bytes, size_t *at, struct query *query)
{
	CLEANUP(rr_freep) ldns_rr *rr = NULL;
	const size_t from = *at;

	query->name_bytes = plain_name_bytes(span_skip(bytes, from));
	if (query->name_bytes == 0 ||
	    ldns_wire2rr(&rr, bytes.ptr, bytes.len, at, LDNS_SECTION_QUESTION) != LDNS_STATUS_OK)
		return false;
	query->question = span_of(bytes.ptr + from, *at - from);
	query->type = (uint16_t)ldns_rr_get_type(rr);
	query->class = (uint16_t)ldns_rr_get_class(rr);
	return true;
}

/* The one additional record that a query may have. RFC 6891, 6.1.1: its name is the root. */
static bool read_edns(struct span bytes, size_t *at, struct query *query)
{
	CLEANUP(rr_freep) ldns_rr *rr = NULL;

	if (*at >= bytes.len || bytes.ptr[*at] != 0 ||
	    ldns_wire2rr(&rr, bytes.ptr, bytes.len, at, LDNS_SECTION_ADDITIONAL) !=
		    LDNS_STATUS_OK ||
	    ldns_rr_get_type(rr) != LDNS_RR_TYPE_OPT)
		return false;
	query->has_edns = true;
	query->edns_version = (uint8_t)(ldns_rr_ttl(rr) >> OPT_VERSION_SHIFT);
	return true;
}

/* Whether the sections are what a query of ours may have. What could be read of the question stays
 * in `query`. */
static bool read_sections(struct span bytes, struct query *query)
{
	const uint16_t questions = be16(bytes.ptr + 4), answers = be16(bytes.ptr + 6),
		       authorities = be16(bytes.ptr + 8), extras = be16(bytes.ptr + 10);
	size_t at = HEADER_BYTES;

	if (questions != 1 || !read_question(bytes, &at, query))
		return false;
	if (answers != 0 || authorities != 0 || extras > 1)
		return false;
	if (extras == 1 && !read_edns(bytes, &at, query))
		return false;
	return at == bytes.len;
}

static struct span first_label(struct span name)
{
	return span_of(name.ptr + 1, name.ptr[0]);
}

static bool is_domain(struct span label)
{
	return label.len == strlen(DNS_DOMAIN) &&
	       strncasecmp((const char *)label.ptr, DNS_DOMAIN, label.len) == 0;
}

static void judge_domain(const struct query *query, struct verdict *verdict)
{
	if (query->type == LDNS_RR_TYPE_SOA || query->type == LDNS_RR_TYPE_ANY)
		verdict->say = SAY_SOA;
	else if (query->type == LDNS_RR_TYPE_NS)
		verdict->say = SAY_NS;
	else
		verdict->say = SAY_NEGATIVE;
}

static void judge_host(struct dns_zone *zone, struct span label, const struct query *query,
		       struct verdict *verdict)
{
	const enum dns_found found = dns_zone_find(zone, label, &verdict->address);

	verdict->say = SAY_NEGATIVE;
	if (found == DNS_UNKNOWN)
		verdict->rcode = LDNS_RCODE_NXDOMAIN;
	else if (found == DNS_ADDRESS &&
		 (query->type == LDNS_RR_TYPE_A || query->type == LDNS_RR_TYPE_ANY))
		verdict->say = SAY_ADDRESS;
}

/* Looks at the name from its end: how many labels stand before `vm.`, if it ends so at all. */
static void judge_name(struct dns_zone *zone, const struct query *query, struct verdict *verdict)
{
	struct span name = query->question, host = { 0 }, last = { 0 };
	size_t labels = 0;

	for (; name.ptr[0] != 0; name = span_skip(name, 1U + name.ptr[0])) {
		if (labels++ == 0)
			host = first_label(name);
		last = first_label(name);
	}
	if (labels == 0 || !is_domain(last)) {
		verdict->rcode = LDNS_RCODE_REFUSED;
		return;
	}
	verdict->is_authoritative = true;
	verdict->domain_at = QUESTION_NAME_AT + (size_t)(last.ptr - query->question.ptr) - 1;
	if (labels == 1) {
		judge_domain(query, verdict);
	} else if (labels == 2) {
		judge_host(zone, host, query, verdict);
	} else {
		verdict->say = SAY_NEGATIVE;
		verdict->rcode = LDNS_RCODE_NXDOMAIN;
	}
}

static struct verdict judge(struct dns_zone *zone, const struct query *query)
{
	struct verdict verdict = { .rcode = LDNS_RCODE_NOERROR };

	if (query->has_edns && query->edns_version != 0)
		verdict.rcode = RCODE_BADVERS;
	else if (query->class != LDNS_RR_CLASS_IN || query->type == LDNS_RR_TYPE_AXFR ||
		 query->type == LDNS_RR_TYPE_IXFR)
		verdict.rcode = LDNS_RCODE_REFUSED;
	else
		judge_name(zone, query, &verdict);
	return verdict;
}

static void add_record(struct buf *reply, size_t name_at, uint16_t type, struct span content)
{
	buf_add_be16(reply, POINTER_TO(name_at));
	buf_add_be16(reply, type);
	buf_add_be16(reply, LDNS_RR_CLASS_IN);
	buf_add_be32(reply, DNS_TTL_SECONDS);
	buf_add_be16(reply, (uint16_t)content.len);
	buf_add(reply, content);
}

static void add_address(struct buf *reply, uint32_t address)
{
	uint8_t bytes[4];

	ldns_write_uint32(bytes, address);
	add_record(reply, QUESTION_NAME_AT, LDNS_RR_TYPE_A, span_of(bytes, sizeof(bytes)));
}

/* RFC 1035, 3.3.13. There are no secondaries; the last number is how long "no" may be remembered
 * (RFC 2308, 4). */
static void add_soa(struct buf *reply, size_t domain_at, uint32_t serial)
{
	static const char names[] = "\x09localhost\0\x06nobody\x07invalid";
	uint8_t bytes[sizeof(names) + 20];
	const uint32_t numbers[] = { serial, 3600, 600, 86400, DNS_TTL_SECONDS };

	memcpy(bytes, names, sizeof(names));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		ldns_write_uint32(bytes + sizeof(names) + 4 * i, numbers[i]);
	add_record(reply, domain_at, LDNS_RR_TYPE_SOA, span_of(bytes, sizeof(bytes)));
}

static void add_ns(struct buf *reply, size_t domain_at)
{
	static const char name[] = "\x09localhost";

	add_record(reply, domain_at, LDNS_RR_TYPE_NS, span_of(name, sizeof(name)));
}

/* RFC 6891, 6.1.2 and 6.1.3. */
static void add_edns(struct buf *reply, unsigned int rcode)
{
	buf_add_byte(reply, 0);
	buf_add_be16(reply, LDNS_RR_TYPE_OPT);
	buf_add_be16(reply, DNS_UDP_BYTES);
	buf_add_be32(reply, (uint32_t)(rcode >> 4) << 24);
	buf_add_be16(reply, 0);
}

static void write_reply(const struct query *query, const struct verdict *verdict, uint32_t serial,
			struct buf *reply)
{
	const bool is_answer = verdict->say != SAY_NOTHING && verdict->say != SAY_NEGATIVE;
	const unsigned int flags = FLAG_QR | (query->flags & OPCODE_AND_RD) |
				   (verdict->is_authoritative ? FLAG_AA : 0) |
				   (verdict->rcode & 0xfU);

	buf_add_be16(reply, query->id);
	buf_add_be16(reply, (uint16_t)flags);
	buf_add_be16(reply, query->question.len > 0);
	buf_add_be16(reply, is_answer);
	buf_add_be16(reply, verdict->say == SAY_NEGATIVE);
	buf_add_be16(reply, query->has_edns);
	buf_add(reply, query->question);
	switch (verdict->say) {
	case SAY_NOTHING:
		break;
	case SAY_ADDRESS:
		add_address(reply, verdict->address);
		break;
	case SAY_NS:
		add_ns(reply, verdict->domain_at);
		break;
	case SAY_SOA:
	case SAY_NEGATIVE:
		add_soa(reply, verdict->domain_at, serial);
		break;
	}
	if (query->has_edns)
		add_edns(reply, verdict->rcode);
}

bool dns_answer(struct dns_zone *zone, struct span query_bytes, struct buf *reply)
{
	const size_t before = reply->len;
	struct query query = { 0 };
	struct verdict verdict = { 0 };

	if (query_bytes.len < HEADER_BYTES)
		return false;
	query.id = be16(query_bytes.ptr);
	query.flags = be16(query_bytes.ptr + 2);
	if (query.flags & FLAG_QR)
		return false;
	if (LDNS_OPCODE_WIRE(query_bytes.ptr) != LDNS_PACKET_QUERY) {
		verdict.rcode = LDNS_RCODE_NOTIMPL;
	} else if (!read_sections(query_bytes, &query)) {
		query.has_edns = false;
		verdict.rcode = LDNS_RCODE_FORMERR;
	} else {
		verdict = judge(zone, &query);
	}
	write_reply(&query, &verdict, dns_zone_serial(zone), reply);
	assert(reply->len - before <= DNS_ANSWER_BYTES_MAX);
	return true;
}
