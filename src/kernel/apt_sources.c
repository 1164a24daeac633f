#include "kernel/apt_sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define FILE_SIZE_MAX ((uint64_t)1024 * 1024)
#define COMPONENT     "main"

/* --- words and lines --- */

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct span trim(struct span text)
{
	while (text.len > 0 && is_blank(text.ptr[0]))
		text = span_skip(text, 1);
	while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

/* Takes the next word, or an empty one at the end. */
static struct span next_word(struct span *text)
{
	struct span word;
	size_t len = 0;

	*text = trim(*text);
	while (len < text->len && !is_blank(text->ptr[len]))
		len++;
	word = span_of(text->ptr, len);
	*text = span_skip(*text, len);
	return word;
}

static struct span next_line(struct span *text)
{
	struct span line;

	if (!parse_until(text, '\n', &line)) {
		line = *text;
		*text = span_of(text->ptr, 0);
	}
	return line;
}

static bool has_word(struct span words, const char *wanted)
{
	while ((words = trim(words)).len > 0) {
		if (span_eq(next_word(&words), span_str(wanted)))
			return true;
	}
	return false;
}

static bool contains(struct span text, const char *part)
{
	return text.len > 0 && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static bool ends_with(struct span text, const char *end)
{
	const size_t len = strlen(end);

	return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

/* --- which are Debian's --- */

static bool is_debian(struct span uri)
{
	struct span rest = uri;

	if (!parse_literal(&rest, "http://") && !parse_literal(&rest, "https://"))
		return false;
	for (size_t i = 0; i < uri.len; i++) {
		if (uri.ptr[i] <= ' ' || uri.ptr[i] > '~')
			return false;
	}
	if (parse_literal(&rest, "snapshot.debian.org/archive/debian"))
		return true;
	while (uri.len > 0 && uri.ptr[uri.len - 1] == '/')
		uri.len--;
	return ends_with(uri, "/debian") || ends_with(uri, "/debian-security");
}

static bool is_of_suite(struct span name, const char *suite)
{
	static const char *const suffixes[] = { "", "-updates", "-security" };
	struct span rest = name;

	if (!parse_literal(&rest, suite))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (span_eq(rest, span_str(suffixes[i])))
			return true;
	}
	return false;
}

static void add_source(struct strv *ret, struct span uri, struct span suite)
{
	AUTO_FREE char *line = mem_printf("deb %.*s %.*s " COMPONENT, (int)uri.len, uri.ptr,
					  (int)suite.len, suite.ptr);

	if (!strv_has(ret, line))
		strv_add(ret, line);
}

/* --- the one-line form: deb [OPTIONS] URI SUITE COMPONENT... --- */

static bool skip_options(struct span *line)
{
	struct span options;

	*line = trim(*line);
	if (line->len == 0 || line->ptr[0] != '[')
		return true;
	if (!parse_until(line, ']', &options))
		return false;
	return !contains(options, "signed-by=") || contains(options, "debian-archive");
}

static void parse_line(struct span line, const char *suite, struct strv *ret)
{
	struct span uri, name;

	if (!span_eq(next_word(&line), span_str("deb")) || !skip_options(&line))
		return;
	uri = next_word(&line);
	name = next_word(&line);
	if (is_debian(uri) && is_of_suite(name, suite) && has_word(line, COMPONENT))
		add_source(ret, uri, name);
}

void apt_sources_parse_list(struct span text, const char *suite, struct strv *ret)
{
	while (text.len > 0) {
		struct span line = next_line(&text);
		struct span before;

		if (parse_until(&line, '#', &before))
			line = before;
		parse_line(line, suite, ret);
	}
}

/* --- the form of stanzas --- */

enum field {
	FIELD_TYPES,
	FIELD_URIS,
	FIELD_SUITES,
	FIELD_COMPONENTS,
	FIELD_SIGNED_BY,
	FIELD_ENABLED,
	FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
	[FIELD_TYPES] = "Types",	 [FIELD_URIS] = "URIs",
	[FIELD_SUITES] = "Suites",	 [FIELD_COMPONENTS] = "Components",
	[FIELD_SIGNED_BY] = "Signed-By", [FIELD_ENABLED] = "Enabled",
};

/* Each field's value, continuation lines joined by spaces. */
struct stanza {
	struct buf values[FIELD_COUNT];
	int current; /* -1: a field that does not matter */
};

static void stanza_init(struct stanza *stanza)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		stanza->values[i] = BUF_INIT;
	stanza->current = -1;
}

static void stanza_done(struct stanza *stanza)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		buf_done(&stanza->values[i]);
}

