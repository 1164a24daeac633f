#include "workspace/prepare.h"

#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/manifest.h"
#include "workspace/switch.h"

#define STATE_MAX 64
#define REF_MAX	  1024

void workspace_done(struct workspace *workspace)
{
	git_done(&workspace->git);
	facts_done(&workspace->facts);
	scan_done(&workspace->scan);
	fd_closep(&workspace->root_fd);
}

void workspace_result_done(struct workspace_result *result)
{
	buf_done(&result->conflicts);
}

static void take_last(struct workspace *workspace)
{
	const struct workspace_last *last = workspace->wish.last;

	if (!last || workspace->wish.branch || !str_eq(last->host, workspace->git.root))
		return;
	workspace->wish.branch = last->branch;
	workspace->wish.from = last->from;
}

static int read_facts(struct workspace *workspace, const struct cancel *cancel, struct err *err)
{
	const struct workspace_wish *wish = &workspace->wish;
	const struct facts_wish facts_wish = { .branch = wish->branch,
					       .from = wish->from,
					       .is_full = wish->is_full };
	const int r = facts_read(&workspace->git, &facts_wish, cancel, &workspace->facts, err);

	if (r < 0 && err->kind == ERR_NOT_FOUND && wish->last && wish->from == wish->last->from)
		err_hint(err, "the branch of the last time began there: name another one "
			      "with --branch and --from");
	return r;
}

static int take_fingerprint(struct workspace *workspace, const struct cancel *cancel,
			    struct err *err)
{
	const struct fingerprint_wish wish = { .includes_untracked =
						       workspace->wish.includes_untracked,
					       .is_full = workspace->wish.is_full,
					       .from = workspace->wish.from };

	return fingerprint_checkout(&workspace->git, &wish, cancel, workspace->fingerprint, err);
}

int workspace_open(const struct workspace_wish *wish, const struct cancel *cancel,
		   const struct progress *progress, struct workspace *ret, struct err *err)
{
	AUTO_WORKSPACE workspace = WORKSPACE_INIT;
	int r;

	workspace.wish = *wish;
	r = git_open(wish->path, cancel, &workspace.git, err);
	if (r < 0)
		return r;
	take_last(&workspace);
	r = take_fingerprint(&workspace, cancel, err);
	if (r == 0)
		r = read_facts(&workspace, cancel, err);
	if (r < 0)
		return r;
	workspace.root_fd = dir_open(workspace.git.root);
	if (workspace.root_fd < 0)
		return err_sys(err, workspace.root_fd, "open '%s'", workspace.git.root);
	const struct scan_job job = {
		.git = &workspace.git,
		.facts = &workspace.facts,
		.root_fd = workspace.root_fd,
		.includes_untracked = wish->includes_untracked,
		.cancel = cancel,
		.progress = progress,
	};

	r = scan_tree(&job, &workspace.scan, err);
	if (r == 0 && workspace.facts.host_head &&
	    !str_eq(workspace.facts.host_head, workspace.facts.head))
		r = switch_commit(&workspace.git, workspace.facts.host_head, workspace.facts.head,
				  cancel, &workspace.scan.manifest, err);
	if (r < 0)
		return r;
	*ret = workspace;
	workspace = WORKSPACE_INIT; // NOLINT(clang-analyzer-deadcode.DeadStores): as above
	return 0;
}

/* --- what a guest has --- */

static const struct {
	const char *name;
	enum guest_state state;
} states[] = {
	{ "absent", GUEST_ABSENT }, { "empty", GUEST_EMPTY }, { "foreign", GUEST_FOREIGN },
	{ "ours", GUEST_OURS },	    { "half", GUEST_HALF },
};

static bool read_state(struct span line, struct guest_look *ret)
{
	struct span git;

	if (!parse_until(&line, ' ', &git))
		return false;
	ret->has_git = span_eq(git, span_str("git"));
	if (!ret->has_git && !span_eq(git, span_str("none")))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		if (span_eq(line, span_str(states[i].name))) {
			ret->state = states[i].state;
			return true;
		}
	}
	return false;
}

static bool read_head(struct span *said, struct guest_look *ret)
{
	struct span branch;

	if (!parse_until(said, '\n', &ret->head) || !parse_until(said, '\n', &branch) ||
	    branch.len > REF_MAX || !parse_until(said, '\n', &ret->tree) || !git_is_oid(ret->tree))
		return false;
	if (span_eq(ret->head, span_str("-")))
		ret->head.len = 0;
	else if (!git_is_oid(ret->head))
		return false;
	ret->branch = branch;
	if (!parse_literal(&ret->branch, "refs/heads/"))
		ret->branch.len = 0;
	return true;
}

int workspace_read_look(struct span said, struct guest_look *ret, struct err *err)
{
	struct guest_look look = { .has_git = false };
	struct span line;

	if (!parse_until(&said, '\n', &line) || line.len > STATE_MAX || !read_state(line, &look))
		return err_set(err, ERR_PROTOCOL, "the guest does not say what it has");
	if ((look.state == GUEST_OURS || look.state == GUEST_HALF) && look.has_git) {
		if (!read_head(&said, &look))
			return err_set(err, ERR_PROTOCOL, "the guest does not say what HEAD is");
		look.manifest = said;
	}
	*ret = look;
	return 0;
}
