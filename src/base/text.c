#include "base/text.h"

#include <string.h>

bool str_eq(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	const size_t len = strlen(text), suffix_len = strlen(suffix);

	return len >= suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

size_t text_decode(struct span bytes, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t first = bytes.len ? bytes.ptr[0] : 0xFF;
	uint32_t value;
	size_t len;

	if (first < 0x80) {
		*ret = first;
		return 1;
	}
	if ((first & 0xE0) == 0xC0)
		len = 2;
	else if ((first & 0xF0) == 0xE0)
		len = 3;
	else if ((first & 0xF8) == 0xF0)
		len = 4;
	else
		return 0;
	if (bytes.len < len)
		return 0;
	value = (uint32_t)(first & (0x7FU >> len));
	for (size_t i = 1; i < len; i++) {
		if ((bytes.ptr[i] & 0xC0) != 0x80)
			return 0;
		value = value << 6 | (bytes.ptr[i] & 0x3FU);
	}
	if (value < least[len] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		return 0;
	*ret = value;
	return len;
}

size_t text_cut(struct span bytes)
{
	const size_t longest = bytes.len < 3 ? bytes.len : 3;

	for (size_t back = 1; back <= longest; back++) {
		const uint8_t byte = bytes.ptr[bytes.len - back];

		if ((byte & 0xC0) == 0x80)
			continue;
		return byte >= 0xC2 && byte <= 0xF4 &&
				       back < (byte < 0xE0   ? 2U
					       : byte < 0xF0 ? 3U
							     : 4U)
			       ? back
			       : 0;
	}
	return 0;
}

bool text_is_utf8(struct span bytes)
{
	while (bytes.len > 0) {
		uint32_t value;
		const size_t len = text_decode(bytes, &value);

		if (len == 0)
			return false;
		bytes = span_skip(bytes, len);
	}
	return true;
}

/* Whether a terminal may do something else than show this character, or show nothing for it. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x00AD || c == 0x061C || c == 0x180E ||
	       (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
	       (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
	       (c >= 0xE0000 && c <= 0xE007F);
}

/* How many bytes at the beginning are printable ASCII, which nearly everything is. */
static size_t plain_len(struct span bytes)
{
	size_t len = 0;

	while (len < bytes.len && bytes.ptr[len] >= ' ' && bytes.ptr[len] < 0x7f)
		len++;
	return len;
}

void text_escape(struct buf *out, struct span bytes, size_t max)
{
	const bool is_cut = bytes.len > max;

	if (is_cut)
		bytes.len = max;
	while (bytes.len > 0) {
		const size_t plain = plain_len(bytes);
		uint32_t c;
		size_t len;

		buf_add(out, span_of(bytes.ptr, plain));
		bytes = span_skip(bytes, plain);
		if (bytes.len == 0)
			break;
		len = text_decode(bytes, &c);
		if (len == 0)
			buf_addf(out, "\\x%02x", bytes.ptr[0]);
		else if (is_unsafe(c) && c < 0x80)
			buf_addf(out, "\\x%02x", c);
		else if (is_unsafe(c))
			buf_addf(out, "\\u{%04x}", c);
		else
			buf_add(out, span_of(bytes.ptr, len));
		bytes = span_skip(bytes, len ? len : 1);
	}
	if (is_cut)
		buf_add_str(out, "...");
}

void text_hex(struct buf *out, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		buf_addf(out, "%02x", bytes.ptr[i]);
}

#define DISTANCE_LEN_MAX 64

static size_t min3(size_t a, size_t b, size_t c)
{
	const size_t least = a < b ? a : b;

	return least < c ? least : c;
}

size_t text_distance(const char *a, const char *b)
{
	const size_t a_len = strlen(a), b_len = strlen(b);
	size_t rows[3][DISTANCE_LEN_MAX + 1]; /* of the character at hand and the two before */
	size_t *row = rows[0];

	if (a_len > DISTANCE_LEN_MAX || b_len > DISTANCE_LEN_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		const size_t *above = row;
		const size_t *above_that = rows[(i + 1) % 3];

		row = rows[i % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1,
				      above[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    above_that[j - 2] + 1 < row[j])
				row[j] = above_that[j - 2] + 1;
		}
	}
	return row[b_len];
}

const char *text_nearest(const char *name, const char *const *candidates, size_t count)
{
	/* A mistake in every three letters; more, and it is another word. */
	const size_t near = (strlen(name) + 2) / 3;
	const char *best = NULL;
	size_t best_distance = near + 1;

	for (size_t i = 0; i < count; i++) {
		const size_t distance = text_distance(name, candidates[i]);

		if (distance < best_distance) {
			best = candidates[i];
			best_distance = distance;
		}
	}
	return best;
}

void text_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t unit = 1;
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(units) && bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	if (bytes % unit == 0 || bytes / unit >= 100)
		buf_addf(out, "%llu %s", (unsigned long long)(bytes / unit), units[i]);
	else
		buf_addf(out, "%llu.%llu %s", (unsigned long long)(bytes / unit),
			 (unsigned long long)(bytes % unit * 10 / unit), units[i]);
}

void text_duration(struct buf *out, uint64_t ms)
{
	const unsigned long long seconds = ms / 1000;

	if (ms < 1000)
		buf_addf(out, "%llu ms", (unsigned long long)ms);
	else if (seconds < 60)
		buf_addf(out, "%llu.%llu s", seconds, (unsigned long long)(ms % 1000 / 100));
	else if (seconds < 3600)
		buf_addf(out, "%llu min %llu s", seconds / 60, seconds % 60);
	else
		buf_addf(out, "%llu h %llu min", seconds / 3600, seconds % 3600 / 60);
}
