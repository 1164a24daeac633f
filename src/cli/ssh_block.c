#include "cli/ssh_block.h"

#include "base/parse.h"

#define BEGIN	  "# >>> banger, by 'banger ssh-config --install' >>>"
#define BEGIN_NEW "# >>> banger, by 'banger ssh-config --install', in a new file >>>"
#define END	  "# <<< banger <<<"

/* Takes a line with its newline, which the last may lack; *ret_words is it without. */
static struct span take_line(struct span *cursor, struct span *ret_words)
{
	const struct span begin = *cursor;

	if (!parse_until(cursor, '\n', ret_words)) {
		*ret_words = begin;
		*cursor = span_skip(begin, begin.len);
	}
	return span_of(begin.ptr, begin.len - cursor->len);
}

static bool is_line(struct span words, const char *wanted)
{
	if (words.len > 0 && words.ptr[words.len - 1] == '\r')
		words.len--;
	return span_eq(words, span_str(wanted));
}

static int fail_cut(struct err *err)
{
	const int r = err_set(err, ERR_INVALID, "one end of banger's block is missing");

	err_hint(err, "remove what is left of it: the lines with '>>> banger' or '<<< banger', "
		      "and the Include between them");
	return r;
}

static int split(struct span text, struct buf *rest, bool *ret_found, bool *ret_was_new,
		 struct err *err)
{
	bool is_inside = false;

	*ret_found = false;
	*ret_was_new = false;
	while (text.len > 0) {
		struct span words;
		const struct span line = take_line(&text, &words);
		const bool is_new = is_line(words, BEGIN_NEW);
		const bool is_begin = is_new || is_line(words, BEGIN);
		const bool is_end = is_line(words, END);

		if ((is_begin && is_inside) || (is_end && !is_inside))
			return fail_cut(err);
		if (is_begin) {
			is_inside = true;
			*ret_found = true;
			*ret_was_new = *ret_was_new || is_new;
		} else if (is_end) {
			is_inside = false;
		} else if (!is_inside) {
			buf_add(rest, line);
		}
	}
	return is_inside ? fail_cut(err) : 0;
}

int ssh_block_add(struct span text, bool is_new, const char *path, struct buf *out, struct err *err)
{
	AUTO_BUF rest = BUF_INIT;
	bool is_found, was_new;
	const int r = split(text, &rest, &is_found, &was_new, err);

	if (r < 0)
		return r;
	buf_addf(out, "%s\nInclude \"%s\"\n%s\n", is_new || was_new ? BEGIN_NEW : BEGIN, path, END);
	buf_add(out, buf_span(&rest));
	return 0;
}

int ssh_block_remove(struct span text, struct buf *out, bool *ret_found, bool *ret_is_rest,
		     struct err *err)
{
	AUTO_BUF rest = BUF_INIT;
	bool was_new;
	const int r = split(text, &rest, ret_found, &was_new, err);

	if (r < 0)
		return r;
	*ret_is_rest = rest.len > 0 || !was_new;
	buf_add(out, buf_span(&rest));
	return 0;
}
