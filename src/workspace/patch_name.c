#include "workspace/patch_name.h"

#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/text.h"
#include "workspace/patch.h"

/* After a backslash. */
static bool take_escape(struct span *text, uint8_t *ret)
{
	static const char letters[] = "abtnvfr\"\\";
	static const char meant[] = "\a\b\t\n\v\f\r\"\\";
	const char *letter;
	unsigned int value = 0;

	if (text->len == 0 || text->ptr[0] == '\0')
		return false;
	letter = strchr(letters, text->ptr[0]);
	if (letter) {
		*ret = (uint8_t)meant[letter - letters];
		*text = span_skip(*text, 1);
		return true;
	}
	if (text->len < 3)
		return false;
	for (size_t i = 0; i < 3; i++) {
		if (text->ptr[i] < '0' || text->ptr[i] > (i == 0 ? '3' : '7'))
			return false;
		value = value << 3 | (unsigned int)(text->ptr[i] - '0');
	}
	*text = span_skip(*text, 3);
	*ret = (uint8_t)value;
	return true;
}

/* A name in quotes at the beginning of the text. */
static bool take_quoted(struct span *text, struct buf *ret)
{
	struct span rest = *text;
	const size_t before = ret->len;

	if (!parse_byte(&rest, '"'))
		return false;
	while (rest.len > 0 && rest.ptr[0] != '"') {
		uint8_t byte = rest.ptr[0];

		rest = span_skip(rest, 1);
		if (byte == '\\' && !take_escape(&rest, &byte))
			break;
		buf_add_byte(ret, byte);
	}
	if (!parse_byte(&rest, '"')) {
		buf_truncate(ret, before);
		return false;
	}
	*text = rest;
	return true;
}

/* What git does not put into quotes has nothing in it that would need them. */
static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f || text.ptr[i] == '"' ||
		    text.ptr[i] == '\\')
			return false;
	}
	return true;
}

bool patch_name_take_all(struct span text, struct buf *ret)
{
	if (text.len > 0 && text.ptr[0] == '"')
		return take_quoted(&text, ret) && parse_end(&text);
	if (!is_plain(text))
		return false;
	buf_add(ret, text);
	return true;
}

bool patch_name_take_side(struct span text, char side, struct buf *ret)
{
	AUTO_BUF whole = BUF_INIT;
	struct span name;

	if (!patch_name_take_all(text, &whole))
		return false;
	name = buf_span(&whole);
	if (!parse_byte(&name, side) || !parse_byte(&name, '/'))
		return false;
	buf_add(ret, name);
	return true;
}

bool patch_name_pair_same(struct span text, struct buf *ret)
{
	AUTO_BUF second = BUF_INIT;
	AUTO_BUF first = BUF_INIT;
	struct span rest = text;
	struct span one;

	if (text.len > 0 && text.ptr[0] == '"') {
		if (!take_quoted(&rest, &first))
			return false;
		one = span_of(text.ptr, text.len - rest.len);
	} else {
		/* Blanks may be part of the name: the two halves are equally long. */
		one = span_of(text.ptr, text.len / 2);
		rest = span_skip(text, one.len);
	}
	buf_clear(&first);
	if (!parse_byte(&rest, ' ') || !patch_name_take_side(one, 'a', &first) ||
	    !patch_name_take_side(rest, 'b', &second) ||
	    !span_eq(buf_span(&first), buf_span(&second)))
		return false;
	buf_add(ret, buf_span(&first));
	return true;
}

/* "a/NAME" at the beginning of the text, in quotes or not, with this very name. */
static bool take_known(struct span *text, char side, struct span name)
{
	AUTO_BUF got = BUF_INIT;
	struct span rest = *text;
	struct span bare;

	if (rest.len > 0 && rest.ptr[0] == '"') {
		if (!take_quoted(&rest, &got))
			return false;
		bare = buf_span(&got);
		if (!parse_byte(&bare, side) || !parse_byte(&bare, '/') || !span_eq(bare, name))
			return false;
	} else {
		if (!parse_byte(&rest, side) || !parse_byte(&rest, '/') || rest.len < name.len ||
		    !is_plain(name) || !span_eq(span_of(rest.ptr, name.len), name))
			return false;
		rest = span_skip(rest, name.len);
	}
	*text = rest;
	return true;
}

