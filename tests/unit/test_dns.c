/* The .vm server without sockets: names, and what each kind of query gets. */
#include "check.h"

#include <ldns/ldns.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "dns/answer.h"
#include "dns/zone.h"

#define BOX	      "\3box\2vm"
#define A	      "\0\1"
#define IN	      "\0\1"
#define QUERY	      "\x12\x34\1\0\0\1\0\0\0\0\0\0" /* id 0x1234, RD, one question */
#define EDNS	      "\0\0\x29\x02\0\0\0\0\0\0\0"   /* 512 bytes, version 0 */
#define WITH_EDNS     "\x12\x34\1\0\0\1\0\0\0\0\0\1"
#define LITERAL(text) text, sizeof(text) - 1
#define BYTES(text)   span_of(text, sizeof(text) - 1)

static struct dns_zone *some_names(void)
{
	struct dns_zone *zone = dns_zone_new();

	dns_zone_set(zone, "box", 0xac100002);
	dns_zone_set(zone, "asleep", 0);
	return zone;
}

/* "NOERROR aa A 172.16.0.2", "NXDOMAIN aa SOA": the code, whether authoritative, and the first
 * record's type and content. */
static char *told(struct dns_zone *zone, struct span query)
{
	AUTO_BUF reply = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	ldns_pkt *packet = NULL;
	const ldns_rr *rr = NULL;

	if (!dns_answer(zone, query, &reply))
		return mem_strdup("nothing");
	assert_int_equal(ldns_wire2pkt(&packet, (uint8_t *)reply.ptr, reply.len), LDNS_STATUS_OK);
	assert_true(ldns_pkt_qr(packet));
	assert_false(ldns_pkt_ra(packet));
	assert_false(ldns_pkt_tc(packet));
	assert_int_equal(ldns_pkt_id(packet), 0x1234);
	buf_addf(&text, "%u%s",
		 (unsigned int)ldns_pkt_get_rcode(packet) |
			 (unsigned int)ldns_pkt_edns_extended_rcode(packet) << 4,
		 ldns_pkt_aa(packet) ? " aa" : "");
	if (ldns_pkt_ancount(packet) == 1)
		rr = ldns_rr_list_rr(ldns_pkt_answer(packet), 0);
	else if (ldns_pkt_nscount(packet) == 1)
		rr = ldns_rr_list_rr(ldns_pkt_authority(packet), 0);
	if (rr) {
		char *type = ldns_rr_type2str(ldns_rr_get_type(rr));
		char *content = ldns_rdf2str(ldns_rr_rdf(rr, 0));

		buf_addf(&text, " %s %s %s", ldns_pkt_ancount(packet) ? "answer" : "authority",
			 type, content);
		assert_true(ldns_rr_ttl(rr) <= 5);
		LDNS_FREE(type);
		LDNS_FREE(content);
	}
	if (ldns_pkt_edns(packet))
		buf_addf(&text, " edns");
	ldns_pkt_free(packet);
	return buf_detach(&text);
}

