/* Addresses, and the rules as nftables reads them. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "net/rules.h"

#define ADDRESS(a, b, c, d) \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct net_subnet usual = { .bridge = ADDRESS(172, 16, 0, 1), .prefix = 24 };

static void test_subnets(void **state)
{
	static const struct {
		uint32_t bridge;
		uint32_t prefix;
		uint32_t capacity;
		uint32_t valid[3];
		uint32_t invalid[3];
	} rows[] = {
		{ ADDRESS(172, 16, 0, 1), 24, 253, { 2, 100, 254 }, { 0, 1, 255 } },
		{ ADDRESS(10, 0, 0, 254), 24, 253, { 1, 2, 253 }, { 0, 254, 255 } },
		{ ADDRESS(192, 168, 7, 5), 30, 1, { 2, 2, 2 }, { 0, 1, 3 } },
		{ ADDRESS(10, 0, 0, 1), 8, 16777213, { 2, 256, 16777214 }, { 0, 1, 16777215 } },
		{ ADDRESS(172, 16, 3, 9), 22, 1021, { 1, 255, 1022 }, { 0, 777, 1023 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct net_subnet subnet = { rows[i].bridge, rows[i].prefix };

		CHECK_INT(net_subnet_capacity(&subnet), rows[i].capacity);
		for (size_t j = 0; j < 3; j++) {
			CHECK_ROW(i, net_index_is_valid(&subnet, rows[i].valid[j]));
			CHECK_ROW(i, !net_index_is_valid(&subnet, rows[i].invalid[j]));
		}
		CHECK_ROW(i, !net_index_is_valid(&subnet, UINT32_MAX));
	}
}

static void test_first_free(void **state)
{
	static const struct net_subnet smallest = { ADDRESS(10, 0, 0, 2), 30 };
	static const struct {
		uint32_t used[4];
		size_t count;
		uint32_t wanted;
	} rows[] = {
		{ { 0 }, 0, 2 },       { { 2 }, 1, 3 },		 { { 3 }, 1, 2 },
		{ { 2, 3, 5 }, 3, 4 }, { { 2, 3, 4, 5 }, 4, 6 }, { { 1, 2 }, 2, 3 },
		{ { 2, 2, 3 }, 3, 4 },
	};
	uint32_t all[253];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(net_index_first_free(&usual, rows[i].used, rows[i].count),
			  rows[i].wanted);
	for (uint32_t i = 0; i < ARRAY_LEN(all); i++)
		all[i] = i + 2;
	CHECK_INT(net_index_first_free(&usual, all, ARRAY_LEN(all)), 0);
	CHECK_INT(net_index_first_free(&usual, all, ARRAY_LEN(all) - 1), 254);
	CHECK_INT(net_index_first_free(&usual, all + 1, ARRAY_LEN(all) - 1), 2);
	CHECK_INT(net_index_first_free(&smallest, NULL, 0), 1);
	all[0] = 1;
	CHECK_INT(net_index_first_free(&smallest, all, 1), 0);
}

static void test_texts(void **state)
{
	char text[NET_MAC_TEXT_SIZE];
	uint8_t mac[NET_MAC_SIZE];

	(void)state;
	CHECK_INT(net_index_address(&usual, 2), ADDRESS(172, 16, 0, 2));
	net_address_text(ADDRESS(172, 16, 0, 254), text);
	CHECK_STR(text, "172.16.0.254");
	net_address_text(ADDRESS(255, 255, 255, 255), text);
	CHECK_STR(text, "255.255.255.255");
	net_address_mac(ADDRESS(172, 16, 0, 254), mac);
	net_mac_text(mac, text);
	CHECK_STR(text, "02:fc:ac:10:00:fe");
	/* Locally administered, for one station. */
	CHECK_INT(mac[0] & 3, 2);
}

