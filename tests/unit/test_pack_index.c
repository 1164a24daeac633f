/* Indexes of packs that go by, against those that `git index-pack` made of the same packs. */
#include "check.h"

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/hash.h"
#include "workspace/pack_index.h"

/* A commit, its trees and two files, by `git pack-objects --window=0`. */
static const char sha1_pack[] = "5041434b00000002000000059407789c2b294a4d5548324d36494ab53448314b"
				"3535b1484e32483435354b313130324b3335484b044a5a9825a6252771259696"
				"64e41729242ad8243a24d929181ac080823688e44acecfcdcd2c2949c5a384ab"
				"820b009a081edfa903789c33343030333151486438c768a6caccbde2f64ab6ef"
				"61d3eae7cd593cc5cdcbc400081452181674fa4ebd65f2f3f4e35b67b72d685f"
				"2b7f7755a517004e44185036789ccb48cdc9c9e70200084b021fad01789c3334"
				"303033315148623078b12c20d3fcd81fa90755cbeb3ff484aa68e9ce02009909"
				"0ba236789c2bc9482d4ae50200088402233e3dc8b2bde8e986e269d4533baf04"
				"d124b29084";

static const char sha256_pack[] = "5041434b00000002000000039c08789c7d8ab10a85300c00f77e457697a6daa6"
				  "8288bfd2a4093a88207de0e7fb1c5c3db89bae9daa9094cd8f418c6aca261644"
				  "9933612f15f56f3f9879898170240e46927cc58458879ca396e8caafadc70905"
				  "a6b2f00ce85fa07beae4d8f7ad35fd58dce56e1b98257fa902789c012900d6ff"
				  "3130303634342061002cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337"
				  "639025de576db9ebb470bf148336789ccb48cdc9c9e70200084b021ffe625651"
				  "405be7a96c97248d2f76df46cd2cc059bdef38952518b2ec38128d12";

/* What git made of them: sizes, and the checksums at their ends. */
static const struct {
	const char *pack;
	const char *name;
	const char *checksum;
	size_t size;
	bool is_sha256;
} rows[] = {
	{ sha1_pack, "3e3dc8b2bde8e986e269d4533baf04d124b29084",
	  "5e1aa70613170f92bb7895c9d1abe968327e64b6", 1212, false },
	{ sha256_pack, "fe625651405be7a96c97248d2f76df46cd2cc059bdef38952518b2ec38128d12",
	  "3de1338c4f5a76a711c7ec34e701b83b0d743ccbe97d91fe0efee87b24627bfb", 1216, true },
};

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void add_hex(struct buf *out, const char *hex)
{
	for (; *hex; hex += 2)
		buf_add_byte(out, (uint8_t)(digit(hex[0]) << 4 | digit(hex[1])));
}

/* The whole of it in pieces. */
static int index_of(bool is_sha256, struct span bytes, size_t piece, struct buf *ret,
		    char ret_name[static GIT_OID_HEX_MAX + 1])
{
	struct pack_index *index = NULL;
	struct err err = ERR_INIT;
	int r = pack_index_new(is_sha256, &index, &err);

	while (r == 0 && bytes.len > 0) {
		const size_t len = bytes.len < piece ? bytes.len : piece;

		r = pack_index_take(index, span_of(bytes.ptr, len), &err);
		bytes = span_skip(bytes, len);
	}
	if (r == 0)
		r = pack_index_finish(index, ret, ret_name, &err);
	if (r < 0)
		CHECK_INT(err.kind, ERR_PROTOCOL);
	pack_index_free(index);
	return r;
}

static void test_same_as_git(void **state)
{
	static const size_t pieces[] = { 1, 2, 7, 64, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF pack = BUF_INIT;

		add_hex(&pack, rows[i].pack);
		for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
			const size_t raw = rows[i].is_sha256 ? 32 : 20;
			char name[GIT_OID_HEX_MAX + 1];
			char checksum[GIT_OID_HEX_MAX + 1];
			AUTO_BUF got = BUF_INIT;

			CHECK_INT(
				index_of(rows[i].is_sha256, buf_span(&pack), pieces[k], &got, name),
				0);
			CHECK_STR(name, rows[i].name);
			CHECK_INT(got.len, rows[i].size);
			git_oid_hex(span_of(got.ptr + got.len - raw, raw), checksum);
			CHECK_STR(checksum, rows[i].checksum);
		}
	}
}

/* No byte of it can be another one, be missing or be too much. */
static void test_damaged(void **state)
{
	char name[GIT_OID_HEX_MAX + 1];
	AUTO_BUF pack = BUF_INIT;
	AUTO_BUF got = BUF_INIT;

	(void)state;
	add_hex(&pack, sha1_pack);
	for (size_t i = 0; i < pack.len; i++) {
		pack.ptr[i] ^= 0x10;
		CHECK_ROW(i, index_of(false, buf_span(&pack), pack.len, &got, name) < 0);
		pack.ptr[i] ^= 0x10;
		CHECK_ROW(i, index_of(false, span_of(pack.ptr, i), pack.len, &got, name) < 0);
	}
	buf_add_byte(&pack, 0);
	CHECK_INT(index_of(false, buf_span(&pack), pack.len, &got, name) < 0, true);
	CHECK_INT(got.len, 0);
}

/* Deltas are refused: their names would not be known. So is a size that no number holds. */
static void test_objects(void **state)
{
	static const char *const bad[] = {
		"5041434b000000020000000161",
		"5041434b000000020000000171",
		"5041434b000000020000000101",
		"5041434b000000020000000151",
		"5041434b0000000200000001bfffffffffffffffffffff7f",
		"5041434b0000000300000001",
		"5041434c0000000200000001",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct pack_index *index = NULL;
		struct err err = ERR_INIT;
		AUTO_BUF pack = BUF_INIT;

		add_hex(&pack, bad[i]);
		CHECK_INT(pack_index_new(false, &index, &err), 0);
		CHECK_ROW(i, pack_index_take(index, buf_span(&pack), &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		pack_index_free(index);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_git),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
