#include "base/parse.h"

#include "base/text.h"

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

bool parse_u64(struct span *cursor, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	size_t n = 0;

	while (n < cursor->len && is_digit(cursor->ptr[n])) {
		if (n == 1 && cursor->ptr[0] == '0')
			return false;
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(cursor->ptr[n] - '0'), &value))
			return false;
		n++;
	}
	if (n == 0 || value > max)
		return false;
	*cursor = span_skip(*cursor, n);
	*ret = value;
	return true;
}

bool parse_byte(struct span *cursor, char byte)
{
	if (cursor->len == 0 || cursor->ptr[0] != (uint8_t)byte)
		return false;
	*cursor = span_skip(*cursor, 1);
	return true;
}

bool parse_literal(struct span *cursor, const char *text)
{
	const struct span want = span_str(text);

	if (cursor->len < want.len || !span_eq(span_of(cursor->ptr, want.len), want))
		return false;
	*cursor = span_skip(*cursor, want.len);
	return true;
}

bool parse_until(struct span *cursor, char separator, struct span *ret)
{
	const uint8_t *at =
		cursor->len ? memchr(cursor->ptr, (uint8_t)separator, cursor->len) : NULL;

	if (!at)
		return false;
	*ret = span_of(cursor->ptr, (size_t)(at - cursor->ptr));
	*cursor = span_skip(*cursor, ret->len + 1);
	return true;
}

bool parse_u64_text(const char *text, uint64_t max, uint64_t *ret)
{
	struct span cursor = span_str(text);
	uint64_t value;

	if (!parse_u64(&cursor, max, &value) || !parse_end(&cursor))
		return false;
	*ret = value;
	return true;
}

bool parse_i64_text(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	struct span cursor = span_str(text);
	const bool is_negative = parse_byte(&cursor, '-');
	const uint64_t magnitude_max = (uint64_t)INT64_MAX + (is_negative ? 1U : 0U);
	uint64_t magnitude;
	int64_t value;

	if (!parse_u64(&cursor, magnitude_max, &magnitude) || !parse_end(&cursor))
		return false;
	if (is_negative && magnitude == 0)
		return false;
	value = is_negative ? (int64_t)(~magnitude + 1U) : (int64_t)magnitude;
	if (value < min || value > max)
		return false;
	*ret = value;
	return true;
}

/* K, M, G, T with "", "B" or "iB"; B alone; nothing gives the default. */
static bool parse_unit(struct span *cursor, uint64_t default_unit, uint64_t *ret)
{
	static const char letters[] = "KMGT";

	for (unsigned int i = 0; letters[i]; i++) {
		if (parse_byte(cursor, letters[i]) ||
		    parse_byte(cursor, (char)(letters[i] + ('a' - 'A')))) {
			*ret = 1ULL << (10U * (i + 1U));
			return parse_literal(cursor, "iB") || parse_byte(cursor, 'B') || true;
		}
	}
	*ret = parse_byte(cursor, 'B') ? 1 : default_unit;
	return true;
}

/* ".5" of a unit: at most nine digits, and it must come out whole. */
static bool parse_fraction(struct span *cursor, uint64_t *ret_numerator, uint64_t *ret_denominator)
{
	uint64_t numerator = 0, denominator = 1;
	size_t n = 0;

	while (n < cursor->len && n < 9 && is_digit(cursor->ptr[n])) {
		numerator = numerator * 10 + (uint64_t)(cursor->ptr[n] - '0');
		denominator *= 10;
		n++;
	}
	if (n == 0)
		return false;
	*cursor = span_skip(*cursor, n);
	*ret_numerator = numerator;
	*ret_denominator = denominator;
	return true;
}

bool parse_size_text(const char *text, uint64_t default_unit, uint64_t *ret)
{
	struct span cursor = span_str(text);
	uint64_t whole, unit, part = 0, numerator = 0, denominator = 1, value;

	if (!parse_u64(&cursor, UINT64_MAX, &whole))
		return false;
	if (parse_byte(&cursor, '.') && !parse_fraction(&cursor, &numerator, &denominator))
		return false;
	if (!parse_unit(&cursor, default_unit, &unit) || !parse_end(&cursor))
		return false;
	if (__builtin_mul_overflow(numerator, unit, &part) || part % denominator != 0)
		return false;
	if (__builtin_mul_overflow(whole, unit, &value) ||
	    __builtin_add_overflow(value, part / denominator, &value))
		return false;
	*ret = value;
	return true;
}

bool parse_duration_text(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	struct span cursor = span_str(text);
	uint64_t total = 0;

	if (str_eq(text, "0")) {
		*ret_ms = 0;
		return true;
	}
	do {
		uint64_t count, part;
		size_t i = 0;

		if (!parse_u64(&cursor, UINT64_MAX, &count))
			return false;
		while (i < ARRAY_LEN(units) && !parse_literal(&cursor, units[i].name))
			i++;
		if (i == ARRAY_LEN(units) || __builtin_mul_overflow(count, units[i].ms, &part) ||
		    __builtin_add_overflow(total, part, &total))
			return false;
	} while (!parse_end(&cursor));
	*ret_ms = total;
	return true;
}
