#include "workspace/facts.h"

#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/origin.h"

#define IDENTITY_MAX	 512
#define SHALLOW_MAX	 (4UL << 20)
#define MISSING_LIST_MAX (256UL << 20)

void facts_done(struct facts *facts)
{
	if (!facts)
		return;
	mem_free(facts->host_head);
	mem_free(facts->head);
	mem_free(facts->branch);
	mem_free(facts->origin);
	mem_free(facts->user_name);
	mem_free(facts->user_email);
	mem_free(facts->shallow);
}

/* One line of what may not be there. */
static int ask(const struct git *git, const struct cancel *cancel, const char *const *args,
	       bool reads_user_config, char **ret, struct err *err)
{
	const struct git_call call = { .args = args,
				       .cancel = cancel,
				       .may_say_no = true,
				       .reads_user_config = reads_user_config };

	return git_line(git, &call, ret, err);
}

static int read_commit(const struct git *git, const struct cancel *cancel, const char *name,
		       char **ret, struct err *err)
{
	AUTO_FREE char *commit = mem_printf("%s^{commit}", name);
	const char *const args[] = {
		"rev-parse", "-q", "--verify", "--end-of-options", commit, NULL
	};

	return ask(git, cancel, args, false, ret, err);
}

/*
 * No commit yet, or one that cannot be read: what cannot be read must not look as if nothing had
 * been committed. A reference that is no reference is found by symbolic-ref already.
 */
static int check_unborn(const struct git *git, const struct cancel *cancel, struct err *err)
{
	static const char *const args[] = { "rev-parse", "-q", "--verify", "HEAD", NULL };
	AUTO_FREE char *oid = NULL;
	int r;

	r = ask(git, cancel, args, false, &oid, err);
	if (r < 0 || !oid)
		return r;
	r = err_set(err, ERR_INVALID, "the commit of HEAD of '%s' is missing: %s", git->root, oid);
	err_hint(err, "the repository is damaged: 'git fsck' there says what is missing");
	return r;
}

static int read_head(const struct git *git, const struct cancel *cancel, struct facts *facts,
		     struct err *err)
{
	static const char *const symbolic[] = { "symbolic-ref", "-q", "HEAD", NULL };
	AUTO_FREE char *ref = NULL;
	int r;

	r = read_commit(git, cancel, "HEAD", &facts->host_head, err);
	if (r == 0)
		r = ask(git, cancel, symbolic, false, &ref, err);
	if (r == 0 && !facts->host_head)
		r = check_unborn(git, cancel, err);
	if (r < 0)
		return err_context(err, r, "HEAD of '%s' cannot be read", git->root);
	if (ref && str_starts(ref, "refs/heads/"))
		facts->branch = mem_strdup(ref + strlen("refs/heads/"));
	if (!facts->host_head && !facts->branch)
		return err_set(err, ERR_INVALID, "HEAD of '%s' leads nowhere", git->root);
	if (facts->host_head)
		facts->head = mem_strdup(facts->host_head);
	return 0;
}

static int take_wish(const struct git *git, const struct facts_wish *wish,
		     const struct cancel *cancel, struct facts *facts, struct err *err)
{
	AUTO_FREE char *ref = mem_printf("refs/heads/%s", wish->branch ? wish->branch : "");
	const char *const check[] = { "check-ref-format", ref, NULL };
	const struct git_call call = { .args = check, .cancel = cancel };
	int r = 0;

	if (wish->from) {
		mem_free(TAKE_PTR(facts->head));
		r = read_commit(git, cancel, wish->from, &facts->head, err);
		if (r == 0 && !facts->head)
			r = err_set(err, ERR_NOT_FOUND, "'%s' is no commit of '%s'", wish->from,
				    git->root);
	}
	if (r < 0 || !wish->branch)
		return r;
	if (wish->branch[0] == '-' || git_run(git, &call, NULL, err) < 0) {
		if (err->kind == ERR_CANCELLED)
			return -ECANCELED;
		*err = ERR_INIT;
		return err_set(err, ERR_INVALID, "'%s' is no name for a branch", wish->branch);
	}
	mem_free(facts->branch);
	facts->branch = mem_strdup(wish->branch);
	facts->is_named = true;
	return 0;
}

static int read_origin(const struct git *git, const struct cancel *cancel, struct facts *facts,
		       struct err *err)
{
	static const char *const args[] = { "config", "-z", "--get", "remote.origin.url", NULL };
	const struct git_call call = { .args = args, .cancel = cancel, .may_say_no = true };
	AUTO_BUF url = BUF_INIT;
	AUTO_BUF clean = BUF_INIT;
	const int r = git_run(git, &call, &url, err);

	if (r < 0 || url.len == 0)
		return r;
	if (origin_clean(span_of(url.ptr, url.len - 1), &clean))
		facts->origin = buf_detach(&clean);
	else
		facts->lost_origin = true;
	return 0;
}