static void test_answers(void **state)
{
	static const struct {
		const char *query;
		size_t len;
		const char *told;
	} rows[] = {
		{ LITERAL(QUERY BOX "\0" A IN), "0 aa answer A 172.16.0.2" },
		{ LITERAL(QUERY "\3BoX\2vM\0" A IN), "0 aa answer A 172.16.0.2" },
		{ LITERAL(QUERY BOX "\0\0\xff" IN), "0 aa answer A 172.16.0.2" },      /* ANY */
		{ LITERAL(QUERY BOX "\0\0\x1c" IN), "0 aa authority SOA localhost." }, /* AAAA */
		{ LITERAL(QUERY BOX "\0\0\x0f" IN), "0 aa authority SOA localhost." }, /* MX */
		{ LITERAL(QUERY "\6asleep\2vm\0" A IN), "0 aa authority SOA localhost." },
		{ LITERAL(QUERY "\4none\2vm\0" A IN), "3 aa authority SOA localhost." },
		{ LITERAL(QUERY "\1a" BOX "\0" A IN), "3 aa authority SOA localhost." },
		{ LITERAL(QUERY "\2vm\0" A IN), "0 aa authority SOA localhost." },
		{ LITERAL(QUERY "\2VM\0\0\6" IN), "0 aa answer SOA localhost." },
		{ LITERAL(QUERY "\2vm\0\0\2" IN), "0 aa answer NS localhost." },
		{ LITERAL(QUERY "\2vm\0\0\xff" IN), "0 aa answer SOA localhost." },
		/* Names that no VM can have, among them a dot and a NUL in a label. */
		{ LITERAL(QUERY "\4b.ox\2vm\0" A IN), "3 aa authority SOA localhost." },
		{ LITERAL(QUERY "\4box\0\2vm\0" A IN), "3 aa authority SOA localhost." },
		{ LITERAL(QUERY "\xcxn--bcher-kv\2vm\0" A IN), "3 aa authority SOA localhost." },
		/* Not ours. */
		{ LITERAL(QUERY "\0" A IN), "5" },
		{ LITERAL(QUERY "\3box\0" A IN), "5" },
		{ LITERAL(QUERY BOX "\3com\0" A IN), "5" },
		{ LITERAL(QUERY "\6box.vm\0" A IN), "5" },
		{ LITERAL(QUERY BOX "\0" A "\0\3"), "5" },   /* class CH */
		{ LITERAL(QUERY BOX "\0" A "\0\xff"), "5" }, /* class ANY */
		{ LITERAL(QUERY "\2vm\0\0\xfc" IN), "5" },   /* AXFR */
		{ LITERAL(QUERY "\2vm\0\0\xfb" IN), "5" },   /* IXFR */
		/* EDNS. */
		{ LITERAL(WITH_EDNS BOX "\0" A IN EDNS), "0 aa answer A 172.16.0.2 edns" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\0\0\x29\0\0\0\0\0\0\0\0"),
		  "0 aa answer A 172.16.0.2 edns" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\0\0\x29\xff\xff\0\0\x80\0\0\0"),
		  "0 aa answer A 172.16.0.2 edns" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\0\0\x29\2\0\0\1\0\0\0\0"), "16 edns" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\0\0\x29\2\0\0\0\0\0\0\xc\0\xa\0\x8"
					"cookies!"),
		  "0 aa answer A 172.16.0.2 edns" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN), "1" },	      /* promised, not there */
		{ LITERAL(QUERY BOX "\0" A IN EDNS), "1" },	      /* there, not promised */
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\1a" EDNS), "1" }, /* with a name */
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\xc0\xc" EDNS), "1" },
		{ LITERAL(WITH_EDNS BOX "\0" A IN "\0\0\1\0\1\0\0\0\0\0\4abcd"),
		  "1" }, /* another record */
		{ LITERAL("\x12\x34\1\0\0\1\0\0\0\0\0\2" BOX "\0" A IN EDNS EDNS), "1" },
		/* Malformed. */
		{ LITERAL(QUERY), "1" },
		{ LITERAL(QUERY BOX), "1" },
		{ LITERAL(QUERY BOX "\0\0"), "1" },
		{ LITERAL(QUERY BOX "\0" A "\0"), "1" },
		{ LITERAL(QUERY BOX "\0" A IN "x"), "1" },
		{ LITERAL(QUERY "\xc0\xc" A IN), "1" }, /* itself */
		{ LITERAL(QUERY "\3box\xc0\x10" A IN), "1" },
		{ LITERAL(QUERY "\3box\xc0\xff" A IN), "1" },
		{ LITERAL(QUERY
			  "\x40"
			  "1234567890123456789012345678901234567890123456789012345678901234\2vm\0" A
				  IN),
		  "1" },
		{ LITERAL("\x12\x34\1\0\0\0\0\0\0\0\0\0"), "1" },
		{ LITERAL("\x12\x34\1\0\0\2\0\0\0\0\0\0" BOX "\0" A IN BOX "\0" A IN), "1" },
		{ LITERAL("\x12\x34\1\0\xff\xff\0\0\0\0\0\0" BOX "\0" A IN), "1" },
		{ LITERAL("\x12\x34\1\0\0\1\0\1\0\0\0\0" BOX "\0" A IN), "1" },
		{ LITERAL("\x12\x34\1\0\0\1\0\0\0\1\0\0" BOX "\0" A IN), "1" },
		/* Other opcodes: IQUERY, STATUS, NOTIFY, UPDATE. */
		{ LITERAL("\x12\x34\x09\0\0\1\0\0\0\0\0\0" BOX "\0" A IN), "4" },
		{ LITERAL("\x12\x34\x10\0\0\1\0\0\0\0\0\0" BOX "\0" A IN), "4" },
		{ LITERAL("\x12\x34\x20\0\0\1\0\0\0\0\0\0" BOX "\0" A IN), "4" },
		{ LITERAL("\x12\x34\x28\0\0\1\0\0\0\0\0\0" BOX "\0" A IN), "4" },
		/* Answers are not answered, and what is too short has no id. */
		{ LITERAL("\x12\x34\x81\0\0\1\0\0\0\0\0\0" BOX "\0" A IN), "nothing" },
		{ LITERAL("\x12\x34\x81\1\0\1\0\0\0\0\0\0"), "nothing" },
		{ LITERAL("\x12\x34\1\0\0\1\0\0\0\0\0"), "nothing" },
		{ LITERAL(""), "nothing" },
	};
	CLEANUP(dns_zone_freep) struct dns_zone *zone = some_names();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *is = told(zone, span_of(rows[i].query, rows[i].len));

		CHECK_STR(is, rows[i].told);
	}
}

