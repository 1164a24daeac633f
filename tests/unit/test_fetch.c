/* The pure parts of downloads: where addresses are, what URLs and headers mean. */
#include "check.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "fetch/answer.h"
#include "fetch/place.h"
#include "fetch/proxy.h"
#include "fetch/url.h"

static void test_places(void **state)
{
	static const struct {
		const char *host;
		enum fetch_place place;
	} rows[] = {
		{ "localhost", FETCH_PLACE_LOOPBACK },
		{ "LOCALHOST.", FETCH_PLACE_LOOPBACK },
		{ "a.localhost", FETCH_PLACE_LOOPBACK },
		{ "notlocalhost", FETCH_PLACE_NONE },
		{ "localhost.example", FETCH_PLACE_NONE },
		{ "", FETCH_PLACE_NONE },
		{ ".", FETCH_PLACE_NONE },
		{ "127.0.0.1", FETCH_PLACE_LOOPBACK },
		{ "127.255.255.254", FETCH_PLACE_LOOPBACK },
		{ "0.0.0.0", FETCH_PLACE_LOOPBACK },
		{ "[::1]", FETCH_PLACE_LOOPBACK },
		{ "[::]", FETCH_PLACE_LOOPBACK },
		{ "[::ffff:127.0.0.1]", FETCH_PLACE_LOOPBACK },
		{ "[64:ff9b::7f00:1]", FETCH_PLACE_LOOPBACK },
		{ "[2002:a9fe:a9fe::]", FETCH_PLACE_LINK_LOCAL },
		{ "169.254.169.254", FETCH_PLACE_LINK_LOCAL },
		{ "224.0.0.1", FETCH_PLACE_LINK_LOCAL },
		{ "255.255.255.255", FETCH_PLACE_LINK_LOCAL },
		{ "[fe80::1]", FETCH_PLACE_LINK_LOCAL },
		{ "[ff02::1]", FETCH_PLACE_LINK_LOCAL },
		{ "10.0.0.0", FETCH_PLACE_PRIVATE },
		{ "100.64.0.0", FETCH_PLACE_PRIVATE },
		{ "100.127.255.255", FETCH_PLACE_PRIVATE },
		{ "172.16.0.0", FETCH_PLACE_PRIVATE },
		{ "172.31.255.255", FETCH_PLACE_PRIVATE },
		{ "192.168.255.255", FETCH_PLACE_PRIVATE },
		{ "[fd00::1]", FETCH_PLACE_PRIVATE },
		{ "[fc00::]", FETCH_PLACE_PRIVATE },
		{ "[fec0::1]", FETCH_PLACE_PRIVATE },
		{ "9.255.255.255", FETCH_PLACE_PUBLIC },
		{ "11.0.0.0", FETCH_PLACE_PUBLIC },
		{ "100.128.0.0", FETCH_PLACE_PUBLIC },
		{ "172.32.0.0", FETCH_PLACE_PUBLIC },
		{ "[2606:4700::1]", FETCH_PLACE_PUBLIC },
		{ "[::2]", FETCH_PLACE_PUBLIC },
		{ "[", FETCH_PLACE_NONE },
		{ "[]", FETCH_PLACE_NONE },
		{ "[:::]", FETCH_PLACE_NONE },
	};
	struct sockaddr_un { /* of a family that we do not know */
		sa_family_t family;
		char rest[30];
	} other = { .family = AF_UNIX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, place_of_host(rows[i].host) == rows[i].place);
	assert_int_equal(place_of_address((const struct sockaddr *)&other), FETCH_PLACE_NONE);
	assert_true(fetch_host_is_loopback("127.0.0.1"));
	assert_false(fetch_host_is_loopback("0.0.0.0"));
	assert_false(fetch_host_is_loopback("[::]"));
	assert_false(fetch_host_is_loopback("10.0.0.1"));
}

static void test_who_may_lead_where(void **state)
{
	enum { N = FETCH_PLACE_NONE, PUB, PRI, LINK, LOOP };
	/* Rows lead to columns: none, public, private, link-local, loopback. */
	static const bool may[FETCH_PLACE_COUNT][FETCH_PLACE_COUNT] = {
		[N] = { true, true, true, true, true },
		[PUB] = { true, true, false, false, false },
		[PRI] = { true, true, true, false, false },
		[LINK] = { true, true, false, true, false },
		[LOOP] = { true, true, true, false, true },
	};

	(void)state;
	for (unsigned int from = 0; from < FETCH_PLACE_COUNT; from++)
		for (unsigned int to = 0; to < FETCH_PLACE_COUNT; to++)
			CHECK_ROW(from * 10 + to,
				  place_may_lead((enum fetch_place)from, (enum fetch_place)to) ==
					  may[from][to]);
}

