#include "cli/wrap.h"

#include <stdbool.h>
#include <string.h>

#include "cli/width.h"

#define WRAP_INDENT 2

void wrap_pad(struct buf *out, size_t used, size_t column)
{
	while (used++ < column)
		buf_add_byte(out, ' ');
}

/* What no line ends in: a word, or all that is quoted, for that is copied; unless it is too long.
 */
static size_t piece_len(const char *text, size_t columns)
{
	const size_t word = strcspn(text, " \n");
	const char *end = text;
	size_t len;

	if (*text != '\'')
		return word;
	do
		end = strchr(end + 1, '\'');
	while (end && !strchr(" \n.,;:)?", end[1])); /* '\0' is found, too */
	if (!end)
		return word;
	len = (size_t)(end - text);
	len += strcspn(end, " \n");
	if (memchr(text, '\n', len) || width_of_text(text) - width_of_text(text + len) > columns)
		return word;
	return len;
}

/* Words from column `at` on, in lines that begin at `column`. */
static void wrap_from(struct buf *out, const char *text, size_t at, size_t column, size_t width)
{
	bool is_first = true;

	while (*text) {
		const size_t len = piece_len(text, width > column ? width - column : 0);
		const size_t word = width_of_text(text) - width_of_text(text + len);

		if (!is_first && width > 0 && at + 1 + word > width) {
			buf_add_byte(out, '\n');
			wrap_pad(out, 0, column);
			at = column;
			is_first = true;
		}
		if (!is_first) {
			buf_add_byte(out, ' ');
			at++;
		}
		buf_add(out, span_of(text, len));
		at += word;
		is_first = false;
		text += len;
		if (*text == '\n') {
			buf_add_byte(out, '\n');
			wrap_pad(out, 0, text[1] ? column : 0);
			at = column;
			is_first = true;
		}
		if (*text)
			text++;
	}
	buf_add_byte(out, '\n');
}

void wrap_text(struct buf *out, const char *text, size_t column, size_t width)
{
	wrap_from(out, text, column, column, width);
}

void wrap_hanging(struct buf *out, const char *text, size_t used, size_t width)
{
	wrap_from(out, text, used, WRAP_INDENT, width);
}
