#include "agent/hosts.h"

#include <stdbool.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

#define KEYS_BEGIN "# banger: keys below are replaced at every start"
#define KEYS_END   "# banger: end"

static struct span line_next(struct span *cursor)
{
	const uint8_t *newline = memchr(cursor->ptr, '\n', cursor->len);
	const size_t len = newline ? (size_t)(newline - cursor->ptr) : cursor->len;
	const struct span line = span_of(cursor->ptr, len);

	*cursor = span_skip(*cursor, newline ? len + 1 : len);
	return line;
}

static void line_add(struct buf *out, struct span line)
{
	buf_add(out, line);
	buf_add_byte(out, '\n');
}

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The next blank-separated word before any comment; an empty span at the end. */
static struct span word_next(struct span *cursor)
{
	size_t len = 0;

	while (cursor->len > 0 && is_blank(cursor->ptr[0]))
		*cursor = span_skip(*cursor, 1);
	while (len < cursor->len && !is_blank(cursor->ptr[len]) && cursor->ptr[len] != '#')
		len++;

	const struct span word = span_of(cursor->ptr, len);

	*cursor = span_skip(*cursor, len);
	return word;
}

static bool line_names(struct span line, struct span name)
{
	struct span word;

	(void)word_next(&line); /* the address */
	while ((word = word_next(&line)).len > 0) {
		if (span_eq(word, name))
			return true;
	}
	return false;
}

void hosts_edit(struct span existing, const char *hostname, struct buf *out)
{
	bool has_localhost4 = false;
	bool has_localhost6 = false;
	bool has_name = false;

	while (existing.len > 0) {
		const struct span line = line_next(&existing);
		struct span cursor = line;
		const struct span address = word_next(&cursor);

		if (span_eq(address, span_str("127.0.1.1"))) {
			if (!has_name)
				buf_addf(out, "127.0.1.1\t%s\n", hostname);
			has_name = true;
			continue;
		}
		if (span_eq(address, span_str("127.0.0.1")) &&
		    line_names(line, span_str("localhost")))
			has_localhost4 = true;
		if (span_eq(address, span_str("::1")))
			has_localhost6 = true;
		line_add(out, line);
	}
	if (!has_localhost4)
		buf_add_str(out, "127.0.0.1\tlocalhost\n");
	if (!has_localhost6)
		buf_add_str(out, "::1\tlocalhost ip6-localhost ip6-loopback\n");
	if (!has_name)
		buf_addf(out, "127.0.1.1\t%s\n", hostname);
}

/* Whether the end mark comes later: without it, cutting would take the guest's own keys with ours.
 */
static bool block_ends(struct span rest)
{
	while (rest.len > 0) {
		if (span_eq(line_next(&rest), span_str(KEYS_END)))
			return true;
	}
	return false;
}

void authorized_keys_edit(struct span existing, const struct strv *keys, struct buf *out)
{
	bool is_ours = false;

	while (existing.len > 0) {
		const struct span line = line_next(&existing);

		if (span_eq(line, span_str(KEYS_BEGIN)))
			is_ours = block_ends(existing);
		else if (span_eq(line, span_str(KEYS_END)))
			is_ours = false;
		else if (!is_ours)
			line_add(out, line);
	}
	if (keys->count == 0)
		return;

	line_add(out, span_str(KEYS_BEGIN));
	for (size_t i = 0; i < keys->count; i++)
		line_add(out, span_str(keys->items[i]));
	line_add(out, span_str(KEYS_END));
}
