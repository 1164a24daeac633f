#include "cli/wrap.h"

#include <stdbool.h>
#include <string.h>

#include "cli/width.h"

void wrap_pad(struct buf *out, size_t used, size_t column)
{
	while (used++ < column)
		buf_add_byte(out, ' ');
}

void wrap_text(struct buf *out, const char *text, size_t column, size_t width)
{
	size_t at = column;
	bool is_first = true;

	while (*text) {
		const size_t len = strcspn(text, " \n");
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