static void test_urls(void **state)
{
	static const struct {
		const char *text, *host, *shown;
		uint16_t port;
		bool is_https;
	} rows[] = {
		{ "https://Ghcr.IO/v2/x?y=1#z", "ghcr.io", "https://ghcr.io/v2/x", 443, true },
		{ "http://127.0.0.1:5000", "127.0.0.1", "http://127.0.0.1:5000/", 5000, false },
		{ "HTTPS://[::1]:443/a", "[::1]", "https://[::1]/a", 443, true },
		{ "http://0x7f.1/", "127.0.0.1", "http://127.0.0.1/", 80, false },
	};
	static const char *const bad[] = {
		"",
		"x",
		"/x",
		"ftp://x/",
		"file:///etc",
		"https://",
		"https://u@h/",
		"https://u:p@h/",
		"https://h:0",
		"https://h:65536",
		"https://h /",
		"https://h/\x7f",
		"https://h\n",
		"https://?x",
		"https://[::1",
		"https://1%32/", /* "12", and 0.0.0.12 when it is read again */
		"https://1%7f.1/",
		"unix:/x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_URL url = URL_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, url_parse(rows[i].text, &url, &err) == 0);
		CHECK_STR(url.host, rows[i].host);
		CHECK_STR(url.shown, rows[i].shown);
		CHECK_INT(url.port, rows[i].port);
		CHECK_INT(url.is_https, rows[i].is_https);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_URL url = URL_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, url_parse(bad[i], &url, &err) < 0 && err.kind == ERR_INVALID);
		CHECK_ROW(i, url.text == NULL);
		CHECK_ROW(i, !strstr(err.message, "u:p"));
	}
}

static void test_url_lengths(void **state)
{
	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		AUTO_BUF text = BUF_INIT;
		AUTO_URL url = URL_INIT;
		struct err err = ERR_INIT;

		buf_add_str(&text, "https://h/");
		while (text.len < FETCH_URL_BYTES_MAX + extra)
			buf_add_byte(&text, 'a');
		CHECK_INT(url_parse(text.ptr, &url, &err) == 0, extra == 0);
		if (extra == 0)
			CHECK_INT(strlen(url.shown), 200);
		else
			CHECK_HAS(err.message, "too long");
	}
}

static void test_relative_urls(void **state)
{
	static const struct {
		const char *location, *text;
	} rows[] = {
		{ "b", "https://h:5000/v2/b" },	   { "/b?c", "https://h:5000/b?c" },
		{ "//i/b", "https://i/b" },	   { "http://i", "http://i/" },
		{ "../../b", "https://h:5000/b" }, { "?x", "https://h:5000/v2/a?x" },
	};
	AUTO_URL base = URL_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(url_parse("https://h:5000/v2/a", &base, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_URL url = URL_INIT;

		CHECK_ROW(i, url_resolve(&base, rows[i].location, &url, &err) == 0);
		CHECK_STR(url.text, rows[i].text);
	}
}

static void test_origins(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "https://h/a", "https://H:443/b", true },
		{ "https://h/", "http://h/", false },
		{ "https://h/", "https://h:5000/", false },
		{ "https://h/", "https://h.example/", false },
		{ "http://h:443/", "https://h/", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_URL a = URL_INIT, b = URL_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, url_parse(rows[i].a, &a, &err) == 0);
		CHECK_ROW(i, url_parse(rows[i].b, &b, &err) == 0);
		CHECK_ROW(i, url_same_origin(&a, &b) == rows[i].same);
	}
}

