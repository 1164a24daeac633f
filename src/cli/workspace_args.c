#include "cli/workspace_args.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/progress_view.h"
#include "cli/request.h"

#define SILENT_MS      1000 /* what takes no longer is not worth a word */
#define PATH_SHOWN_MAX 1024
#define FROM_BYTES_MAX 1024
#define NESTED_MAX     8 /* submodules inside one another */

static const char mode_shallow[] = "shallow_overlay";
static const char mode_full[] = "full_copy";

const char *const workspace_args_modes[] = { mode_shallow, mode_full, NULL };

int workspace_args_check_path(const char *text, struct err *err)
{
	const size_t len = strlen(text);

	if (text[0] != '/' || len > 1024 || !text_is_utf8(span_str(text)))
		return err_set(err, ERR_INVALID, "'%s' is no absolute path in the guest", text);
	if (strstr(text, "//") || strstr(text, "/./") || strstr(text, "/../") ||
	    str_ends(text, "/") || str_ends(text, "/.") || str_ends(text, "/.."))
		return err_set(err, ERR_INVALID, "'%s' must name a folder plainly, such as '%s'",
			       text, WORKSPACE_GUEST_PATH);
	return 0;
}

int workspace_args_check_mode(const char *text, struct err *err)
{
	if (!str_eq(text, mode_shallow) && !str_eq(text, mode_full))
		return err_set(err, ERR_INVALID, "'%s' is neither shallow_overlay nor full_copy",
			       text);
	return 0;
}

bool workspace_args_are_given(const struct workspace_args *args)
{
	return args->guest_path || args->branch || args->from || args->mode ||
	       args->include_untracked || args->dry_run;
}

int workspace_args_check(const struct workspace_args *args, struct err *err)
{
	if (args->from && !args->branch)
		return err_set(err, ERR_INVALID, "--from goes with --branch");
	if (args->from && (!args->from[0] || strlen(args->from) > FROM_BYTES_MAX))
		return err_set(err, ERR_INVALID, "--from names a commit, in at most %d bytes",
			       FROM_BYTES_MAX);
	return 0;
}

const char *workspace_args_guest_path(const struct workspace_args *args)
{
	return args->guest_path ? args->guest_path : WORKSPACE_GUEST_PATH;
}

/* --- the view --- */

struct shown {
	struct progress_view view;
	struct progress sink;
	uint64_t began_ms;
};

static void show(void *context, const struct progress_event *event)
{
	struct shown *shown = context;

	if (clock_now_ms() - shown->began_ms < SILENT_MS)
		return;
	progress_report(&shown->sink, event->stage, event->detail, event->done, event->total);
	progress_view_tick(&shown->view);
}

static struct progress shown_begin(struct shown *shown, struct cli *cli)
{
	*shown = (struct shown){ .began_ms = clock_now_ms() };
	progress_view_init(&shown->view, &cli->out, NULL);
	shown->sink = progress_view_sink(&shown->view);
	return (struct progress){ .report = show, .context = shown };
}

static void shown_end(struct shown *shown, int r)
{
	progress_view_finish(&shown->view, r == 0);
	progress_view_done(&shown->view);
}

int workspace_args_open(struct cli *cli, const char *path, const struct workspace_args *args,
			const struct workspace_last *last, struct workspace *ret, struct err *err)
{
	const struct workspace_wish wish = { .path = path,
					     .branch = args->branch,
					     .from = args->from,
					     .last = last,
					     .is_full = str_eq(args->mode, mode_full),
					     .includes_untracked = args->include_untracked };
	struct shown shown;
	const struct progress progress = shown_begin(&shown, cli);
	const int r = workspace_open(&wish, &cli->cancel, &progress, ret, err);

	shown_end(&shown, r);
	return r;
}

/* --- the way into a VM --- */

struct way {
	struct cli *cli;
	const char *vm;
	const char *guest_path;
	bool has_begun;
};

