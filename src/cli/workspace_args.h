/* What `vm workspace prepare` and `vm run PATH` share: options, the checkout, and its way into a
 * VM. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "cli/opt.h"
#include "workspace/prepare.h"

struct cli;

struct workspace_args {
	const char *guest_path; /* NULL: WORKSPACE_GUEST_PATH */
	const char *branch;
	const char *from;
	const char *mode; /* NULL: shallow_overlay */
	bool include_untracked;
	bool dry_run;
};

int workspace_args_check_path(const char *text, struct err *err) MUST_CHECK;
int workspace_args_check_mode(const char *text, struct err *err) MUST_CHECK;
extern const char *const workspace_args_modes[]; /* NULL-terminated */

#define WORKSPACE_OPT_FIELD(owner, field) \
	offsetof(owner, workspace) + offsetof(struct workspace_args, field)
/* Rows for a table whose struct `owner` has the member `workspace`. */
#define WORKSPACE_OPTS(owner)                                                                \
	{ .type = OPT_STRING,                                                                \
	  .name = "guest-path",                                                              \
	  .offset = WORKSPACE_OPT_FIELD(owner, guest_path),                                  \
	  .metavar = "DIR",                                                                  \
	  .help = "folder in the guest for the checkout (default: /root/repo)",              \
	  .check = workspace_args_check_path },                                              \
		{ .type = OPT_STRING,                                                        \
		  .name = "branch",                                                          \
		  .offset = WORKSPACE_OPT_FIELD(owner, branch),                              \
		  .metavar = "NEW",                                                          \
		  .help = "the guest is on a branch of this name (default: the host's)" },   \
		{ .type = OPT_STRING,                                                        \
		  .name = "from",                                                            \
		  .offset = WORKSPACE_OPT_FIELD(owner, from),                                \
		  .metavar = "REF",                                                          \
		  .help = "where --branch begins, each time; uncommitted work is "           \
			  "carried over (default: HEAD)" },                                  \
		{ .type = OPT_STRING,                                                        \
		  .name = "mode",                                                            \
		  .offset = WORKSPACE_OPT_FIELD(owner, mode),                                \
		  .metavar = "MODE",                                                         \
		  .help = "shallow_overlay: the commit and the files; full_copy: also "      \
			  "history and submodules (default: shallow_overlay)",               \
		  .check = workspace_args_check_mode,                                        \
		  .choices = workspace_args_modes },                                         \
		{ .type = OPT_FLAG,                                                          \
		  .name = "include-untracked",                                               \
		  .offset = WORKSPACE_OPT_FIELD(owner, include_untracked),                   \
		  .help = "also files that git does not track, but none that are ignored" }, \
	{                                                                                    \
		.type = OPT_FLAG, .name = "dry-run",                                         \
		.offset = WORKSPACE_OPT_FIELD(owner, dry_run),                               \
		.help = "list the files, and touch nothing"                                  \
	}

/* Whether one of them was given, for a command that goes without a checkout too. */
bool workspace_args_are_given(const struct workspace_args *args);

/* --from goes with --branch. */
int workspace_args_check(const struct workspace_args *args, struct err *err) MUST_CHECK;

const char *workspace_args_guest_path(const struct workspace_args *args);

/*
 * Looks at the checkout, with progress, before anything is made for it. `last` (may be NULL) is how
 * it was asked for the last time.
 */
int workspace_args_open(struct cli *cli, const char *path, const struct workspace_args *args,
			const struct workspace_last *last, struct workspace *ret, struct err *err)
	MUST_CHECK;

/*
 * Brings it into a running VM and has that recorded; notes tell what was left out. *ret_json (may
 * be NULL) is what `--json` prints. `name` is for messages.
 */
struct workspace_target {
	const char *vm;	  /* name or id */
	const char *name; /* for messages */
	bool force;
};
int workspace_args_ship(struct cli *cli, struct workspace *workspace,
			const struct workspace_args *args, const struct workspace_target *target,
			json_t **ret_json, struct err *err) MUST_CHECK;

/* Prints what would be shipped; `target` NULL: into a new VM. */
int workspace_args_list(struct cli *cli, struct workspace *workspace,
			const struct workspace_args *args, const struct workspace_target *target,
			struct err *err) MUST_CHECK;