/* 255 bytes is the longest name there may be; 63 the longest label. */
static void test_lengths(void **state)
{
	CLEANUP(dns_zone_freep) struct dns_zone *zone = dns_zone_new();
	AUTO_FREE char *longest = mem_printf("%063d", 7);

	(void)state;
	dns_zone_set(zone, longest, 0x7f000001);
	for (size_t first = 58; first <= 60; first++) {
		AUTO_BUF query = BUF_INIT;
		AUTO_FREE char *is = NULL;

		buf_add(&query, BYTES(QUERY));
		for (int label = 0; label < 3; label++) {
			buf_add_byte(&query, 63);
			buf_add_str(&query, longest);
		}
		buf_add_byte(&query, (uint8_t)first);
		buf_add(&query, span_of(longest, first));
		buf_add(&query, BYTES("\2vm\0" A IN));
		is = told(zone, buf_span(&query));
		/* 3 * 64 + 1 + 58 + 4 is 255 */
		CHECK_STR(is, first == 58 ? "3 aa authority SOA localhost." : "1");
	}
	/* As many labels as fit, and one more: 2 * 125 + 4 + 1 is 255. */
	for (int labels = 125; labels <= 126; labels++) {
		AUTO_BUF query = BUF_INIT;
		AUTO_FREE char *is = NULL;

		buf_add(&query, BYTES(QUERY));
		for (int i = 0; i < labels; i++)
			buf_add(&query, BYTES("\1a"));
		buf_add(&query, BYTES("\2vm\0" A IN));
		is = told(zone, buf_span(&query));
		CHECK_STR(is, labels == 125 ? "3 aa authority SOA localhost." : "1");
	}
	{
		AUTO_BUF query = BUF_INIT;
		AUTO_FREE char *is = NULL;

		buf_add(&query, BYTES(QUERY "\x3f"));
		buf_add_str(&query, longest);
		buf_add(&query, BYTES("\2vm\0" A IN));
		is = told(zone, buf_span(&query));
		assert_string_equal(is, "0 aa answer A 127.0.0.1");
	}
}

/* The question comes back byte for byte: resolvers check the case of its letters
 * (draft-vixie-dnsext-dns0x20). */
static void test_echo(void **state)
{
	CLEANUP(dns_zone_freep) struct dns_zone *zone = some_names();
	const struct span query = BYTES(QUERY "\3bOx\2Vm\0" A IN);
	AUTO_BUF reply = BUF_INIT;

	(void)state;
	buf_add_str(&reply, "before");
	assert_true(dns_answer(zone, query, &reply));
	assert_memory_equal(reply.ptr, "before\x12\x34\x85\0\0\1\0\1\0\0\0\0", 18);
	assert_memory_equal(reply.ptr + 18, query.ptr + 12, query.len - 12);
}

static void test_zone(void **state)
{
	CLEANUP(dns_zone_freep) struct dns_zone *zone = dns_zone_new();
	uint32_t serial = dns_zone_serial(zone), address;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		AUTO_FREE char *name = mem_printf("vm-%u", i * 7919 % 1000);

		dns_zone_set(zone, name, i * 7919 % 1000 + 1);
		assert_true(dns_zone_serial(zone) > serial);
		serial = dns_zone_serial(zone);
	}
	for (unsigned int i = 0; i < 1000; i += 2) {
		AUTO_FREE char *name = mem_printf("vm-%u", i);

		dns_zone_remove(zone, name);
		dns_zone_remove(zone, name);
	}
	for (unsigned int i = 0; i < 1000; i++) {
		AUTO_FREE char *name = mem_printf("VM-%u", i);
		const enum dns_found found = dns_zone_find(zone, span_str(name), &address);

		CHECK_INT(found, i % 2 ? DNS_ADDRESS : DNS_UNKNOWN);
		if (found == DNS_ADDRESS)
			CHECK_INT(address, i + 1);
	}
	dns_zone_set(zone, "vm-1", 0);
	assert_int_equal(dns_zone_find(zone, span_str("vm-1"), &address), DNS_NO_ADDRESS);
	assert_int_equal(dns_zone_find(zone, span_str(""), &address), DNS_UNKNOWN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