bool patch_name_pair_is(struct span text, struct span from, struct span to)
{
	return take_known(&text, 'a', from) && parse_byte(&text, ' ') &&
	       take_known(&text, 'b', to) && parse_end(&text);
}

/* --- which names are safe --- */

/* Code points that HFS+ takes for nothing, in UTF-8; how many bytes are one. */
static size_t ignored_len(struct span text)
{
	static const uint8_t first = 0xe2;
	static const uint8_t bom[] = { 0xef, 0xbb, 0xbf };

	if (text.len < 3)
		return 0;
	if (memcmp(text.ptr, bom, sizeof(bom)) == 0)
		return 3;
	if (text.ptr[0] != first)
		return 0;
	if (text.ptr[1] == 0x80 && ((text.ptr[2] >= 0x8c && text.ptr[2] <= 0x8f) ||
				    (text.ptr[2] >= 0xaa && text.ptr[2] <= 0xae)))
		return 3;
	return text.ptr[1] == 0x81 && text.ptr[2] >= 0xaa && text.ptr[2] <= 0xaf ? 3 : 0;
}

/* Whether a part of a path is ".git" to some file system, or may become it. */
static bool is_repository(struct span part)
{
	char bare[16] = { 0 }; /* without what is ignored; as much as decides */
	size_t len = 0;

	while (part.len > 0 && len < sizeof(bare) - 1) {
		const size_t ignored = ignored_len(part);

		if (ignored == 0)
			bare[len++] = (char)part.ptr[0];
		part = span_skip(part, ignored ? ignored : 1);
	}
	if (strncasecmp(bare, ".git", 4) == 0) {
		/* NTFS forgets dots and blanks at the end, and what follows a colon. */
		const char *rest = bare + 4 + strspn(bare + 4, ". ");

		return *rest == '\0' || *rest == ':';
	}
	/* Its short name there. */
	return strncasecmp(bare, "git~", 4) == 0 && bare[4] >= '0' && bare[4] <= '9';
}

bool patch_name_is_safe(struct span name)
{
	if (name.len == 0 || name.len > PATCH_NAME_MAX || memchr(name.ptr, '\0', name.len))
		return false;
	for (;;) {
		const uint8_t *slash = memchr(name.ptr, '/', name.len);
		const struct span part =
			span_of(name.ptr, slash ? (size_t)(slash - name.ptr) : name.len);

		if (part.len == 0 || span_eq(part, span_str(".")) ||
		    span_eq(part, span_str("..")) || is_repository(part))
			return false;
		if (!slash)
			return true;
		name = span_skip(name, part.len + 1);
	}
}

bool patch_link_leads_out(struct span name, struct span target)
{
	size_t depth = 0;
	bool is_in_folder = false;

	if (target.len == 0 || target.ptr[0] == '/' || memchr(target.ptr, '\n', target.len))
		return true;
	for (size_t i = 0; i < name.len; i++)
		depth += name.ptr[i] == '/';
	while (target.len > 0) {
		const uint8_t *slash = memchr(target.ptr, '/', target.len);
		const struct span part =
			span_of(target.ptr, slash ? (size_t)(slash - target.ptr) : target.len);

		if (is_repository(part))
			return true;
		if (span_eq(part, span_str(".."))) {
			/* Above a folder that may be a link itself is anywhere. */
			if (depth == 0 || is_in_folder)
				return true;
			depth--;
		} else if (part.len > 0 && !span_eq(part, span_str("."))) {
			is_in_folder = true;
		}
		target = span_skip(target, slash ? part.len + 1 : part.len);
	}
	return false;
}
