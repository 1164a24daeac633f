#include "workspace/head.h"

#include "base/buf.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/git.h"

#define NAME_SHOWN_MAX 60
#define NAME_MAX_BYTES 4096

static bool read_oid(struct span *text, struct span *ret)
{
	if (!parse_until(text, '\n', ret))
		return false;
	if (!span_eq(*ret, span_str("-")))
		return git_is_oid(*ret);
	ret->len = 0;
	return true;
}

int head_read_refs(struct span said, struct head_refs *ret, struct err *err)
{
	struct head_refs refs;

	if (!read_oid(&said, &refs.tip) || !read_oid(&said, &refs.put) ||
	    !parse_until(&said, '\n', &refs.rival) || said.len > 0 ||
	    refs.rival.len > NAME_MAX_BYTES)
		return err_set(err, ERR_PROTOCOL, "the guest does not say where its branch is");
	if (span_eq(refs.rival, span_str("-")))
		refs.rival.len = 0;
	else if (!parse_literal(&refs.rival, "refs/heads/"))
		return err_set(err, ERR_PROTOCOL, "the guest does not say where its branch is");
	*ret = refs;
	return 0;
}

static bool is_either(struct span text, const char *a, const char *b)
{
	return span_eq(text, span_str(a)) || span_eq(text, span_str(b));
}

static int fail_rival(const struct head_refs *refs, const struct manifest_head *gets,
		      struct err *err)
{
	AUTO_BUF rival = BUF_INIT;
	AUTO_BUF name = BUF_INIT;
	int r;

	text_escape(&rival, refs->rival, NAME_SHOWN_MAX);
	text_escape(&name, span_str(gets->branch), NAME_SHOWN_MAX);
	r = err_set(err, ERR_BAD_STATE,
		    "the guest has the branch '%s', and git has none called '%s' beside it",
		    rival.ptr, name.ptr);
	err_hint(err, "rename it there ('git branch -m'), or name another one with --branch");
	return r;
}

static int fail_elsewhere(const struct guest_look *look, struct err *err)
{
	AUTO_BUF name = BUF_INIT;
	int r;

	text_escape(&name, look->branch, NAME_SHOWN_MAX);
	if (look->branch.len == 0)
		r = err_set(err, ERR_BAD_STATE,
			    "the guest is on no branch any more, and HEAD has moved on the host");
	else
		r = err_set(err, ERR_BAD_STATE,
			    "the guest is on its own branch '%s', and HEAD has moved on the host",
			    name.ptr);
	err_hint(err, "switch back there ('git switch'), or --force: HEAD becomes the host's, and "
		      "no commit is lost");
	return r;
}

static int fail_commits(const char *what, struct err *err)
{
	const int r = err_set(err, ERR_BAD_STATE, "%s, and HEAD has moved on the host too", what);

	err_hint(err, "export them first ('banger vm workspace export'), or --force: they stay "
		      "there under refs/banger/kept/");
	return r;
}

int head_check(const struct guest_look *look, const struct manifest_head *had,
	       const struct manifest_head *gets, const struct head_refs *refs, bool force,
	       struct err *err)
{
	if (refs->rival.len > 0)
		return fail_rival(refs, gets, err);
	if (force)
		return 0;
	if (!is_either(look->head, had->head, gets->head))
		return fail_commits("the guest has commits of its own", err);
	if (!is_either(look->branch, had->branch, gets->branch))
		return fail_elsewhere(look, err);
	if (refs->tip.len > 0 && !is_either(refs->tip, had->head, gets->head) &&
	    !span_eq(refs->tip, refs->put))
		return fail_commits("the guest's branch of that name has commits of its own", err);
	return 0;
}
