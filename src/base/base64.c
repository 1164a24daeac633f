#include "base/base64.h"

static int digit_value(uint8_t digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	if (digit == '+')
		return 62;
	return digit == '/' ? 63 : -1;
}

/* Four digits; the last one or two may be '=', which `ret_bytes` tells. False for anything else. */
static bool group_decode(const uint8_t group[static 4], uint32_t *ret, size_t *ret_bytes)
{
	const size_t digits = group[3] != '=' ? 4 : group[2] != '=' ? 3 : 2;
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		const int value = i < digits ? digit_value(group[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
	}
	/* Bits that no byte takes must be 0: each run of bytes has one text. */
	if ((digits == 2 && (bits & 0xffff) != 0) || (digits == 3 && (bits & 0xff) != 0))
		return false;
	*ret = bits;
	*ret_bytes = digits - 1;
	return true;
}

bool base64_decode(struct span text, struct buf *out)
{
	const size_t before = out->len;

	if (text.len % 4 != 0)
		return false;
	for (; text.len > 0; text = span_skip(text, 4)) {
		uint32_t bits;
		size_t bytes;

		if (!group_decode(text.ptr, &bits, &bytes) || (bytes < 3 && text.len > 4)) {
			buf_truncate(out, before);
			return false;
		}
		for (size_t i = 0; i < bytes; i++)
			buf_add_byte(out, (uint8_t)(bits >> (16 - 8 * i)));
	}
	return true;
}

void base64_encode(struct buf *out, struct span bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (; bytes.len > 0; bytes = span_skip(bytes, 3)) {
		uint32_t bits = (uint32_t)bytes.ptr[0] << 16;

		if (bytes.len > 1)
			bits |= (uint32_t)bytes.ptr[1] << 8;
		if (bytes.len > 2)
			bits |= bytes.ptr[2];
		buf_add_byte(out, (uint8_t)digits[bits >> 18]);
		buf_add_byte(out, (uint8_t)digits[bits >> 12 & 63]);
		buf_add_byte(out, bytes.len > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=');
		buf_add_byte(out, bytes.len > 2 ? (uint8_t)digits[bits & 63] : '=');
	}
}
