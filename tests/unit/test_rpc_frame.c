/* JSON-RPC frames: what is taken, what is refused and how, and that both directions agree. */
#include "check.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "rpc/frame.h"

static const struct {
	const char *frame;
	int code; /* 0: accepted */
	enum err_kind kind;
	const char *id;	     /* that an answer carries, as JSON */
	const char *message; /* a part of it */
} rows[] = {
	/* what is taken */
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", 0, ERR_NONE, "1", "" },
	{ " {\"method\":\"a\", \"params\":{}, \"id\":\"x\",\"jsonrpc\":\"2.0\"}\r", 0, ERR_NONE,
	  "\"x\"", "" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"method\":\"a\"}", 0, ERR_NONE,
	  "9007199254740993", "" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":9223372036854775807,\"method\":\"a\"}", 0, ERR_NONE,
	  "9223372036854775807", "" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":-9223372036854775808,\"method\":\"a\"}", 0, ERR_NONE,
	  "-9223372036854775808", "" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"\",\"method\":\"a\"}", 0, ERR_NONE, "\"\"", "" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"\\\"\xc3\xa9\\n\",\"method\":\"a\"}", 0, ERR_NONE,
	  "\"\\\"\xc3\xa9\\n\"", "" },

	/* ids */
	{ "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1.0,\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1e3,\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":9223372036854775808,\"method\":\"a\"}", -32700, ERR_PROTOCOL,
	  NULL, "integer" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1e9999,\"method\":\"a\"}", -32700, ERR_PROTOCOL, NULL,
	  "real" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"a\"}", -32600, ERR_INVALID, NULL, "'id'" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.delete\"}", -32600, ERR_INVALID, NULL,
	  "notifications are not accepted" },

	/* envelopes */
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}", -32600, ERR_INVALID, "4", "'method'" },
	{ "{\"jsonrpc\":\"2.0\",\"result\":{}}", -32600, ERR_INVALID, NULL, "a reply" },
	{ "{\"jsonrpc\":\"2.0\",\"error\":{}}", -32600, ERR_INVALID, NULL, "a reply" },
	{ "{\"jsonrpc\":\"1.0\",\"id\":4,\"method\":\"a\"}", -32600, ERR_INVALID, "4",
	  "'jsonrpc'" },
	{ "{\"jsonrpc\":2.0,\"id\":4,\"method\":\"a\"}", -32600, ERR_INVALID, "4", "'jsonrpc'" },
	{ "{\"id\":4,\"method\":\"a\"}", -32600, ERR_INVALID, "4", "'jsonrpc'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4}", -32600, ERR_INVALID, "4", "'method'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"\"}", -32600, ERR_INVALID, "4", "'method'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":7}", -32600, ERR_INVALID, "4", "'method'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"a\",\"x\":1}", -32600, ERR_INVALID, "4",
	  "unknown member 'x'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"a\",\"params\":[]}", -32602, ERR_INVALID, "4",
	  "'params'" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"a\",\"params\":null}", -32602, ERR_INVALID,
	  "4", "'params'" },
	{ "[]", -32600, ERR_INVALID, NULL, "batches" },
	{ " \t[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}]", -32600, ERR_INVALID, NULL,
	  "batches" },
	{ "[[[[[[", -32600, ERR_INVALID, NULL, "batches" },
	{ "\"text\"", -32600, ERR_INVALID, NULL, "an object" },
	{ "17", -32600, ERR_INVALID, NULL, "an object" },
	{ "null", -32600, ERR_INVALID, NULL, "an object" },

	/* what is no JSON */
	{ "", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ " ", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{}}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":1,}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{'id':1}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":01}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":+1}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":0x1}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":.5}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":5.}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":NaN}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":-Infinity}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":tru}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"a\tb\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\\x41\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\\u00zz\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\\u0000\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\\ud800\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\\udc00\\ud800\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\xff\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\xc0\xaf\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\xed\xa0\x80\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":\"\xf4\xbf\xbf\xbf\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "\xef\xbb\xbf{}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":1,\"id\":2}", -32700, ERR_PROTOCOL, NULL, "duplicate" },
	{ "{\"id\":1,\"\\u0069d\":2}", -32700, ERR_PROTOCOL, NULL, "duplicate" },
	{ "{\"id\":1} // why", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"id\":1}{\"id\":2}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{1:1}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"a\" \"b\"}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"a\":}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "{\"a\":\"b}", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "*", -32700, ERR_PROTOCOL, NULL, "JSON" },
	{ "\\", -32700, ERR_PROTOCOL, NULL, "JSON" },
};

static char *id_text(const struct rpc_request *request)
{
	AUTO_BUF text = BUF_INIT;

	if (!request->id)
		return NULL;
	json_write(request->id, &text);
	return buf_detach(&text);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
		struct err err = ERR_INIT;
		int code = 7;
		const int r = rpc_request_parse(span_str(rows[i].frame), &request, &code, &err);
		AUTO_FREE char *id = id_text(&request);

		CHECK_ROW(i, (r == 0) == (rows[i].code == 0));
		CHECK_ROW(i, code == rows[i].code);
		CHECK_ROW(i, err.kind == rows[i].kind);
		CHECK_ROW(i, str_eq(id, rows[i].id));
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, (r == 0) == (request.method && request.params));
	}
}