/* What is one line and not endless. */
static bool is_plain(const char *text)
{
	return text && strlen(text) <= IDENTITY_MAX && !strpbrk(text, "\r\n") &&
	       text_is_utf8(span_str(text));
}

static int read_identity(const struct git *git, const struct cancel *cancel, struct facts *facts,
			 struct err *err)
{
	static const char *const name[] = { "config", "--get", "user.name", NULL };
	static const char *const email[] = { "config", "--get", "user.email", NULL };
	int r;

	r = ask(git, cancel, name, true, &facts->user_name, err);
	if (r == 0)
		r = ask(git, cancel, email, true, &facts->user_email, err);
	if (r == 0 && !is_plain(facts->user_name))
		mem_free(TAKE_PTR(facts->user_name));
	if (r == 0 && !is_plain(facts->user_email))
		mem_free(TAKE_PTR(facts->user_email));
	return r;
}

/*
 * Where a shallow clone's history ends. The file could be a link to any other, and what it says
 * goes to the guest: nothing but names of commits does.
 */
static int read_shallow(const struct git *git, struct facts *facts, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/shallow", git->common);
	AUTO_BUF ends = BUF_INIT;
	struct span rest, line;

	if (file_read(AT_FDCWD, path, SHALLOW_MAX, &ends) < 0 || ends.len == 0)
		return 0;
	rest = buf_span(&ends);
	while (rest.len > 0)
		if (!parse_until(&rest, '\n', &line) || !git_is_oid(line))
			return err_set(err, ERR_INVALID, "'%s' is not as git writes it", path);
	facts->shallow = buf_detach(&ends);
	return 0;
}

static int read_settings(const struct git *git, const struct cancel *cancel, struct facts *facts,
			 struct err *err)
{
	static const char *const mode[] = { "config", "--type=bool", "--get", "core.fileMode",
					    NULL };
	AUTO_FREE char *parents = mem_printf("%s^@", facts->head ? facts->head : "");
	const char *const parent_args[] = { "rev-parse", "-q", parents, NULL };
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *parent = NULL;
	int r;

	r = ask(git, cancel, mode, false, &text, err);
	if (r == 0 && facts->head)
		r = ask(git, cancel, parent_args, false, &parent, err);
	if (r == 0)
		r = read_shallow(git, facts, err);
	if (r < 0)
		return r;
	facts->ignores_mode = str_eq(text, "false");
	/* A shallow clone's commit has parents that git does not show. */
	facts->has_parents = parent || facts->shallow;
	return 0;
}

/* A partial clone may lack what it has not needed yet, and nothing is fetched here. */
static int check_complete(const struct git *git, const struct facts_wish *wish,
			  const struct cancel *cancel, const struct facts *facts, struct err *err)
{
	static const char *const partial[] = {
		"config", "--get-regexp", "^(remote\\..*\\.promisor|extensions\\.partialclone)$",
		NULL
	};
	const char *const list[] = { "rev-list",
				     "--objects",
				     "--missing=print",
				     "--no-object-names",
				     wish->is_full ? facts->head : "--no-walk",
				     wish->is_full ? NULL : facts->head,
				     NULL };
	const struct git_call call = { .args = list,
				       .cancel = cancel,
				       .output_max = MISSING_LIST_MAX };
	AUTO_FREE char *is_partial = NULL;
	AUTO_BUF text = BUF_INIT;
	uint64_t missing = 0;
	int r;

	r = ask(git, cancel, partial, false, &is_partial, err);
	if (r < 0 || !is_partial || !facts->head)
		return r;
	r = git_run(git, &call, &text, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '?' && (i == 0 || text.ptr[i - 1] == '\n'))
			missing++;
	if (missing == 0)
		return 0;
	r = err_set(err, ERR_UNSUPPORTED,
		    "'%s' is a partial clone that lacks %llu of the objects of %s", git->root,
		    (unsigned long long)missing, wish->is_full ? "its history" : "the commit");
	err_hint(err, "'git -C %s rev-list --objects --no-walk HEAD' fetches them", git->root);
	return r;
}

int facts_read(const struct git *git, const struct facts_wish *wish, const struct cancel *cancel,
	       struct facts *ret, struct err *err)
{
	AUTO_FACTS facts = FACTS_INIT;
	int r;

	r = read_head(git, cancel, &facts, err);
	if (r == 0)
		r = take_wish(git, wish, cancel, &facts, err);
	if (r == 0)
		r = read_origin(git, cancel, &facts, err);
	if (r == 0)
		r = read_identity(git, cancel, &facts, err);
	if (r == 0)
		r = read_settings(git, cancel, &facts, err);
	if (r == 0)
		r = check_complete(git, wish, cancel, &facts, err);
	if (r < 0)
		return r;
	*ret = facts;
	facts = FACTS_INIT;
	return 0;
}