static void test_tap_names(void **state)
{
	static const struct {
		const char *bridge;
		const char *name;
		uint32_t index; /* 0: it is none of that bridge's */
	} rows[] = {
		{ "br-fc", "bgr-2", 2 },	{ "br-fc", "bgr-16777215", 16777215 },
		{ "br-fc", "bgr-16777216", 0 }, { "br-fc", "bgr-0", 0 },
		{ "br-fc", "bgr-02", 0 },	{ "br-fc", "bgr-", 0 },
		{ "br-fc", "bgr-2x", 0 },	{ "br-fc", "bgr2", 0 },
		{ "br-fc", "tap0", 0 },		{ "br-fc", "", 0 },
		{ "br-fc-a", "bgr-2", 0 },
	};
	static const char *const bridges[] = { "br-fc", "br-fc-a", "br-fc-b", "br-fc-123456789" };
	char name[NET_NAME_SIZE];
	uint32_t index;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		index = 7;
		CHECK_INT(net_tap_index(rows[i].bridge, rows[i].name, &index), rows[i].index != 0);
		CHECK_INT(index, rows[i].index ? rows[i].index : 7);
	}
	for (size_t i = 0; i < ARRAY_LEN(bridges); i++) {
		net_tap_name(bridges[i], 16777215, name);
		CHECK_ROW(i, strlen(name) < NET_NAME_SIZE);
		/* Of all bridges it is this one's alone. */
		for (size_t j = 0; j < ARRAY_LEN(bridges); j++)
			CHECK_INT(net_tap_index(bridges[j], name, &index), i == j);
	}
}

static void test_table_names(void **state)
{
	char table[NET_TABLE_SIZE];

	(void)state;
	net_table_name("br-fc", table);
	CHECK_STR(table, "banger");
	net_table_name("br-fc-123456789", table);
	CHECK_STR(table, "banger-123456789");
}

/* --- rules --- */

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210"

static const struct net_policy policy = { .tag = "0011223344556677",
					  .bridge_name = "br-fc",
					  .subnet = { ADDRESS(172, 16, 0, 1), 24 },
					  .dns_port = 5353 };
static const struct net_guest guests[] = {
	{ .index = 2, .vm_id = ID_A, .has_nat = true },
	{ .index = 30, .vm_id = ID_B },
};

/* The whole of it, held still; BANGER_UPDATE_GOLDEN=1 writes it anew. */
static void check_golden(const char *path, const struct buf *rules)
{
	AUTO_BUF golden = BUF_INIT;

	if (getenv("BANGER_UPDATE_GOLDEN")) {
		FILE *file = fopen(path, "we");

		assert_non_null(file);
		assert_int_equal(fwrite(rules->ptr, 1, rules->len, file), rules->len);
		assert_int_equal(fclose(file), 0);
	}
	assert_int_equal(file_read(AT_FDCWD, path, 65536, &golden), 0);
	CHECK_STR(rules->ptr, golden.ptr);
}

static void test_golden(void **state)
{
	char *names[] = { (char[]){ "eth0" }, (char[]){ "wlan0" } };
	const struct strv opened = { .items = names, .count = 2 };
	AUTO_BUF rules = BUF_INIT;

	(void)state;
	net_rules_make(&policy, guests, ARRAY_LEN(guests), &opened, &rules);
	check_golden(SOURCE_ROOT "/tests/unit/golden/network-rules.nft", &rules);
}

/* In a namespace of its own: the host's addresses, and nobody begins anything in there. */
static void test_isolated(void **state)
{
	static const struct net_range host[] = { { ADDRESS(127, 0, 0, 0), 8 },
						 { ADDRESS(203, 0, 113, 1), 32 } };
	static const struct strv none = { 0 };
	struct net_policy isolated = policy;
	AUTO_BUF rules = BUF_INIT;
	AUTO_BUF change = BUF_INIT;

	(void)state;
	isolated.is_isolated = true;
	/* Not known yet: nobody gets anywhere. */
	net_rules_make(&isolated, guests, ARRAY_LEN(guests), &none, &rules);
	assert_non_null(strstr(rules.ptr, "chain host {\n\t\tcounter drop\n\t}"));
	buf_clear(&rules);
	isolated.host = host;
	isolated.host_count = ARRAY_LEN(host);
	net_rules_make(&isolated, guests, ARRAY_LEN(guests), &none, &rules);
	check_golden(SOURCE_ROOT "/tests/unit/golden/network-rules-isolated.nft", &rules);
	net_rules_set_host(&isolated, &change);
	CHECK_STR(change.ptr, "flush chain inet banger host\n"
			      "add rule inet banger host ip daddr 127.0.0.0/8 counter drop\n"
			      "add rule inet banger host ip daddr 203.0.113.1/32 counter drop\n");
}