static void test_bytes_that_are_no_text(void **state)
{
	static const uint8_t nul_in_the_middle[] = "{\"id\":1,\0\"method\":\"a\"}";
	CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
	struct err err = ERR_INIT;
	int code = 0;

	(void)state;
	CHECK_INT(rpc_request_parse(span_of(nul_in_the_middle, sizeof(nul_in_the_middle) - 1),
				    &request, &code, &err) < 0,
		  1);
	CHECK_INT(code, RPC_CODE_PARSE);
}

/* Parses a request whose params are made by repeating; the code that comes of it. */
static int code_of_repeated(const char *before, const char *repeated, size_t count,
			    const char *after)
{
	CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
	AUTO_BUF frame = BUF_INIT;
	struct err err = ERR_INIT;
	int code = 7, r;

	buf_add_str(&frame, before);
	for (size_t i = 0; i < count; i++)
		buf_add_str(&frame, repeated);
	buf_add_str(&frame, after);
	r = rpc_request_parse(buf_span(&frame), &request, &code, &err);
	CHECK_INT(r < 0, code != 0);
	return code;
}

#define HEAD "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{\"x\":"

static void test_limits(void **state)
{
	/* HEAD begins with 6 values: the object and its members, and the params' own. */
	static const char *const id_head = "{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":\"";
	static const char *const method_head = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"";
	const size_t blanks = LIMIT_RPC_FRAME_BYTES - strlen("{\"jsonrpc\":\"2.0\",\"id\":1,"
							     "\"method\":\"a\"}");

	(void)state;
	CHECK_INT(code_of_repeated(HEAD "[0", ",0", RPC_VALUES_MAX - 7, "]}}"), 0);
	CHECK_INT(code_of_repeated(HEAD "[0", ",0", RPC_VALUES_MAX - 6, "]}}"), -32600);
	/* Commas in strings are no values. */
	CHECK_INT(code_of_repeated(HEAD "\"\\\"", ",[{", RPC_VALUES_MAX, "\"}}"), 0);

	CHECK_INT(code_of_repeated(id_head, "i", RPC_ID_BYTES_MAX, "\"}"), 0);
	CHECK_INT(code_of_repeated(id_head, "i", RPC_ID_BYTES_MAX + 1, "\"}"), -32600);
	CHECK_INT(code_of_repeated(method_head, "m", RPC_METHOD_BYTES_MAX, "\"}"), 0);
	CHECK_INT(code_of_repeated(method_head, "m", RPC_METHOD_BYTES_MAX + 1, "\"}"), -32600);

	CHECK_INT(code_of_repeated("{\"jsonrpc\":\"2.0\",\"id\":1,", " ", blanks,
				   "\"method\":\"a\"}"),
		  0);
	CHECK_INT(code_of_repeated("{\"jsonrpc\":\"2.0\",\"id\":1,", " ", blanks + 1,
				   "\"method\":\"a\"}"),
		  -32600);
	/* A batch of half a million is refused before it costs anything. */
	CHECK_INT(code_of_repeated("[0", ",0", 500000, "]"), -32600);
}

static int code_of_depth(size_t depth)
{
	AUTO_BUF closing = BUF_INIT;

	for (size_t i = 0; i < depth; i++)
		buf_add_byte(&closing, ']');
	buf_add_str(&closing, "}}");
	return code_of_repeated(HEAD, "[", depth, closing.ptr);
}

static void test_depth(void **state)
{
	(void)state;
	/* Two objects are around it. */
	CHECK_INT(code_of_depth(JSON_DEPTH_MAX - 2), 0);
	CHECK_INT(code_of_depth(JSON_DEPTH_MAX - 1), RPC_CODE_PARSE);
	CHECK_INT(code_of_repeated("{\"a\":", "[", 16000, ""), RPC_CODE_PARSE);
	CHECK_INT(code_of_repeated("", "{\"a\":", 16000, ""), RPC_CODE_PARSE);
	/* 100 000 deep is over the count of values already. */
	CHECK_INT(code_of_repeated("{\"a\":", "[", 100000, ""), RPC_CODE_INVALID_REQUEST);
}

static void test_request_comes_back(void **state)
{
	CLEANUP(rpc_request_done) struct rpc_request request = RPC_REQUEST_INIT;
	AUTO_JSON *id = json_integer(-5);
	AUTO_JSON *params = json_new_object();
	AUTO_BUF line = BUF_INIT;
	struct err err = ERR_INIT;
	int code;

	(void)state;
	json_put_str(params, "vm", "a\nb");
	rpc_request_write(id, "vm.show", params, &line);
	CHECK_STR(line.ptr, "{\"jsonrpc\":\"2.0\",\"id\":-5,\"method\":\"vm.show\",\"params\":"
			    "{\"vm\":\"a\\nb\"}}\n");
	CHECK_INT(rpc_request_parse(buf_span(&line), &request, &code, &err), 0);
	CHECK_STR(request.method, "vm.show");
	assert_true(json_equal(request.id, id));
	assert_true(json_equal(request.params, params));
}

