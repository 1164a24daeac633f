/*
 * Which repository a folder belongs to. A ".git" that is a folder is the repository itself. One
 * that is a file or a link leads elsewhere, perhaps to a repository of the user's that is nobody's
 * business: it counts only when that repository says that this is its working tree, as those of
 * linked working trees and of submodules do.
 */
#include "workspace/git_open.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define POINTER_MAX	8192  /* bytes of a file that holds a path */
#define FACT_TIMEOUT_MS 30000 /* git says at once where a repository is */

void git_done(struct git *git)
{
	if (!git)
		return;
	mem_free(git->root);
	mem_free(git->dir);
	mem_free(git->common);
	strv_done(&git->filters);
}

static char *real_path(const char *path)
{
	char real[PATH_MAX];

	return realpath(path, real) ? mem_strdup(real) : NULL;
}

static bool exists(const char *folder, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
	struct stat status;

	return lstat(path, &status) == 0;
}

static int no_repository(const char *path, struct err *err)
{
	int r;

	if (exists(path, "HEAD") && exists(path, "objects") && exists(path, "refs"))
		return err_set(err, ERR_INVALID,
			       "'%s' is a bare repository: there is no working tree to ship", path);
	r = err_set(err, ERR_NOT_FOUND, "'%s' is not in a git repository", path);
	err_hint(err, "'git init' makes one; 'banger vm cp' copies any folder");
	return r;
}

