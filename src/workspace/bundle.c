/* The head of a git bundle (gitformat-bundle(5)): a signature, what it can, what it needs, what it
 * has. */
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "workspace/git.h"
#include "workspace/patch.h"

#define REF_MAX 1024

static int refuse(struct span line, const char *what, struct err *err)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, line, 80);
	return err_set(err, ERR_PROTOCOL, "the bundle's line '%s': %s", shown.ptr, what);
}

/* As git-check-ref-format(1) has it, for branches; HEAD beside them. */
static bool is_branch(struct span name)
{
	AUTO_BUF text = BUF_INIT;

	if (span_eq(name, span_str("HEAD")))
		return true;
	if (name.len > REF_MAX || memchr(name.ptr, '\0', name.len) ||
	    !parse_literal(&name, "refs/heads/") || name.len == 0)
		return false;
	buf_add(&text, name);
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t byte = (uint8_t)text.ptr[i];
		const bool begins = i == 0 || text.ptr[i - 1] == '/';

		if (byte <= 0x20 || byte == 0x7f || strchr("~^:?*[\\", byte) ||
		    (begins && (byte == '.' || byte == '/' || byte == '-')))
			return false;
	}
	return !strstr(text.ptr, "..") && !strstr(text.ptr, "@{") && !strstr(text.ptr, ".lock/") &&
	       !str_ends(text.ptr, ".lock") && !str_ends(text.ptr, "/") && !str_ends(text.ptr, ".");
}

static bool take_oid(struct span *line)
{
	static const size_t lengths[] = { 64, 40 };

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		if (line->len >= lengths[i] && git_is_oid(span_of(line->ptr, lengths[i]))) {
			*line = span_skip(*line, lengths[i]);
			return true;
		}
	}
	return false;
}

static int take_line(struct span whole, uint64_t *refs, struct err *err)
{
	struct span line = whole;

	if (line.len > 0 && line.ptr[0] == '@')
		return span_eq(line, span_str("@object-format=sha1")) ||
				       span_eq(line, span_str("@object-format=sha256"))
			       ? 0
			       : refuse(whole, "nothing that it should need", err);
	/* A comment behind it is the commit's subject, which nobody reads. */
	if (parse_byte(&line, '-'))
		return take_oid(&line) && (line.len == 0 || line.ptr[0] == ' ')
			       ? 0
			       : refuse(whole, "no commit that it builds on", err);
	if (!take_oid(&line) || !parse_byte(&line, ' ') || !is_branch(line))
		return refuse(whole, "neither HEAD nor a branch", err);
	if (++*refs > BUNDLE_REFS_MAX)
		return err_set(err, ERR_LIMIT, "the bundle has over %d branches", BUNDLE_REFS_MAX);
	return 0;
}

int bundle_check(struct span bytes, uint64_t *ret_refs, struct err *err)
{
	static const char *const signatures[] = { "# v2 git bundle", "# v3 git bundle" };
	struct span line;
	uint64_t refs = 0;
	bool is_first = true;

	while (parse_until(&bytes, '\n', &line)) {
		if (is_first && !span_eq(line, span_str(signatures[0])) &&
		    !span_eq(line, span_str(signatures[1])))
			return refuse(line, "not how a bundle begins", err);
		if (is_first) {
			is_first = false;
			continue;
		}
		if (line.len == 0) {
			if (bytes.len < 4)
				return 0;
			if (refs == 0 || memcmp(bytes.ptr, "PACK", 4) != 0)
				return err_set(err, ERR_PROTOCOL, "the bundle has no commits");
			*ret_refs = refs;
			return 1;
		}
		const int r = take_line(line, &refs, err);

		if (r < 0)
			return r;
	}
	return 0;
}
