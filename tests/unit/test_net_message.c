/* What bangerd and the process of an isolated network say to one another. */
#include "check.h"

#include <string.h>

#include "base/mem.h"
#include "base/strv.h"
#include "priv/net_message.h"
#include "priv/net_way_out.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct net_guest guests[] = {
	{ .vm_id = ID, .index = 2, .has_nat = true },
	{ .vm_id = "ffffffffffffffffffffffffffffffff", .index = 254 },
};
static struct net_range ranges[] = { { 0x7f000000, 8 }, { 0, 0 }, { 0xcb007101, 32 } };

static const struct net_request requests[] = {
	{ .op = NET_OP_HELLO,
	  .settings = { .tag = "0123456789abcdef",
			.bridge_name = "br-fc-fifteen..",
			.subnet = { 0xac100001, 24 },
			.dns_port = 53 } },
	{ .op = NET_OP_SPACE, .value = 1 },
	{ .op = NET_OP_HOST, .ranges = ranges, .range_count = ARRAY_LEN(ranges) },
	{ .op = NET_OP_RAISE, .guests = guests, .guest_count = ARRAY_LEN(guests) },
	{ .op = NET_OP_RAISE },
	{ .op = NET_OP_TAP_MAKE, .value = 254 },
	{ .op = NET_OP_JOIN, .guests = guests, .guest_count = 1 },
	{ .op = NET_OP_SET_FORWARDING, .value = 1 },
};

static void check_request(size_t row, const struct net_request *wanted)
{
	AUTO_NET_REQUEST got = NET_REQUEST_INIT;
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	size_t size;

	net_request_write(wanted, &text);
	CHECK_INT(net_request_body_size(span_of(text.ptr, NET_HEADER_SIZE), &size, &err), 0);
	CHECK_INT(size, text.len - NET_HEADER_SIZE);
	CHECK_INT(net_request_parse(buf_span(&text), &got, &err), 0);
	CHECK_INT(got.op, wanted->op);
	CHECK_INT(got.value, wanted->value);
	/* Its parts are the same when they are written as the same bytes. */
	net_request_write(&got, &again);
	CHECK_ROW(row, span_eq(buf_span(&text), buf_span(&again)));
}

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		check_request(i, &requests[i]);
}

/* One byte of a good request changed, or its length. */
static void test_wrong_requests(void **state)
{
	static const struct {
		size_t request;
		size_t at;
		uint8_t byte;
		int longer;
	} rows[] = {
		{ 0, 0, 0xff, 0 },		  /* another version */
		{ 0, 4, 0, 0 },			  /* no operation */
		{ 0, 4, NET_OP_COUNT, 0 },	  /* */
		{ 0, 12, 0, 0 },		  /* a greeting without settings */
		{ 0, 16 + 10, 1, 0 },		  /* a port above 65535 */
		{ 0, 16 + 12 + 16 + 15, 'x', 0 }, /* a name that does not end */
		{ 1, 8, 2, 0 },			  /* a third namespace */
		{ 1, 12, 1, 0 },		  /* parts of what has none */
		{ 2, 16 + 4, 33, 0 },		  /* a range of 33 bits */
		{ 2, 0, 0x01, -1 },		  /* cut off */
		{ 2, 0, 0x01, 1 },		  /* more than it says */
		{ 3, 14, 0xff, 0 },		  /* too many */
		{ 3, 16 + 4, 2, 0 },		  /* an unknown flag */
		{ 3, 16 + 8, 'g', 0 },		  /* no VM's id */
		{ 3, 16 + 8, '/', 0 },
		{ 3, 16 + 8, 0, 0 },
		{ 6, 12, 2, 0 }, /* two guests where one is meant */
		{ 7, 8, 2, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct net_request got = NET_REQUEST_INIT;
		struct err err = ERR_INIT;
		AUTO_BUF text = BUF_INIT;

		net_request_write(&requests[rows[i].request], &text);
		text.ptr[rows[i].at] = (char)rows[i].byte;
		if (rows[i].longer > 0)
			buf_add_byte(&text, 0);
		CHECK_ROW(i, net_request_parse(span_of(text.ptr, rows[i].longer < 0 ? text.len - 1
										    : text.len),
					       &got, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_ROW(i, got.op == NET_OP_COUNT && !got.guests && !got.ranges);
	}
}

static void test_replies(void **state)
{
	struct net_reply reply = { .err = ERR_INIT, .value = 7, .count = 3 };
	struct net_reply got = { .value = 0 };
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF again = BUF_INIT;

	(void)state;
	(void)err_set(&reply.err, ERR_LIMIT, "all are taken");
	net_reply_write(&reply, &text);
	CHECK_INT(net_reply_parse(buf_span(&text), &got, &err), 0);
	CHECK_STR(got.err.message, "all are taken");
	net_reply_write(&got, &again);
	assert_true(span_eq(buf_span(&text), buf_span(&again)));
}

static void test_wrong_replies(void **state)
{
	struct net_reply reply = { .err = ERR_INIT };
	struct net_reply got = { .value = 0 };
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;

	(void)state;
	net_reply_write(&reply, &text);
	text.ptr[4] = ERR_KIND_COUNT;
	assert_true(net_reply_parse(buf_span(&text), &got, &err) < 0);
	assert_true(net_reply_parse(span_of(text.ptr, text.len - 1), &got, &err) < 0);
}

static void test_records(void **state)
{
	struct priv_tap tap = { .index = 9, .vm_id = ID };
	struct priv_tap got_tap = { .index = 0 };
	struct err err = ERR_INIT;
	AUTO_BUF record = BUF_INIT;

	(void)state;
	net_tap_write(&tap, &record);
	CHECK_INT(record.len, NET_TAP_SIZE);
	CHECK_INT(net_tap_parse(buf_span(&record), &got_tap, &err), 0);
	CHECK_INT(got_tap.index, 9);
	CHECK_STR(got_tap.vm_id, ID);
	record.ptr[8] = 'G';
	assert_true(net_tap_parse(buf_span(&record), &got_tap, &err) < 0);
}

/* No port into the namespace or out of it, no name for the host, IPv4 only. */
static void test_way_out(void **state)
{
	static const char wanted[] =
		"pasta --foreground --quiet --config-net --ipv4-only --tcp-ports none "
		"--udp-ports none --tcp-ns none --udp-ns none --no-map-gw --no-dhcp --no-dhcpv6 "
		"--no-ndp --no-ra --address 192.0.0.2 --netmask 29 --gateway 192.0.0.1 "
		"--ns-ifname pasta0 --userns /proc/77/ns/user --netns /proc/77/ns/net";
	AUTO_STRV argv = { 0 };
	AUTO_BUF line = BUF_INIT;

	(void)state;
	net_way_out_argv(77, &argv);
	for (size_t i = 0; i < argv.count; i++)
		buf_addf(&line, "%s%s", i > 0 ? " " : "", argv.items[i]);
	CHECK_STR(line.ptr, wanted);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_wrong_requests),
		cmocka_unit_test(test_replies),	 cmocka_unit_test(test_wrong_replies),
		cmocka_unit_test(test_records),	 cmocka_unit_test(test_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