/* The nearest folder with a ".git", from `path` upwards. */
static int find_root(const char *path, char **ret, struct err *err)
{
	AUTO_FREE char *folder = real_path(path);
	struct stat status;
	char *slash;

	if (!folder && (errno == ENOENT || errno == ENOTDIR))
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%s'", path);
	if (!folder)
		return err_sys(err, -errno, "find '%s'", path);
	if (stat(folder, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", path);
	if (!S_ISDIR(status.st_mode))
		return err_set(err, ERR_INVALID, "'%s' is no folder", path);
	while (!exists(folder, ".git")) {
		slash = strrchr(folder, '/');
		if (!slash || str_eq(folder, "/"))
			return no_repository(path, err);
		slash[slash == folder ? 1 : 0] = '\0';
	}
	*ret = TAKE_PTR(folder);
	return 0;
}

static int ask(const struct git *git, const struct cancel *cancel, const char *what, char **ret,
	       struct err *err)
{
	const char *const args[] = { "rev-parse", what, NULL };
	const struct git_call call = { .args = args,
				       .cancel = cancel,
				       .timeout_ms = FACT_TIMEOUT_MS,
				       .reads_user_config = true };
	int r;

	r = git_ask(git->root, &call, ret, err);
	if (r == 0 && !*ret)
		r = err_set(err, ERR_PROTOCOL, "git said nothing of '%s'", git->root);
	return r;
}

/* git's own refusal of what belongs to others, in one line. */
static int refuse(const struct git *git, int r, struct err *err)
{
	struct stat status;

	if (err->kind == ERR_UNSUPPORTED || err->kind == ERR_CANCELLED)
		return r; /* no word about the repository */
	if (err->kind == ERR_SYSTEM && strstr(err->message, "dubious ownership")) {
		r = err_set(err, ERR_INVALID, "'%s' belongs to uid %u, not to you", git->root,
			    stat(git->root, &status) == 0 ? status.st_uid : 0);
		err_hint(err, "if you trust it: git config --global --add safe.directory '%s'",
			 git->root);
		return r;
	}
	if (err->errnum == ETIMEDOUT) {
		r = err_set(err, ERR_INVALID, "git does not say within %d s what '%s' is",
			    FACT_TIMEOUT_MS / 1000, git->root);
		err_hint(err, "it waits for a file that it reads: is one that the configuration "
			      "includes a FIFO?");
		return r;
	}
	/* Nothing is wrong with the repository. */
	if (err->kind == ERR_UNSUPPORTED || err->kind == ERR_CANCELLED)
		return r;
	return err_context(err, r, "'%s' is no repository that git can use", git->root);
}

static int check_own_kinds(const struct git *git, struct err *err)
{
	AUTO_FREE char *dir = mem_printf("%s/.git", git->root);

	return git_check_kinds(dir, err);
}

static int locate(const struct cancel *cancel, struct git *git, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *common = NULL;
	AUTO_FREE char *is_bare = NULL;
	AUTO_FREE char *format = NULL;
	int r;

	r = ask(git, cancel, "--absolute-git-dir", &dir, err);
	if (r == 0)
		r = ask(git, cancel, "--git-common-dir", &common, err);
	if (r == 0)
		r = ask(git, cancel, "--is-bare-repository", &is_bare, err);
	if (r == 0)
		r = ask(git, cancel, "--show-object-format", &format, err);
	if (r < 0)
		return refuse(git, r, err);
	assert(common && is_bare && format);
	if (str_eq(is_bare, "true"))
		return err_set(err, ERR_INVALID,
			       "'%s' is a bare repository: there is no working tree to ship",
			       git->root);
	if (!str_eq(format, "sha1") && !str_eq(format, "sha256"))
		return err_set(err, ERR_UNSUPPORTED, "'%s' has objects of the format '%s'",
			       git->root, format);
	if (common[0] != '/') {
		AUTO_FREE char *joined = mem_printf("%s/%s", git->root, common);

		mem_free(common);
		common = TAKE_PTR(joined);
	}
	git->dir = real_path(dir);
	git->common = real_path(common);
	git->is_sha256 = str_eq(format, "sha256");
	if (!git->dir || !git->common)
		return err_sys(err, -errno, "find the repository of '%s'", git->root);
	return 0;
}

/* A linked working tree's repository is COMMON/worktrees/NAME, and its "gitdir" names our ".git".
 */
static bool is_linked_tree(const struct git *git)
{
	AUTO_FREE char *above = mem_printf("%s/worktrees/", git->common);
	AUTO_FREE char *pointer = mem_printf("%s/gitdir", git->dir);
	AUTO_FREE char *wanted = mem_printf("%s/.git", git->root);
	AUTO_FREE char *named = NULL;
	AUTO_BUF text = BUF_INIT;

	if (!str_starts(git->dir, above) || strchr(git->dir + strlen(above), '/') ||
	    file_read(AT_FDCWD, pointer, POINTER_MAX, &text) < 0)
		return false;
	if (text.len > 0 && text.ptr[text.len - 1] == '\n')
		buf_truncate(&text, text.len - 1);
	if (text.ptr[0] != '/') {
		AUTO_FREE char *joined = mem_printf("%s/%s", git->dir, text.ptr);

		buf_clear(&text);
		buf_add_str(&text, joined);
	}
	named = real_path(text.ptr);
	return str_eq(named, wanted);
}

/* A submodule's repository has its working tree in core.worktree. */
static bool is_submodule(const struct git *git, const struct cancel *cancel)
{
	AUTO_FREE char *config = mem_printf("%s/config", git->dir);
	const char *const args[] = { "config",	    "--file", config,	       "--no-includes",
				     "--type=path", "--get",  "core.worktree", NULL };
	const struct git_call call = { .args = args, .cancel = cancel, .may_say_no = true };
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *tree = NULL;
	struct err ignored = ERR_INIT;

	if (!str_eq(git->dir, git->common) || git_ask("/", &call, &path, &ignored) < 0 || !path)
		return false;
	if (path[0] != '/') {
		AUTO_FREE char *joined = mem_printf("%s/%s", git->dir, path);

		tree = real_path(joined);
	} else {
		tree = real_path(path);
	}
	return str_eq(tree, git->root);
}

static int check_belongs(const struct git *git, const struct cancel *cancel, struct err *err)
{
	AUTO_FREE char *entry = mem_printf("%s/.git", git->root);
	struct stat status;
	int r;

	if (lstat(entry, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", entry);
	if (S_ISDIR(status.st_mode) && str_eq(git->dir, entry) && str_eq(git->common, entry))
		return 0;
	if (S_ISREG(status.st_mode) && (is_linked_tree(git) || is_submodule(git, cancel)))
		return 0;
	r = err_set(err, ERR_INVALID,
		    "'%s' leads to '%s', which does not say that this is its working tree", entry,
		    S_ISDIR(status.st_mode) ? git->common : git->dir);
	err_hint(err, "'git worktree add' and 'git submodule' make such links both ways");
	return r;
}

/* "filter.NAME.KEY" for each that the configuration has. */
static int find_filters(const struct cancel *cancel, struct git *git, struct err *err)
{
	static const char *const args[] = { "config",	    "-z",	  "--name-only",
					    "--get-regexp", "^filter\\.", NULL };
	const struct git_call call = { .args = args,
				       .cancel = cancel,
				       .may_say_no = true,
				       .output_max = 1UL << 20,
				       .reads_user_config = true };
	AUTO_BUF text = BUF_INIT;
	int r;

	r = git_run(git, &call, &text, err);
	for (size_t at = 0; r == 0 && at < text.len; at += strlen(text.ptr + at) + 1) {
		const char *name = text.ptr + at + strlen("filter.");
		const char *dot = strrchr(name, '.');
		AUTO_FREE char *filter = NULL;

		/* "filter.clean" has no name and is nothing. */
		if (text.len - at <= strlen("filter.") || !dot || dot == name)
			continue;
		filter = mem_strndup(name, (size_t)(dot - name));
		if (strv_has(&git->filters, filter))
			continue;
		if (git->filters.count >= GIT_FILTERS_MAX)
			return err_set(err, ERR_LIMIT,
				       "the configuration of '%s' has over %d filters", git->root,
				       GIT_FILTERS_MAX);
		strv_take(&git->filters, TAKE_PTR(filter));
	}
	return r;
}

int git_open(const char *path, const struct cancel *cancel, struct git *ret, struct err *err)
{
	AUTO_GIT git = GIT_INIT;
	int r;

	r = find_root(path, &git.root, err);
	if (r == 0)
		r = check_own_kinds(&git, err);
	if (r == 0)
		r = locate(cancel, &git, err);
	if (r == 0)
		r = check_belongs(&git, cancel, err);
	if (r == 0)
		r = git_check_kinds(git.dir, err);
	if (r == 0)
		r = git_check_kinds(git.common, err);
	if (r == 0)
		r = git_check_links(git.dir, err);
	if (r == 0 && !str_eq(git.dir, git.common))
		r = git_check_links(git.common, err);
	if (r == 0)
		r = find_filters(cancel, &git, err);
	if (r < 0)
		return r;
	*ret = git;
	git = GIT_INIT;
	return 0;
}