static bool is_enabled(const struct stanza *stanza)
{
	const struct span enabled = trim(buf_span(&stanza->values[FIELD_ENABLED]));
	const struct span key = buf_span(&stanza->values[FIELD_SIGNED_BY]);

	if (span_eq(enabled, span_str("no")) || span_eq(enabled, span_str("false")))
		return false;
	return trim(key).len == 0 || contains(key, "debian-archive");
}

static void end_stanza(struct stanza *stanza, const char *suite, struct strv *ret)
{
	struct span uris = buf_span(&stanza->values[FIELD_URIS]);

	if (is_enabled(stanza) && has_word(buf_span(&stanza->values[FIELD_TYPES]), "deb") &&
	    has_word(buf_span(&stanza->values[FIELD_COMPONENTS]), COMPONENT)) {
		while ((uris = trim(uris)).len > 0) {
			struct span uri = next_word(&uris);
			struct span suites = buf_span(&stanza->values[FIELD_SUITES]);

			while (is_debian(uri) && (suites = trim(suites)).len > 0) {
				struct span name = next_word(&suites);

				if (is_of_suite(name, suite))
					add_source(ret, uri, name);
			}
		}
	}
	for (size_t i = 0; i < FIELD_COUNT; i++)
		buf_clear(&stanza->values[i]);
	stanza->current = -1;
}

static void stanza_line(struct stanza *stanza, struct span line)
{
	struct span name;

	if (line.ptr[0] != ' ' && line.ptr[0] != '\t') {
		stanza->current = -1;
		if (!parse_until(&line, ':', &name))
			return;
		for (int i = 0; i < FIELD_COUNT; i++) {
			if (name.len == strlen(field_names[i]) &&
			    strncasecmp((const char *)name.ptr, field_names[i], name.len) == 0)
				stanza->current = i;
		}
	}
	if (stanza->current >= 0) {
		buf_add_byte(&stanza->values[stanza->current], ' ');
		buf_add(&stanza->values[stanza->current], trim(line));
	}
}

void apt_sources_parse_stanzas(struct span text, const char *suite, struct strv *ret)
{
	CLEANUP(stanza_done) struct stanza stanza;

	stanza_init(&stanza);
	while (text.len > 0) {
		struct span line = next_line(&text);

		if (line.len > 0 && line.ptr[0] == '#')
			continue;
		if (trim(line).len == 0)
			end_stanza(&stanza, suite, ret);
		else
			stanza_line(&stanza, line);
	}
	end_stanza(&stanza, suite, ret);
}

/* --- files --- */

static int read_one(int dir_fd, const char *name, const char *suite, struct strv *ret)
{
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(dir_fd, name, FILE_SIZE_MAX, &text);

	/* One that may not be read is as good as none: it is not for this user. */
	if (r == -ENOENT || r == -EACCES)
		return 0;
	if (r < 0)
		return r;
	if (str_ends(name, ".sources"))
		apt_sources_parse_stanzas(buf_span(&text), suite, ret);
	else
		apt_sources_parse_list(buf_span(&text), suite, ret);
	return 0;
}

static int collect_name(void *context, const char *name)
{
	if (name[0] != '.' && (str_ends(name, ".list") || str_ends(name, ".sources")))
		strv_add(context, name);
	return 0;
}

static int read_folder(int apt_fd, const char *suite, struct strv *ret)
{
	AUTO_STRV names = { 0 };
	AUTO_CLOSE int fd = dir_open_at(apt_fd, "sources.list.d");
	int r;

	if (fd < 0)
		return fd == -ENOENT || fd == -EACCES ? 0 : fd;
	r = dir_each(fd, collect_name, &names);
	strv_sort(&names);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = read_one(fd, names.items[i], suite, ret);
	return r;
}

static bool has_suite(const struct strv *sources, const char *suite)
{
	AUTO_FREE char *end = mem_printf(" %s " COMPONENT, suite);

	for (size_t i = 0; i < sources->count; i++) {
		if (str_ends(sources->items[i], end))
			return true;
	}
	return false;
}

int apt_sources_read(const char *apt_dir, const char *suite, struct strv *ret)
{
	AUTO_STRV found = { 0 };
	AUTO_CLOSE int apt_fd = dir_open(apt_dir);
	int r;

	if (apt_fd < 0)
		return apt_fd == -ENOENT || apt_fd == -EACCES ? 0 : apt_fd;
	r = read_one(apt_fd, "sources.list", suite, &found);
	if (r == 0)
		r = read_folder(apt_fd, suite, &found);
	if (r < 0 || !has_suite(&found, suite))
		return r;
	for (size_t i = 0; i < found.count; i++)
		strv_add(ret, found.items[i]);
	return 0;
}