static void test_ranges(void **state)
{
	static const struct {
		const char *text;
		uint64_t first, total; /* total 0: refused */
	} rows[] = {
		{ "bytes 5-9/10", 5, 10 },
		{ "bytes 0-0/1", 0, 1 },
		{ "bytes 5-9/*", 5, FETCH_SIZE_UNKNOWN },
		{ "bytes 5-4/10", 7, 0 },
		{ "bytes 5-10/10", 7, 0 },
		{ "bytes */10", 7, 0 },
		{ "bytes 5-9/10 ", 7, 0 },
		{ "bytes  5-9/10", 7, 0 },
		{ "Bytes 5-9/10", 7, 0 },
		{ "bytes -5-9/10", 7, 0 },
		{ "bytes 05-9/10", 7, 0 },
		{ "bytes 5-9", 7, 0 },
		{ "bytes 5-9/18446744073709551616", 7, 0 },
		{ "bytes 9223372036854775808-9223372036854775809/*", 7, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t first = 7, total = 7;
		const bool ok = answer_parse_range(span_str(rows[i].text), &first, &total);

		CHECK_ROW(i, ok == (rows[i].total != 0));
		CHECK_INT(first, rows[i].first);
		CHECK_INT(total, rows[i].total ? rows[i].total : 7);
	}
}

static void take_lines(struct answer *answer, const char *const *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_true(answer_take_line(answer, span_str(lines[i])));
}

static void test_headers(void **state)
{
	static const char *const lines[] = {
		"HTTP/1.1 103 Early Hints\r\n",
		"Location: /wrong\r\n",
		"\r\n",
		"HTTP/1.1 206 Partial Content\r\n",
		"CONTENT-TYPE:  text/plain;a=b \r\n",
		"content-length: 5\r\n",
		"content-length:5\r\n",
		"Content-Range: bytes 5-9/10\r\n",
		"www-authenticate: Basic realm=\"a\"\r\n",
		"WWW-Authenticate: Bearer realm=\"b\"\r\n",
		"ETag: first\r\n",
		"ETag: second\r\n",
		"no colon\r\n",
		"\r\n",
	};
	AUTO_ANSWER answer = ANSWER_INIT;

	(void)state;
	take_lines(&answer, lines, ARRAY_LEN(lines));
	CHECK_INT(answer.status, 206);
	assert_null(answer.location);
	CHECK_STR(answer.headers[FETCH_CONTENT_TYPE], "text/plain;a=b");
	CHECK_STR(answer.headers[FETCH_ETAG], "first");
	assert_null(answer.headers[FETCH_LINK]);
	CHECK_INT(answer.content_length, 5);
	assert_false(answer.is_contradictory);
	assert_true(answer.has_range && answer.range_first == 5 && answer.range_total == 10);
	CHECK_INT(answer.challenges.count, 2);
	CHECK_STR(answer.challenges.items[1], "Bearer realm=\"b\"");
}

static void test_headers_that_contradict(void **state)
{
	static const char *const chunked[] = { "HTTP/1.1 200 OK", "Content-Length: 5",
					       "Transfer-Encoding: chunked" };
	static const char *const two[] = { "HTTP/1.1 200 OK", "Content-Length: 5",
					   "Content-Length: 6" };
	static const char *const bad[] = { "HTTP/1.1 200 OK", "Content-Length: 5, 5" };
	AUTO_ANSWER answer = ANSWER_INIT;

	(void)state;
	take_lines(&answer, chunked, ARRAY_LEN(chunked));
	assert_true(answer.content_length == FETCH_SIZE_UNKNOWN && !answer.is_contradictory);
	take_lines(&answer, two, ARRAY_LEN(two));
	assert_true(answer.is_contradictory);
	take_lines(&answer, bad, ARRAY_LEN(bad));
	assert_true(answer.is_contradictory);
	take_lines(&answer, bad, 1);
	assert_false(answer.is_contradictory);
}

static void test_header_limits(void **state)
{
	AUTO_BUF line = BUF_INIT;
	AUTO_ANSWER answer = ANSWER_INIT;

	(void)state;
	while (line.len < FETCH_HEADER_BYTES_MAX / 16)
		buf_add_byte(&line, 'a');
	for (int i = 0; i < 16; i++)
		assert_true(answer_take_line(&answer, buf_span(&line)));
	assert_false(answer_take_line(&answer, span_str("x")));
	/* A new status line forgets what was said, not how much. */
	assert_false(answer_take_line(&answer, span_str("HTTP/1.1 200 OK")));

	answer_done(&answer);
	for (int i = 0; i < ANSWER_CHALLENGES_MAX + 1; i++)
		assert_true(answer_take_line(&answer, span_str("WWW-Authenticate: Basic")));
	CHECK_INT(answer.challenges.count, ANSWER_CHALLENGES_MAX);
}

static void test_no_proxy(void **state)
{
	static const struct {
		const char *no_proxy, *host;
		bool is_excepted;
	} rows[] = {
		{ "", "a.example", false },
		{ " , ,", "a.example", false },
		{ "*", "a.example", true },
		{ "x *", "10.0.0.1", true },
		{ "a.example", "a.example", true },
		{ "A.Example", "a.example", true },
		{ "a.example", "a.example.", true },
		{ "a.example.", "a.example", true },
		{ "example", "a.example", true },
		{ ".example", "a.example", true },
		{ ".example", "example", true },
		{ "x,\texample\n", "a.example", true },
		{ "ample", "a.example", false },
		{ "b.a.example", "a.example", false },
		{ "*.example", "a.example", false }, /* no wild cards, as with curl */
		{ ".", "a.example", false },
		{ "a.example:443", "a.example", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.0/8", "10.255.0.1", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/9", "10.128.0.0", false },
		{ "10.0.0.0/33", "10.0.0.0", false },
		{ "10.0.0.0/", "10.0.0.0", false },
		{ "0.0.0.0/0", "[::1]", false },
		{ "0.0.0.1", "10.0.0.1", false }, /* not as names are */
		{ "1", "10.0.0.1", false },
		{ "::/0", "10.0.0.1", false },
		{ "fd00::/8", "[fd12::1]", true },
		{ "[fd12::1]", "[fd12::1]", true },
		{ "fd00::/129", "[fd00::]", false },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:1", "[::1]", false },
		{ "[", "[::1]", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i,
			  proxy_is_excepted(rows[i].no_proxy, rows[i].host) == rows[i].is_excepted);
}

static void test_proxies(void **state)
{
	static const char *const names[] = { "http_proxy",  "HTTP_PROXY", "https_proxy",
					     "HTTPS_PROXY", "all_proxy",  "ALL_PROXY",
					     "no_proxy",    "NO_PROXY" };
	static const struct {
		const char *set[3]; /* "NAME=VALUE" */
		const char *url;
		const char *proxy;
	} rows[] = {
		{ { NULL }, "https://a.example/", NULL },
		{ { "https_proxy=p" }, "https://a.example/", "p" },
		{ { "https_proxy=p" }, "http://a.example/", NULL },
		{ { "HTTPS_PROXY=p" }, "https://a.example/", "p" },
		{ { "https_proxy=p", "HTTPS_PROXY=q" }, "https://a.example/", "p" },
		{ { "https_proxy=", "HTTPS_PROXY=q" }, "https://a.example/", "q" },
		{ { "http_proxy=p" }, "http://a.example/", "p" },
		{ { "http_proxy=p" }, "https://a.example/", NULL },
		{ { "HTTP_PROXY=p" }, "http://a.example/", NULL },
		{ { "all_proxy=p" }, "http://a.example/", "p" },
		{ { "ALL_PROXY=p", "https_proxy=q" }, "https://a.example/", "q" },
		{ { "all_proxy=p" }, "https://localhost/", NULL },
		{ { "all_proxy=p" }, "https://127.0.0.9:5000/", NULL },
		{ { "all_proxy=p", "no_proxy=example" }, "https://a.example:5000/", NULL },
		{ { "all_proxy=p", "NO_PROXY=example" }, "https://a.example/", NULL },
		{ { "all_proxy=p", "no_proxy=b", "NO_PROXY=example" }, "https://a.example/", "p" },
		{ { "all_proxy=p", "no_proxy=10.0.0.0/8" }, "https://10.1.2.3/", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_URL url = URL_INIT;
		struct err err = ERR_INIT;

		for (size_t k = 0; k < ARRAY_LEN(names); k++)
			assert_int_equal(unsetenv(names[k]), 0);
		for (size_t k = 0; k < ARRAY_LEN(rows[i].set) && rows[i].set[k]; k++) {
			AUTO_FREE char *name = mem_strdup(rows[i].set[k]);
			char *equals = strchr(name, '=');

			*equals = '\0';
			assert_int_equal(setenv(name, equals + 1, 1), 0);
		}
		assert_int_equal(url_parse(rows[i].url, &url, &err), 0);
		CHECK_ROW(i, str_eq(proxy_of_url(&url), rows[i].proxy));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_who_may_lead_where),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_url_lengths),
		cmocka_unit_test(test_relative_urls),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_headers_that_contradict),
		cmocka_unit_test(test_header_limits),
		cmocka_unit_test(test_no_proxy),
		cmocka_unit_test(test_proxies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