static void test_reply_and_progress(void **state)
{
	const struct progress_event event = { "boot", NULL, 3, 7 };
	AUTO_JSON *id = json_string("k");
	AUTO_JSON *result = json_new_object();
	AUTO_BUF line = BUF_INIT;

	(void)state;
	rpc_reply_write(id, result, &line);
	CHECK_STR(line.ptr, "{\"jsonrpc\":\"2.0\",\"id\":\"k\",\"result\":{}}\n");
	buf_clear(&line);
	rpc_reply_write_text(id, span_str("{\"a\":[]}"), &line);
	CHECK_STR(line.ptr, "{\"jsonrpc\":\"2.0\",\"id\":\"k\",\"result\":{\"a\":[]}}\n");
	buf_clear(&line);
	rpc_reply_write_text(NULL, span_str("{}"), &line);
	CHECK_STR(line.ptr, "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}\n");
	buf_clear(&line);
	rpc_progress_write(id, &event, 12, &line);
	CHECK_STR(
		line.ptr,
		"{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"id\":\"k\","
		"\"stage\":\"boot\",\"detail\":null,\"done\":3,\"total\":7,\"elapsed_ms\":12}}\n");
}

/* Every kind of error arrives as it was sent. */
static void test_errors_come_back(void **state)
{
	(void)state;
	for (enum err_kind kind = ERR_SYSTEM; kind < ERR_KIND_COUNT; kind++) {
		struct err sent = ERR_INIT, got = ERR_INIT;
		AUTO_BUF line = BUF_INIT;
		AUTO_JSON *frame = NULL;
		struct err ignored = ERR_INIT;
		int r;

		if (kind == ERR_SYSTEM)
			r = err_sys(&sent, -ENOSPC, "write '%s'", "/x\x1b[2J");
		else
			r = err_set(&sent, kind, "what '%s' failed", "a\nb");
		err_hint(&sent, "do %d", 3);
		rpc_error_write(NULL, rpc_code_of(&sent), &sent, &line);
		CHECK_INT(json_read(buf_span(&line), &frame, &ignored), 0);
		CHECK_INT(rpc_error_read(json_object_get(frame, "error"), &got), r);
		CHECK_INT(got.kind, sent.kind);
		CHECK_INT(got.errnum, sent.errnum);
		CHECK_STR(got.message, sent.message);
		CHECK_STR(got.hint, sent.hint);
	}
}

static void test_codes(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	(void)err_set(&err, ERR_INVALID, "x");
	CHECK_INT(rpc_code_of(&err), -32602);
	(void)err_set(&err, ERR_BUSY, "x");
	CHECK_INT(rpc_code_of(&err), -32000 - ERR_BUSY);
	(void)err_sys(&err, -EIO, "x");
	CHECK_INT(rpc_code_of(&err), -32000 - ERR_SYSTEM);
}

/* Answers of other programs, or of a broken daemon. */
static void test_foreign_errors(void **state)
{
	static const struct {
		const char *json;
		enum err_kind kind;
		const char *message;
	} table[] = {
		{ "{\"code\":-32601,\"message\":\"no\"}", ERR_UNSUPPORTED, "no" },
		{ "{\"code\":-32602,\"message\":\"no\"}", ERR_INVALID, "no" },
		{ "{\"code\":-32700,\"message\":\"no\"}", ERR_PROTOCOL, "no" },
		{ "{\"code\":-32006,\"message\":\"no\"}", ERR_BUSY, "no" },
		{ "{\"code\":-31999}", ERR_PROTOCOL, "no reason" },
		{ "{\"code\":9223372036854775807}", ERR_PROTOCOL, "no reason" },
		{ "{\"code\":-9223372036854775808}", ERR_PROTOCOL, "no reason" },
		{ "{}", ERR_PROTOCOL, "no reason" },
		{ "{\"message\":\"a\\u001b[31m\",\"data\":{\"kind\":\"busy\",\"errno\":-4}}",
		  ERR_BUSY, "\\x1b" },
		{ "{\"message\":\"m\",\"data\":{\"kind\":\"none\",\"errno\":99999999999}}",
		  ERR_PROTOCOL, "m" },
		{ "{\"message\":\"m\",\"data\":{\"kind\":\"of the future\"}}", ERR_SYSTEM, "m" },
		{ "{\"message\":\"m\",\"data\":[]}", ERR_PROTOCOL, "m" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		AUTO_JSON *error = NULL;
		struct err err = ERR_INIT;

		CHECK_INT(json_read(span_str(table[i].json), &error, &err), 0);
		CHECK_ROW(i, rpc_error_read(error, &err) < 0);
		CHECK_ROW(i, err.kind == table[i].kind);
		CHECK_HAS(err.message, table[i].message);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_request_comes_back),
		cmocka_unit_test(test_reply_and_progress),
		cmocka_unit_test(test_errors_come_back),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_foreign_errors),
	};

	return cmocka_run_group_tests_name("rpc_frame", tests, NULL, NULL);
}
