/* What listens in a guest: the list that it sends, what servers say, and how it is shown. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/vm_service.h"
#include "guest/ports.h"

static void add_answer(struct buf *out, const char *body)
{
	buf_addf(out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static int read_body(const char *body, struct guest_ports *ret, struct err *err)
{
	AUTO_BUF answer = BUF_INIT;

	add_answer(&answer, body);
	return guest_read_ports(buf_span(&answer), ret, err);
}

#define ROW(protocol, address, port, pid)                                           \
	"{\"protocol\":\"" protocol "\",\"address\":\"" address "\",\"port\":" port \
	",\"pid\":" pid ",\"process\":\"p\",\"command\":\"c\"}"

static void test_read(void **state)
{
	AUTO_GUEST_PORTS ports = { .items = NULL };
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(read_body("{\"ports\":[" ROW("tcp", "0.0.0.0", "22", "7") "," ROW(
				    "tcp6", "0:0::0", "22",
				    "0") ","
					 "{\"protocol\":\"udp\",\"address\":\"127.0.0.1\",\"port\":"
					 "65535,\"pid\":1,"
					 "\"process\":\"a\\u001b]52;c;A\\u0007\\u202eb\"}]}",
			    &ports, &err),
		  0);
	CHECK_INT(ports.count, 3);
	CHECK_STR(ports.items[0].address, "0.0.0.0");
	CHECK_INT(ports.items[0].pid, 7);
	CHECK_STR(ports.items[0].command, "c");
	CHECK_STR(ports.items[1].address, "::");
	CHECK_ROW(1, ports.items[1].is_ipv6 && !ports.items[1].is_udp);
	CHECK_ROW(2, ports.items[2].is_udp);
	CHECK_STR(ports.items[2].command, "");
	CHECK_ROW(2, !strchr(ports.items[2].process, '\033') && !strchr(ports.items[2].process, 7));
	CHECK_HAS(ports.items[2].process, "]52;c;A");
}

static void test_refused(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"{}",
		"{\"ports\":{}}",
		"{\"ports\":[],\"more\":1}",
		"{\"ports\":[1]}",
		"{\"ports\":[{}]}",
		"{\"ports\":[" ROW("tcp", "0.0.0.0", "0", "1") "]}",
		"{\"ports\":[" ROW("tcp", "0.0.0.0", "65536", "1") "]}",
		"{\"ports\":[" ROW("tcp", "0.0.0.0", "-1", "1") "]}",
		"{\"ports\":[" ROW("tcp", "0.0.0.0", "1", "4294967296") "]}",
		"{\"ports\":[" ROW("tcp", "::", "1", "1") "]}",
		"{\"ports\":[" ROW("tcp6", "0.0.0.0", "1", "1") "]}",
		"{\"ports\":[" ROW("tcp", "evil.example", "1", "1") "]}",
		"{\"ports\":[" ROW("sctp", "0.0.0.0", "1", "1") "]}",
	};
	AUTO_BUF many = BUF_INIT;
	struct guest_ports ports;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		err = ERR_INIT;
		CHECK_ROW(i, read_body(bodies[i], &ports, &err) < 0);
		CHECK_ROW(i, err.kind == ERR_PROTOCOL);
		CHECK_HAS(err.message, "wrong ");
	}
	buf_add_str(&many, "{\"ports\":[");
	for (int i = 0; i <= GUEST_PORTS_MAX; i++)
		buf_addf(&many, "%s%s", i ? "," : "", ROW("tcp", "0.0.0.0", "1", "1"));
	buf_add_str(&many, "]}");
	assert_true(read_body(many.ptr, &ports, &err) < 0);
	CHECK_HAS(err.message, "at most 1024");
}

static void test_greetings(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum guest_speaks speaks;
		bool is_decided;
	} rows[] = {
		{ "", 0, GUEST_SPEAKS_UNKNOWN, false },
		{ "\x16\x03\x03\x00\x7a", 5, GUEST_SPEAKS_HTTPS, true },
		{ "\x15\x03\x01\x00\x02\x02\x46", 7, GUEST_SPEAKS_HTTPS, true },
		{ "\x15\x03", 2, GUEST_SPEAKS_UNKNOWN, true },
		{ "\x17\x03\x03\x00\x02", 5, GUEST_SPEAKS_UNKNOWN, true },
		{ "\x16\x02\x00\x00\x02", 5, GUEST_SPEAKS_UNKNOWN, true },
		{ "HTTP/1.1", 8, GUEST_SPEAKS_HTTP, true },
		{ "HTTP/", 5, GUEST_SPEAKS_HTTP, true },
		{ "HTTP", 4, GUEST_SPEAKS_UNKNOWN, true },
		{ "SSH-2.0-", 8, GUEST_SPEAKS_UNKNOWN, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool is_decided = !rows[i].is_decided;

		CHECK_ROW(i, guest_judge_greeting(span_of(rows[i].bytes, rows[i].len),
						  &is_decided) == rows[i].speaks);
		CHECK_ROW(i, is_decided == rows[i].is_decided);
	}
}

/* Without anybody to ask, so that every TCP port is just that. */
static void test_shown(void **state)
{
	static const char body[] = "{\"ports\":[" ROW("tcp", "0.0.0.0", "22", "7") "," ROW("tcp", "0.0.0.0", "80", "8") "," ROW(
		"tcp", "0.0.0.0", "80",
		"9") "," ROW("tcp", "127.0.0.1", "5432",
			     "5") "," ROW("tcp6", "::", "22",
					  "7") "," ROW("tcp6", "::1", "5432",
						       "5") "," ROW("tcp", "0.0.0.0", "90",
								    "1") "," ROW("tcp6", "::", "90",
										 "2") "," ROW("tcp"
											      "6",
											      "::",
											      "443",
											      "3") "," ROW("udp",
													   "0.0.0.0",
													   "22",
													   "7") "," ROW("udp6",
															"::",
															"22",
															"0") "]}";
	static const char *const wanted[] = {
		"tcp *:22",	  "tcp 0.0.0.0:80", "tcp 127.0.0.1:5432", "tcp [::1]:5432",
		"tcp 0.0.0.0:90", "tcp [::]:90",    "tcp [::]:443",	  "udp *:22",
	};
	const struct guest_target target = { .socket_path = "/nowhere/vsock.sock",
					     .deadline_ns = UINT64_MAX };
	AUTO_GUEST_PORTS ports = { .items = NULL };
	AUTO_JSON *list = NULL;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(read_body(body, &ports, &err), 0);
	CHECK_INT(vm_ports_json(&target, &ports, &list, &err), 0);
	CHECK_INT(json_array_size(list), ARRAY_LEN(wanted));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		const json_t *row = json_array_get(list, i);
		AUTO_FREE char *got = mem_printf("%s %s", json_get_str(row, "protocol"),
						 json_get_str(row, "endpoint"));

		CHECK_STR(got, wanted[i]);
	}
	CHECK_INT(json_array_size(json_object_get(json_array_get(list, 0), "addresses")), 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_greetings),
		cmocka_unit_test(test_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
