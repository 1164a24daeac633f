#include "cli/log_text.h"

#include <stdint.h>

#include "base/text.h"

#define ESC 0x1b

/* The length of a colour sequence at the front, 0 when it is none, SIZE_MAX when it is unfinished.
 */
static size_t colour_length(struct span in)
{
	if (in.len < 2)
		return SIZE_MAX;
	if (in.ptr[1] != '[')
		return 0;
	for (size_t i = 2; i < in.len && i < LOG_TEXT_PENDING_MAX; i++) {
		const uint8_t byte = in.ptr[i];

		if (byte == 'm')
			return i + 1;
		if ((byte < '0' || byte > '9') && byte != ';')
			return 0;
	}
	return in.len < LOG_TEXT_PENDING_MAX ? SIZE_MAX : 0;
}

/* Bytes at the end that may be the beginning of a longer UTF-8 sequence. */
static size_t unfinished_utf8(struct span in)
{
	for (size_t back = 1; back <= 3 && back <= in.len; back++) {
		const uint8_t byte = in.ptr[in.len - back];

		if ((byte & 0xc0) == 0x80)
			continue;
		if ((byte >= 0xf0 && back < 4) || (byte >= 0xe0 && back < 3) ||
		    (byte >= 0xc0 && back < 2))
			return back;
		return 0;
	}
	return 0;
}

/* Up to the next byte that is looked at by itself. */
static size_t plain_length(struct span in)
{
	size_t len = 0;

	while (len < in.len && in.ptr[len] != '\n' && in.ptr[len] != '\t' && in.ptr[len] != '\r' &&
	       in.ptr[len] != ESC)
		len++;
	return len;
}

static void escape(struct span in, struct buf *out)
{
	if (in.len > 0)
		text_escape(out, in, SIZE_MAX);
}

/* Takes the special byte at the front and what belongs to it; 0 when more must come first. */
static size_t take_special(struct span in, bool is_end, struct buf *out)
{
	if (in.ptr[0] == '\n' || in.ptr[0] == '\t') {
		buf_add_byte(out, in.ptr[0]);
		return 1;
	}
	if (in.ptr[0] == '\r') {
		if (in.len < 2 && !is_end)
			return 0;
		if (in.len < 2 || in.ptr[1] != '\n')
			escape(span_of(in.ptr, 1), out);
		return 1;
	}
	const size_t len = colour_length(in);

	if (len == SIZE_MAX && !is_end)
		return 0;
	if (len == 0 || len == SIZE_MAX) {
		escape(span_of(in.ptr, 1), out);
		return 1;
	}
	return len;
}

size_t log_text_escape(struct span in, bool is_end, struct buf *out)
{
	const size_t total = in.len;

	while (in.len > 0) {
		size_t len = plain_length(in);

		if (len == 0) {
			len = take_special(in, is_end, out);
			if (len == 0)
				break;
		} else if (len == in.len && !is_end) {
			len -= unfinished_utf8(in);
			escape(span_of(in.ptr, len), out);
			in = span_skip(in, len);
			break;
		} else {
			escape(span_of(in.ptr, len), out);
		}
		in = span_skip(in, len);
	}
	return total - in.len;
}
