/*
 * What workspace.bats drives src/workspace with, against an agent on a Unix socket of this machine:
 *
 *     workspace_tool prepare SOCKET PATH GUEST_PATH [WORD...]
 *     workspace_tool list SOCKET|- PATH GUEST_PATH [WORD...]
 *     workspace_tool origin URL
 *     workspace_tool fingerprint PATH [WORD...]
 *     workspace_tool export SOCKET patch|bundle GUEST_PATH FILE
 *
 * WORD is untracked, full, force, branch=NAME, from=REF, last_branch=NAME and last_from=REF (of
 * the last time, for PATH), cancel=STAGE (fires when that stage is first told of) or stop=STAGE
 * (then it stops itself with SIGSTOP). Prints what
 * came of it, or "error KIND: MESSAGE" and then the conflicts; 0 or 1.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "workspace/export.h"
#include "workspace/origin.h"
#include "workspace/prepare.h"

#define EXPORT_BYTES_MAX (4UL << 30)

struct tool {
	const char *socket;
	struct workspace_wish wish;
	struct workspace_last last;
	struct workspace_ship ship;
	struct cancel cancel;
	const char *cancel_stage;
	const char *stop_stage;
};

static int open_stream(void *context, int *ret_fd, struct err *err)
{
	const struct tool *tool = context;

	return unix_connect(tool->socket, ret_fd, err);
}

static void report(void *context, const struct progress_event *event)
{
	struct tool *tool = context;

	if (str_eq(event->stage, tool->cancel_stage))
		cancel_fire(&tool->cancel);
	if (str_eq(event->stage, tool->stop_stage)) {
		tool->stop_stage = NULL;
		(void)raise(SIGSTOP);
	}
}

static void read_word(struct tool *tool, const char *word)
{
	if (str_eq(word, "untracked"))
		tool->wish.includes_untracked = true;
	else if (str_eq(word, "full"))
		tool->wish.is_full = true;
	else if (str_eq(word, "force"))
		tool->ship.force = true;
	else if (str_starts(word, "branch="))
		tool->wish.branch = word + strlen("branch=");
	else if (str_starts(word, "from="))
		tool->wish.from = word + strlen("from=");
	else if (str_starts(word, "last_branch="))
		tool->last.branch = word + strlen("last_branch=");
	else if (str_starts(word, "last_from="))
		tool->last.from = word + strlen("last_from=");
	else if (str_starts(word, "cancel="))
		tool->cancel_stage = word + strlen("cancel=");
	else if (str_starts(word, "stop="))
		tool->stop_stage = word + strlen("stop=");
	else
		exit(2);
}

static int fail(const struct err *err)
{
	(void)printf("error %s: %s\n", err_kind_name(err->kind), err->message);
	if (err->hint[0])
		(void)printf("hint: %s\n", err->hint);
	return 1;
}

static void print_names(const struct buf *names)
{
	for (size_t at = 0; at < names->len; at += strlen(names->ptr + at) + 1)
		(void)printf("%s\n", names->ptr + at);
}

static int prepare(struct tool *tool, const struct workspace_way *way, struct workspace *workspace)
{
	AUTO_WORKSPACE_RESULT result = { .conflicts = BUF_INIT };
	struct err err = ERR_INIT;

	if (workspace_ship(workspace, way, &tool->ship, &result, &err) < 0) {
		const int status = fail(&err);

		print_names(&result.conflicts);
		return status;
	}
	(void)printf("%s added=%" PRIu64 " changed=%" PRIu64 " removed=%" PRIu64
		     " left_out=%" PRIu64 " special=%" PRIu64 " submodules=%zu\n",
		     result.is_first	 ? "first"
		     : result.is_current ? "current"
					 : "again",
		     result.added, result.changed, result.removed, workspace->scan.left_out,
		     workspace->scan.special, workspace->scan.submodules.count);
	print_names(&result.conflicts);
	return 0;
}

static int list(struct tool *tool, const struct workspace_way *way, struct workspace *workspace)
{
	AUTO_BUF names = BUF_INIT;
	struct err err = ERR_INIT;

	if (workspace_list(workspace, str_eq(tool->socket, "-") ? NULL : way, &tool->ship, &names,
			   &err) < 0)
		return fail(&err);
	print_names(&names);
	return 0;
}

static int origin(const char *url)
{
	AUTO_BUF clean = BUF_INIT;

	if (!origin_clean(span_str(url), &clean))
		return 1;
	(void)printf("%s\n", clean.ptr);
	return 0;
}

static int fingerprint(const char *path, const struct workspace_wish *wish)
{
	const struct fingerprint_wish print_wish = {
		.includes_untracked = wish->includes_untracked,
		.is_full = wish->is_full,
		.from = wish->from,
	};
	char print[FINGERPRINT_SIZE];
	struct err err = ERR_INIT;
	AUTO_GIT git = GIT_INIT;

	if (git_open(path, NULL, &git, &err) < 0 ||
	    fingerprint_checkout(&git, &print_wish, NULL, print, &err) < 0)
		return fail(&err);
	(void)printf("%s\n", print);
	return 0;
}

/* Into a new file; prints how many files or references are in it. */
static int export(const char *socket, bool is_bundle, const char *guest_path, const char *path)
{
	AUTO_EXPORT_RESULT result = { .bytes = 0 };
	AUTO_CLOSE int out_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	AUTO_CLOSE int fd = -1;
	struct err err = ERR_INIT;

	if (out_fd < 0)
		return 2;
	if (unix_connect(socket, &fd, &err) < 0)
		return fail(&err);
	const struct export_job job = { .fd = fd,
					.folder = guest_path,
					.is_bundle = is_bundle,
					.bytes_max = EXPORT_BYTES_MAX,
					.out_fd = out_fd };

	if (export_run(&job, &result, &err) < 0)
		return fail(&err);
	(void)printf("%" PRIu64 "\n", is_bundle ? result.commits : result.summary.files);
	for (size_t i = 0; i < result.submodules.count; i++)
		(void)printf("submodule %s\n", result.submodules.items[i]);
	return 0;
}

int main(int argc, char **argv)
{
	AUTO_WORKSPACE workspace = WORKSPACE_INIT;
	struct tool tool = { .cancel = CANCEL_INIT };
	struct err err = ERR_INIT;

	if (argc == 3 && str_eq(argv[1], "origin"))
		return origin(argv[2]);
	if (argc >= 3 && str_eq(argv[1], "fingerprint")) {
		for (int i = 3; i < argc; i++)
			read_word(&tool, argv[i]);
		return fingerprint(argv[2], &tool.wish);
	}
	if (argc == 6 && str_eq(argv[1], "export"))
		return export(argv[2], str_eq(argv[3], "bundle"), argv[4], argv[5]);
	if (argc < 5 || cancel_init(&tool.cancel) < 0)
		return 2;
	tool.socket = argv[2];
	tool.wish.path = argv[3];
	tool.last.host = argv[3];
	tool.wish.last = &tool.last;
	tool.ship.guest_path = argv[4];
	for (int i = 5; i < argc; i++)
		read_word(&tool, argv[i]);
	const struct progress progress = { .report = report, .context = &tool };
	const struct workspace_way way = {
		.open = open_stream, .context = &tool, .cancel = &tool.cancel, .progress = &progress
	};

	if (workspace_open(&tool.wish, &tool.cancel, &progress, &workspace, &err) < 0)
		return fail(&err);
	return str_eq(argv[1], "list") ? list(&tool, &way, &workspace)
				       : prepare(&tool, &way, &workspace);
}