static int call(struct way *way, json_t *params, int *ret_fd, struct err *err)
{
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(params, "vm", way->vm);
	r = request_call(way->cli, "vm.workspace.prepare", params, &fd, &result, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", way->vm);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_stream(void *context, int *ret_fd, struct err *err)
{
	return call(context, json_new_object(), ret_fd, err);
}

/* What is recorded does not hold from now on. The stream that comes with it is not needed. */
static int record_beginning(void *context, struct err *err)
{
	struct way *way = context;
	json_t *params;
	AUTO_CLOSE int fd = -1;

	if (way->has_begun)
		return 0;
	params = json_new_object();
	json_put_str(params, "guest_path", way->guest_path);
	json_put_bool(params, "pending", true);
	way->has_begun = true;
	return call(way, params, &fd, err);
}

static int record(struct way *way, const struct workspace *workspace, struct err *err)
{
	const struct workspace_wish *wish = &workspace->wish;
	json_t *params = json_new_object();
	AUTO_CLOSE int fd = -1;

	json_put_str(params, "guest_path", way->guest_path);
	json_put_str(params, "host_path", workspace->git.root);
	if (workspace->facts.host_head)
		json_put_str(params, "head", workspace->facts.host_head);
	json_put_str(params, "fingerprint", workspace->fingerprint);
	if (wish->branch)
		json_put_str(params, "branch", wish->branch);
	if (wish->branch && wish->from)
		json_put_str(params, "from", wish->from);
	json_put_str(params, "mode", wish->is_full ? mode_full : mode_shallow);
	json_put_bool(params, "include_untracked", wish->includes_untracked);
	return call(way, params, &fd, err);
}

/* --- what is told --- */

static void note_count(struct cli *cli, uint64_t count, const char *one, const char *many,
		       const char *rest)
{
	if (count > 0)
		out_note(&cli->out, "%llu %s %s", (unsigned long long)count,
			 count == 1 ? one : many, rest);
}

static void note_empty(struct cli *cli, const struct scan *scan)
{
	note_count(cli, scan->empty_submodules, "submodule is", "submodules are",
		   "left empty: not initialised here ('git submodule update --init')");
}

static void note_left_out(struct cli *cli, const struct workspace *workspace)
{
	const struct scan *scan = &workspace->scan;

	note_count(cli, scan->left_out, "untracked file is", "untracked files are",
		   "left out: --include-untracked ships them");
	note_count(
		cli, scan->special, "file is", "files are",
		"left out: neither file, folder nor link, a repository inside this one, or a name "
		"that git does not take");
	if (workspace->wish.is_full)
		note_empty(cli, scan);
	else
		note_count(cli, scan->submodules.count, "submodule is", "submodules are",
			   "not shipped: --mode full_copy ships them");
	if (workspace->facts.lost_origin)
		out_note(&cli->out,
			 "the remote 'origin' is left out: a guest could not use its URL");
}

static void note_conflicts(struct cli *cli, const struct buf *names, const char *what)
{
	uint64_t count = 0;

	for (size_t at = 0; at < names->len; at += strlen(names->ptr + at) + 1) {
		AUTO_BUF text = BUF_INIT;

		if (count++ >= WORKSPACE_CONFLICTS_MAX)
			continue;
		text_escape(&text, span_str(names->ptr + at), PATH_SHOWN_MAX);
		out_note(&cli->out, "%s: %s", what, text.ptr);
	}
	if (count > WORKSPACE_CONFLICTS_MAX)
		out_note(&cli->out, "%s: %llu more", what,
			 (unsigned long long)(count - WORKSPACE_CONFLICTS_MAX));
}

static json_t *describe(const struct workspace *workspace, const struct workspace_result *result,
			const char *guest_path)
{
	json_t *json = json_new_object();

	json_put_str(json, "guest_path", guest_path);
	json_put_str(json, "host_path", workspace->git.root);
	json_put_str(json, "head", workspace->facts.head);
	json_put_str(json, "branch", workspace->facts.branch);
	json_put_bool(json, "first", result->is_first);
	json_put_u64(json, "added", result->added);
	json_put_u64(json, "changed", result->changed);
	json_put_u64(json, "removed", result->removed);
	json_put_u64(json, "untracked_left_out", workspace->scan.left_out);
	json_put_u64(json, "special_left_out", workspace->scan.special);
	json_put_u64(json, "submodules", workspace->scan.submodules.count);
	return json;
}

/* --- shipping --- */

struct shipping {
	struct cli *cli;
	const struct workspace_way *way;
	const struct workspace_args *args;
	bool force;
};

static int ship_one(const struct shipping *shipping, struct workspace *workspace,
		    const char *guest_path, struct workspace_result *ret, struct err *err)
{
	const struct workspace_ship ship = { .guest_path = guest_path, .force = shipping->force };
	const int r = workspace_ship(workspace, shipping->way, &ship, ret, err);

	note_conflicts(shipping->cli, &ret->conflicts,
		       r < 0 ? "changed on both sides" : "replaced");
	return r;
}

/* Each is a repository of its own, in its place below the one that it is part of; its files are
   counted with those of the others.
   NOLINTNEXTLINE(misc-no-recursion): NESTED_MAX deep */
static int ship_submodules(const struct shipping *shipping, const struct workspace *above,
			   const char *guest_path, unsigned int depth,
			   struct workspace_result *total, struct err *err)
{
	int r = 0;

	if (depth > NESTED_MAX)
		return err_set(err, ERR_LIMIT, "submodules are nested over %d deep", NESTED_MAX);
	for (size_t i = 0; r == 0 && i < above->scan.submodules.count; i++) {
		const char *name = above->scan.submodules.items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", above->git.root, name);
		AUTO_FREE char *inside = mem_printf("%s/%s", guest_path, name);
		const struct workspace_wish wish = { .path = path,
						     .is_full = true,
						     .includes_untracked =
							     above->wish.includes_untracked };
		AUTO_WORKSPACE_RESULT result = { .conflicts = BUF_INIT };
		AUTO_WORKSPACE workspace = WORKSPACE_INIT;

		r = workspace_open(&wish, shipping->way->cancel, shipping->way->progress,
				   &workspace, err);
		if (r == 0 && !str_eq(workspace.git.root, path))
			r = err_set(err, ERR_INVALID, "it is behind a link");
		if (r == 0) {
			note_empty(shipping->cli, &workspace.scan);
			r = ship_one(shipping, &workspace, inside, &result, err);
		}
		if (r == 0)
			r = ship_submodules(shipping, &workspace, inside, depth + 1, total, err);
		total->added += result.added;
		total->changed += result.changed;
		total->removed += result.removed;
		if (r < 0)
			return err_context(err, r, "submodule '%s'", name);
	}
	return r;
}

static int ship_all(const struct shipping *shipping, struct workspace *workspace,
		    const char *guest_path, struct workspace_result *ret, struct err *err)
{
	const int r = ship_one(shipping, workspace, guest_path, ret, err);

	if (r < 0 || !workspace->wish.is_full)
		return r;
	return ship_submodules(shipping, workspace, guest_path, 1, ret, err);
}

int workspace_args_ship(struct cli *cli, struct workspace *workspace,
			const struct workspace_args *args, const struct workspace_target *target,
			json_t **ret_json, struct err *err)
{
	const char *guest_path = workspace_args_guest_path(args);
	AUTO_WORKSPACE_RESULT result = { .conflicts = BUF_INIT };
	struct way way = { .cli = cli, .vm = target->vm, .guest_path = guest_path };
	struct shown shown;
	const struct progress progress = shown_begin(&shown, cli);
	const struct workspace_way workspace_way = {
		.open = open_stream,
		.begins = record_beginning,
		.context = &way,
		.cancel = &cli->cancel,
		.progress = &progress,
	};
	const struct shipping shipping = {
		.cli = cli, .way = &workspace_way, .args = args, .force = target->force
	};
	int r;

	note_left_out(cli, workspace);
	r = ship_all(&shipping, workspace, guest_path, &result, err);
	shown_end(&shown, r);
	if (r == 0)
		r = record(&way, workspace, err);
	if (r < 0 && err->kind == ERR_CANCELLED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r < 0)
		return err_context(err, r, "cannot bring '%s' into '%s'", workspace->wish.path,
				   target->name);
	if (ret_json)
		*ret_json = describe(workspace, &result, guest_path);
	return 0;
}

/* --- without doing it --- */

static json_t *list_json(const struct buf *names)
{
	json_t *list = json_new_array();

	for (size_t at = 0; at < names->len;) {
		const char *change = names->ptr + at;
		const char *path = change + strlen(change) + 1;
		json_t *file = json_new_object();

		json_put_str(file, "change",
			     change[0] == 'A'	? "added"
			     : change[0] == 'M' ? "changed"
						: "removed");
		json_put_str(file, "path", path);
		json_add(list, file);
		at += strlen(change) + 1 + strlen(path) + 1;
	}
	return list;
}

static void print_list(struct cli *cli, const struct buf *names)
{
	for (size_t at = 0; at < names->len;) {
		const char *change = names->ptr + at;
		const char *path = change + strlen(change) + 1;

		out_addf(&cli->out, "%s ", change);
		text_escape(&cli->out.pending, span_str(path), (size_t)PATH_SHOWN_MAX * 4);
		out_addf(&cli->out, "\n");
		at += strlen(change) + 1 + strlen(path) + 1;
	}
}

int workspace_args_list(struct cli *cli, struct workspace *workspace,
			const struct workspace_args *args, const struct workspace_target *target,
			struct err *err)
{
	const struct workspace_ship ship = { .guest_path = workspace_args_guest_path(args),
					     .force = target && target->force };
	struct way way = { .cli = cli, .vm = target ? target->vm : NULL };
	const struct workspace_way workspace_way = { .open = open_stream,
						     .context = &way,
						     .cancel = &cli->cancel };
	AUTO_BUF names = BUF_INIT;
	int r;

	r = workspace_list(workspace, target ? &workspace_way : NULL, &ship, &names, err);
	if (r < 0)
		return r;
	note_left_out(cli, workspace);
	if (cli->out.is_json) {
		AUTO_JSON *json = json_new_object();

		json_put(json, "files", list_json(&names));
		json_put_u64(json, "untracked_left_out", workspace->scan.left_out);
		out_json(&cli->out, json);
	} else {
		print_list(cli, &names);
	}
	return 0;
}