static void test_changes(void **state)
{
	static const char element[] = "\"bgr-30\" . 02:fc:ac:10:00:1e . 172.16.0.30";
	AUTO_BUF add = BUF_INIT;
	AUTO_BUF leave = BUF_INIT;
	AUTO_BUF nat = BUF_INIT;

	(void)state;
	net_rules_add_guest(&policy, &guests[1], &add);
	CHECK_HAS(add.ptr, element);
	CHECK_HAS(add.ptr, "add element bridge banger guests");
	/* Also without NAT nothing is left of an earlier one. */
	CHECK_HAS(add.ptr, "delete element inet banger nat { 172.16.0.30 }");
	net_rules_remove_guest(&policy, &guests[1], &leave);
	CHECK_HAS(leave.ptr, "delete element bridge banger guests");
	CHECK_HAS(leave.ptr, "delete element inet banger nat { 172.16.0.30 }");
	CHECK_HAS(leave.ptr, "delete element inet banger connections { 172.16.0.30 }");
	CHECK_HAS(leave.ptr, "delete element inet banger beginnings { 172.16.0.30 }");
	net_rules_set_nat(&policy, &guests[0], &nat);
	CHECK_STR(nat.ptr, "add element inet banger nat { 172.16.0.2 comment \"vm " ID_A "\" }\n");
}

static void test_have(void **state)
{
#define GUEST_A "\"bgr-2\" . 02:fc:ac:10:00:02 . 172.16.0.2 comment \"vm " ID_A "\""
#define GUEST_B "\"bgr-30\" . 02:fc:ac:10:00:1e . 172.16.0.30 comment \"vm " ID_B "\""
#define NAT_A	" 172.16.0.2 comment \"vm " ID_A "\""
	static const struct {
		const char *listing;
		bool wanted;
	} rows[] = {
		{ "elements = { " GUEST_A ",\n\t" GUEST_B " }\n elements = {" NAT_A " }", true },
		{ "elements = { " GUEST_B ", " GUEST_A " } elements = {" NAT_A " }", true },
		{ "elements = { " GUEST_A ",\n\t" GUEST_B " }", false },
		{ "elements = { " GUEST_A " } elements = {" NAT_A " }", false },
		{ "elements = { " GUEST_A ", " GUEST_B " } elements = {" NAT_A ", 172.16.0.9 }",
		  false },
		/* What the kernel adds itself is none of ours. */
		{ "flags dynamic\n\t\telements = { 172.16.0.2 ct count over 1, 172.16.0.3 }\n"
		  "elements = { " GUEST_A ", " GUEST_B " } elements = {" NAT_A " }",
		  true },
		{ "", false },
	};
	static const char opened[] = "{ 8021q, 8021ad } elements = { \"eth0\", \"wlan0\" }";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i,
			  net_rules_have(&policy, guests, 2, 0, rows[i].listing) == rows[i].wanted);
	assert_true(net_rules_have(&policy, guests, 0, 0, "set guests { }"));
	assert_false(net_rules_have(&policy, guests, 0, 0, rows[0].listing));
	assert_true(net_rules_have(&policy, guests, 0, 2, opened));
	assert_false(net_rules_have(&policy, guests, 0, 1, opened));
}

static void test_owner(void **state)
{
	AUTO_BUF rules = BUF_INIT;
	const struct net_policy other = { .tag = "0011223344556678" };

	(void)state;
	net_rules_make(&policy, guests, 0, &(struct strv){ .count = 0 }, &rules);
	assert_true(net_rules_are_owned(&policy, rules.ptr));
	assert_false(net_rules_are_owned(&other, rules.ptr));
	assert_false(net_rules_are_owned(&policy, ""));
}

static void test_interface_names(void **state)
{
	static const struct {
		const char *name;
		bool wanted;
	} rows[] = {
		{ "eth0", true },
		{ "eth0.100", true },
		{ "veth1@if2", true },
		{ "wlp3s0", true },
		{ "", false },
		{ "a\"b", false },
		{ "a b", false },
		{ "a;b", false },
		{ "a{b", false },
		{ "\xc3\xa9", false },
		{ "exactly15chars_", true },
		{ "sixteen_chars__x", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, net_rules_can_name(rows[i].name) == rows[i].wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subnets),	    cmocka_unit_test(test_first_free),
		cmocka_unit_test(test_texts),	    cmocka_unit_test(test_tap_names),
		cmocka_unit_test(test_table_names), cmocka_unit_test(test_golden),
		cmocka_unit_test(test_isolated),    cmocka_unit_test(test_changes),
		cmocka_unit_test(test_have),	    cmocka_unit_test(test_interface_names),
		cmocka_unit_test(test_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
