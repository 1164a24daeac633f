#include "workspace/ship_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "workspace/conflicts.h"
#include "workspace/content.h"
#include "workspace/hash.h"
#include "workspace/head.h"
#include "workspace/manifest.h"
#include "workspace/plan.h"
#include "workspace/prepare.h"
#include "workspace/scripts.h"

#define CONFLICTS_MAX (16UL << 20) /* bytes of their names */
#define ENDS_ARG      9		   /* of script_apply(), as the next three; from 0 */
#define MANIFEST_ARG  6
#define HEAD_ARG      7
#define MOVES_ARG     11
#define PENDING_MAX   (1UL << 20)

static const char mode_shallow[] = "shallow_overlay";
static const char mode_full[] = "full_copy";

/* Lists that go along with the files. */
enum note { NOTE_INDEX, NOTE_SKIP, NOTE_UNSKIP, NOTE_MANIFEST, NOTE_COUNT };

static void ship_done(struct ship *ship)
{
	buf_done(&ship->said);
	manifest_head_done(&ship->had);
	manifest_head_done(&ship->gets);
	plan_done(&ship->plan);
	buf_done(&ship->manifest);
	mem_free(ship->folder);
	fd_closep(&ship->hold_fd);
}

/* --- what there is --- */

static int check_state(const struct ship *ship, struct err *err)
{
	const char *path = ship->wish->guest_path;
	int r = 0;

	if (!ship->look.has_git) {
		r = err_set(err, ERR_UNSUPPORTED, "the guest has no git, which a workspace needs");
		err_hint(err,
			 "use an image with git (debian-bookworm has it), install it there "
			 "('apt-get install git', 'apk add git'), or copy the files alone with "
			 "'banger vm cp'");
	} else if (ship->look.state == GUEST_FOREIGN) {
		r = err_set(err, ERR_EXISTS,
			    "'%s' in the guest is there already, and not from here", path);
		err_hint(err, "choose another folder with --guest-path, or remove it there first");
	}
	return r;
}

static int look(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->wish->guest_path, NULL };
	const struct guest_script script = {
		.text = script_look, .args = args, .what = "look at the workspace", .input_fd = -1
	};
	int r;

	r = guest_script_run(ship->way, &script, &ship->said, err);
	if (r == 0)
		r = workspace_read_look(buf_span(&ship->said), &ship->look, err);
	if (r == 0)
		r = check_state(ship, err);
	if (r < 0 || ship_is_first(ship))
		return r;
	ship->had_entries = ship->look.manifest;
	r = manifest_read_head(&ship->had_entries, &ship->had, err);
	if (r == 0 && !str_eq(ship->had.host, ship->workspace->git.root) && !ship->wish->force) {
		r = err_set(err, ERR_EXISTS, "'%s' in the guest is from '%s'",
			    ship->wish->guest_path, ship->had.host);
		err_hint(err, "choose another folder with --guest-path, or --force");
	}
	return r;
}

static int check_head(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->wish->guest_path, ship->gets.branch, ship->put_name,
				     NULL };
	const struct guest_script script = { .text = script_refs,
					     .args = args,
					     .what = "look at the branch",
					     .input_fd = -1,
					     .output_max = (size_t)PATH_SAID_MAX * 2 };
	struct head_refs refs = { .tip = span_of("", 0) };
	AUTO_BUF said = BUF_INIT;
	int r = 0;

	if (!str_empty(ship->gets.branch)) {
		r = guest_script_run(ship->way, &script, &said, err);
		if (r == 0)
			r = head_read_refs(buf_span(&said), &refs, err);
	}
	return r < 0 ? r
		     : head_check(&ship->look, &ship->had, &ship->gets, &refs, ship->wish->force,
				  err);
}

/* HEAD and branch to be, and whether that leaves commits of the guest's behind. */
static int decide_head(struct ship *ship, struct err *err)
{
	const struct workspace *workspace = ship->workspace;
	const struct facts *facts = &workspace->facts;
	const bool keeps_branch = !ship_is_first(ship) && ship->had.is_named && !facts->is_named;
	int r;

	ship->gets = (struct manifest_head){
		.host = mem_strdup(workspace->git.root),
		.head = mem_strdup(facts->head ? facts->head : ""),
		.branch = mem_strdup(keeps_branch    ? ship->had.branch
				     : facts->branch ? facts->branch
						     : ""),
		.mode = mem_strdup(workspace->wish.is_full ? mode_full : mode_shallow),
		.is_named = facts->is_named || keeps_branch,
		.has_from = facts->is_named && workspace->wish.from,
	};
	/* The guest is not asked which of the host's commits it is to have. */
	if (keeps_branch && ship->had.has_from) {
		r = err_set(
			err, ERR_BAD_STATE,
			"the guest is on a branch that does not begin at HEAD, and the record of "
			"where is not of this folder");
		err_hint(err, "name it again with --branch and --from");
		return r;
	}
	ship->moves_head = ship_is_first(ship) || !str_eq(ship->gets.head, ship->had.head) ||
			   !str_eq(ship->gets.branch, ship->had.branch);
	r = blob_hash_of(false, span_str(ship->gets.branch), ship->put_name, err);
	return r < 0 || ship_is_first(ship) || !ship->moves_head ? r : check_head(ship, err);
}

static int plan(struct ship *ship, struct err *err)
{
	const struct span now = buf_span(&ship->workspace->scan.manifest);
	int r;

	plan_done(&ship->plan);
	ship->plan = PLAN_INIT;
	r = plan_make(ship->had_entries, now, ship_is_first(ship), &ship->plan, err);
	if (r < 0)
		return r;
	buf_clear(&ship->manifest);
	manifest_add_head(&ship->manifest, &ship->gets);
	ship->result->added = ship->plan.added;
	ship->result->changed = ship->plan.changed;
	ship->result->removed = ship->plan.removed;
	return 0;
}

/*
 * What the guest has in its index alone is in no file that could be found to have changed: the
 * host's lines of the index would replace it.
 */
static int check_staged(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->wish->guest_path, NULL };
	const struct guest_script script = { .text = script_staged,
					     .args = args,
					     .what = "look at what is staged",
					     .input_fd = -1 };
	struct buf *names = &ship->result->conflicts;
	AUTO_BUF said = BUF_INIT;
	uint64_t count = 0;
	int r;

	if (ship_is_first(ship) || ship->plan.index_info.len == 0)
		return 0;
	r = guest_script_run(ship->way, &script, &said, err);
	if (r == 0)
		r = conflicts_staged(buf_span(&said), ship->had_entries,
				     buf_span(&ship->workspace->scan.manifest), names, err);
	if (r < 0 || names->len == 0 || ship->wish->force)
		return r;
	for (size_t i = 0; i < names->len; i++)
		count += names->ptr[i] == '\0';
	r = err_set(err, ERR_BAD_STATE,
		    "the guest has staged changes of %llu %s, as the host has made other ones",
		    (unsigned long long)count, count == 1 ? "file" : "files");
	err_hint(err, "commit them in the guest, take them back ('git restore --staged'), or take "
		      "the host's with --force");
	return r;
}

static bool is_current(const struct ship *ship)
{
	return !ship_is_first(ship) && !ship->moves_head && ship->plan.tree_info.len == 0 &&
	       ship->plan.index_info.len == 0 && ship->plan.skip.len == 0 &&
	       ship->plan.unskip.len == 0 && str_eq(ship->had.host, ship->gets.host) &&
	       str_eq(ship->had.mode, ship->gets.mode);
}

/* --- files, and the lists that go with them --- */

/* What goes to the guest with the files, once. */
struct delivery {
	char oids[NOTE_COUNT][GIT_OID_HEX_MAX + 1]; /* by which script_apply() asks; "": empty */
	struct content content;
	const struct progress *progress;
	bool is_taken;
};

static void delivery_done(struct delivery *delivery)
{
	content_done(&delivery->content);
}

static int note_name(bool is_sha256, const struct content_note *note,
		     char ret[static GIT_OID_HEX_MAX + 1], struct err *err)
{
	AUTO_BLOB_HASH hash = { .context = NULL };
	const int r = blob_hash_begin(&hash, is_sha256, note->head.len + note->rest.len, err);

	if (r < 0)
		return r;
	blob_hash_add(&hash, note->head);
	blob_hash_add(&hash, note->rest);
	blob_hash_end(&hash, ret);
	return 0;
}

static int delivery_init(struct delivery *delivery, struct ship *ship, struct err *err)
{
	const bool is_sha256 = ship->workspace->git.is_sha256;
	const struct content_note notes[NOTE_COUNT] = {
		{ .head = buf_span(&ship->plan.index_info) },
		{ .head = buf_span(&ship->plan.skip) },
		{ .head = buf_span(&ship->plan.unskip) },
		{ .head = buf_span(&ship->manifest),
		  .rest = buf_span(&ship->workspace->scan.manifest) },
	};

	*delivery = (struct delivery){ .progress = ship->way->progress };
	content_init(&delivery->content, ship->workspace->root_fd, is_sha256, &ship->plan,
		     ship->look.tree);
	for (size_t i = 0; i < NOTE_COUNT; i++) {
		int r;

		if (notes[i].head.len == 0)
			continue;
		content_add_note(&delivery->content, notes[i]);
		r = note_name(is_sha256, &notes[i], delivery->oids[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* At the end of its input the guest writes the files. */
static ssize_t delivery_read(void *context, void *into, size_t size, struct err *err)
{
	struct delivery *delivery = context;
	const ssize_t n = content_read(&delivery->content, into, size, err);

	if (n == 0)
		progress_report(delivery->progress, "write", NULL, 0, 0);
	return n;
}

/* Commits at which the guest's history ends. */
static void add_ends(const struct ship *ship, struct buf *out)
{
	const struct facts *facts = &ship->workspace->facts;

	if (!ship->workspace->wish.is_full) {
		if (facts->head && facts->has_parents)
			buf_add_str(out, facts->head);
		return;
	}
	for (const char *at = facts->shallow; at && *at; at++)
		buf_add_byte(out, *at == '\n' ? ' ' : (uint8_t)*at);
}

/* Runs it; `delivery` NULL: what the guest has already. */
static int run_apply(struct ship *ship, const char *const *args, struct delivery *delivery,
		     int *ret_status, struct buf *ret_said, struct err *err)
{
	AUTO_FREE char *text = mem_printf("%s%s", script_apply, script_record);
	struct guest_script script = { .text = text,
				       .args = args,
				       .what = "write the files",
				       .input_fd = -1,
				       .output_max = CONFLICTS_MAX };
	int status = 0;
	int r;

	if (delivery) {
		script.stage = "files";
		script.read = delivery_read;
		script.context = delivery;
	}
	script.ret_status = ship_is_first(ship) ? NULL : &status;
	script.other_status = APPLY_CONFLICT;
	r = guest_script_run(ship->way, &script, ret_said, err);
	*ret_status = status;
	return r;
}

static int apply(struct ship *ship, struct delivery *delivery, int *ret_status,
		 struct buf *ret_said, struct err *err)
{
	AUTO_BUF ends = BUF_INIT;
	const bool moves = ship->moves_head || !str_eq(ship->gets.mode, ship->had.mode);
	const bool is_full = ship->workspace->wish.is_full;
	const char *args[] = { ship->folder,
			       ship_is_first(ship) ? "new" : "old",
			       delivery->is_taken ? "again" : "take",
			       delivery->oids[NOTE_INDEX],
			       delivery->oids[NOTE_SKIP],
			       delivery->oids[NOTE_UNSKIP],
			       delivery->oids[NOTE_MANIFEST],
			       ship->gets.head,
			       ship->gets.branch,
			       NULL,
			       !moves	 ? "stay"
			       : is_full ? "full"
					 : "move",
			       ship->moves_head ? "moves" : "",
			       ship->plan.added > 0 ? "adds" : "",
			       ship->put_name,
			       NULL };
	int r;

	add_ends(ship, &ends);
	args[ENDS_ARG] = ends.ptr;
	r = run_apply(ship, args, delivery->is_taken ? NULL : delivery, ret_status, ret_said, err);
	delivery->is_taken = true;
	return r;
}

/* --- what the guest has changed itself --- */

static int fail_conflicts(struct ship *ship, const struct buf *conflicts, struct err *err)
{
	uint64_t count = 0;
	int r;

	for (size_t i = 0; i < conflicts->len; i++)
		count += conflicts->ptr[i] == '\0';
	buf_add(&ship->result->conflicts, buf_span(conflicts));
	r = err_set(err, ERR_BAD_STATE,
		    "the guest has changed %llu %s that %s changed on the host too",
		    (unsigned long long)count, count == 1 ? "file" : "files",
		    count == 1 ? "has" : "have");
	err_hint(err, "export the guest's work first ('banger vm workspace export'), or take the "
		      "host's files with --force");
	return r;
}

/* Which of the paths in question are not as the host has them: asked with the host's own lines. */
static int compare(struct ship *ship, const struct conflicts *conflicts, struct buf *ret,
		   struct err *err)
{
	const char *const args[] = { ship->folder, NULL };
	const struct guest_script script = { .text = script_compare,
					     .args = args,
					     .what = "compare the files",
					     .input_fd = -1,
					     .input = buf_span(&conflicts->lines),
					     .output_max = CONFLICTS_MAX };

	return guest_script_run(ship->way, &script, ret, err);
}

static int take(struct ship *ship, const struct buf *writes, const struct buf *removes,
		struct err *err)
{
	const char *const args[] = { ship->folder, NULL };
	struct guest_script script = { .text = script_take,
				       .args = args,
				       .what = "replace the guest's files",
				       .input_fd = -1,
				       .input = buf_span(writes) };
	int r;

	r = guest_script_run(ship->way, &script, NULL, err);
	script.text = script_remove;
	script.input = buf_span(removes);
	if (r == 0 && removes->len > 0)
		r = guest_script_run(ship->way, &script, NULL, err);
	return r;
}

/*
 * The guest has changed what is to be written. Where it has come to the same as the host, that is
 * noted; the rest is the host's to replace when it was told to, and else the end.
 */
static int settle(struct ship *ship, const struct buf *said, const struct buf *lines,
		  struct err *err)
{
	CLEANUP(conflicts_done) struct conflicts conflicts = CONFLICTS_INIT;
	AUTO_BUF others = BUF_INIT;
	AUTO_BUF writes = BUF_INIT;
	AUTO_BUF removes = BUF_INIT;
	AUTO_BUF both = BUF_INIT;
	int r;

	r = conflicts_find(buf_span(said), buf_span(lines), &conflicts, err);
	if (r == 0)
		r = compare(ship, &conflicts, &others, err);
	if (r == 0)
		r = conflicts_remaining(&conflicts, buf_span(&others), &writes, &removes, err);
	if (r < 0)
		return r;
	buf_add(&both, buf_span(&writes));
	buf_add(&both, buf_span(&removes));
	if (both.len > 0 && !ship->wish->force)
		return fail_conflicts(ship, &both, err);
	buf_add(&ship->result->conflicts, buf_span(&both));
	return take(ship, &writes, &removes, err);
}

static int write_files(struct ship *ship, struct err *err)
{
	CLEANUP(delivery_done) struct delivery delivery = { .content = { .file = { .fd = -1 } } };
	AUTO_BUF said = BUF_INIT;
	int status = 0;
	int r;

	r = delivery_init(&delivery, ship, err);
	if (r == 0)
		r = apply(ship, &delivery, &status, &said, err);
	if (r < 0 || status == 0)
		return r;
	r = settle(ship, &said, &ship->plan.tree_info, err);
	buf_clear(&said);
	if (r == 0)
		r = apply(ship, &delivery, &status, &said, err);
	if (r == 0 && status != 0)
		r = err_set(err, ERR_BUSY, "the guest changes its files while they are written");
	return r;
}

/* --- what has not ended --- */

static int ask(struct ship *ship, const char *text, const char *name, size_t max, struct buf *ret,
	       struct err *err)
{
	const char *const args[] = { ship->folder, name, NULL };
	const struct guest_script script = { .text = text,
					     .args = args,
					     .what = "look at what has not ended",
					     .input_fd = -1,
					     .output_max = max };

	return guest_script_run(ship->way, &script, ret, err);
}

static int read_pending(const struct buf *said, const char **ret, struct err *err)
{
	size_t count = 0;

	for (size_t at = 0; at < said->len; at += strlen(said->ptr + at) + 1) {
		if (count < APPLY_ARGS)
			ret[count] = said->ptr + at;
		count++;
	}
	if (count != APPLY_ARGS || said->ptr[said->len - 1] != '\0')
		return err_set(err, ERR_PROTOCOL, "the guest's record of its workspace is damaged");
	return 0;
}

/* The guest's files are in the way of what has not ended: which, is in the two manifests. */
static int settle_pending(struct ship *ship, const char *manifest, const struct buf *said,
			  struct err *err)
{
	struct manifest_head head = { .host = NULL };
	AUTO_BUF wanted = BUF_INIT;
	AUTO_PLAN pending = PLAN_INIT;
	struct span entries;
	int r;

	r = ask(ship, script_note, manifest, 0, &wanted, err);
	entries = buf_span(&wanted);
	if (r == 0)
		r = manifest_read_head(&entries, &head, err);
	manifest_head_done(&head);
	if (r == 0)
		r = plan_make(ship->had_entries, entries, false, &pending, err);
	return r < 0 ? r : settle(ship, said, &pending.tree_info, err);
}

/* The last prepare ends first, as it was planned then: all that it needs is in the guest. */
static int finish_pending(struct ship *ship, struct err *err)
{
	const char *args[APPLY_ARGS + 1] = { NULL };
	const struct head_refs none = { .tip = span_of("", 0) };
	AUTO_BUF pending = BUF_INIT;
	AUTO_BUF said = BUF_INIT;
	int status = 0;
	int r;

	r = ask(ship, script_pending, NULL, PENDING_MAX, &pending, err);
	if (r == 0)
		r = read_pending(&pending, args, err);
	if (r < 0)
		return r;
	AUTO_FREE char *head = mem_strdup(args[HEAD_ARG]);
	AUTO_FREE char *branch = mem_strdup(args[HEAD_ARG + 1]);
	const struct manifest_head wanted = { .head = head, .branch = branch };

	args[0] = ship->folder;
	args[1] = "old";
	args[2] = "again";
	if (str_eq(args[MOVES_ARG], "moves"))
		r = head_check(&ship->look, &ship->had, &wanted, &none, ship->wish->force, err);
	if (r == 0)
		r = run_apply(ship, args, NULL, &status, &said, err);
	if (r < 0 || status == 0)
		return r;
	r = settle_pending(ship, args[MANIFEST_ARG], &said, err);
	buf_clear(&said);
	if (r == 0)
		r = run_apply(ship, args, NULL, &status, &said, err);
	if (r == 0 && status != 0)
		r = err_set(err, ERR_BUSY, "the guest changes its files while they are written");
	return r;
}

/* After it the guest is looked at anew. */
static int finish(struct ship *ship, struct err *err)
{
	int r;

	r = ship->way->begins ? ship->way->begins(ship->way->context, err) : 0;
	ship->folder = mem_strdup(ship->wish->guest_path);
	if (r == 0)
		r = finish_pending(ship, err);
	mem_free(TAKE_PTR(ship->folder));
	if (r < 0)
		return err_context(err, r, "the last prepare has not ended");
	buf_clear(&ship->said);
	manifest_head_done(&ship->had);
	ship->had = (struct manifest_head){ .host = NULL };
	return look(ship, err);
}

static int publish(struct ship *ship, struct err *err)
{
	const char *const args[] = { ship->folder, ship->wish->guest_path, NULL };
	const struct guest_script script = { .text = script_publish,
					     .args = args,
					     .what = "put the repository into its place",
					     .input_fd = -1 };

	return ship_is_first(ship) ? guest_script_run(ship->way, &script, NULL, err) : 0;
}

/* What a script of its own accord has not removed. */
static void discard(struct ship *ship)
{
	const char *const args[] = { ship->folder, NULL };
	const struct guest_script script = {
		.text = script_discard, .args = args, .what = "tidy up", .input_fd = -1
	};
	struct err ignored = ERR_INIT;

	if (ship_is_first(ship) && ship->folder)
		IGNORE_RESULT(guest_script_run(ship->way, &script, NULL, &ignored));
}

/* 1 there is something to do, 0 there is not. `finishes`: what has not ended is, first. */
static int prepare(struct ship *ship, bool finishes, struct err *err)
{
	int r;

	r = look(ship, err);
	if (r == 0 && finishes && ship->look.state == GUEST_HALF)
		r = finish(ship, err);
	if (r == 0)
		r = decide_head(ship, err);
	if (r == 0)
		r = plan(ship, err);
	if (r == 0)
		r = check_staged(ship, err);
	if (r < 0)
		return r;
	ship->result->is_first = ship_is_first(ship);
	ship->result->is_current = is_current(ship);
	return ship->result->is_current ? 0 : 1;
}

static int ship_once(struct ship *ship, struct err *err)
{
	int r;

	r = prepare(ship, true, err);
	if (r <= 0)
		return r;
	r = ship->way->begins ? ship->way->begins(ship->way->context, err) : 0;
	if (r == 0)
		r = ship_send_objects(ship, err);
	if (r == 0)
		r = write_files(ship, err);
	if (r == 0)
		r = publish(ship, err);
	if (r < 0)
		discard(ship);
	return r;
}

static void ship_init(struct ship *ship, struct workspace *workspace,
		      const struct workspace_way *way, const struct workspace_ship *wish,
		      struct workspace_result *result)
{
	*ship = (struct ship){ .workspace = workspace,
			       .way = way,
			       .wish = wish,
			       .result = result,
			       .hold_fd = -1,
			       .said = BUF_INIT,
			       .manifest = BUF_INIT,
			       .plan = PLAN_INIT };
	*result = (struct workspace_result){ .conflicts = BUF_INIT };
}

static int rescan(struct workspace *workspace, const struct workspace_way *way, struct err *err)
{
	const struct workspace_wish wish = workspace->wish;
	AUTO_WORKSPACE again = WORKSPACE_INIT;
	int r;

	r = workspace_open(&wish, way->cancel, way->progress, &again, err);
	if (r < 0)
		return r;
	workspace_done(workspace);
	*workspace = again;
	again = WORKSPACE_INIT;
	return 0;
}

int workspace_ship(struct workspace *workspace, const struct workspace_way *way,
		   const struct workspace_ship *wish, struct workspace_result *ret, struct err *err)
{
	int r = 0;

	*ret = (struct workspace_result){ .conflicts = BUF_INIT };
	/* What has changed since it was looked at is looked at once more. */
	for (int attempt = 0; attempt < 2; attempt++) {
		CLEANUP(ship_done) struct ship ship;

		workspace_result_done(ret);
		ship_init(&ship, workspace, way, wish, ret);
		*err = ERR_INIT;
		r = attempt > 0 ? rescan(workspace, way, err) : 0;
		if (r == 0)
			r = ship_once(&ship, err);
		if (r == 0 || err->kind != ERR_BUSY)
			break;
	}
	return r;
}

/* "A\0path\0" for what the guest has not got yet, M for what it has, D for what goes. */
static int list_lines(struct span lines, struct span had, struct buf *ret, struct err *err)
{
	struct manifest_cursor cursor = { .rest = had };
	struct plan_line line;
	int r;

	r = manifest_next(&cursor, err);
	while (r == 0 && plan_next(&lines, &line)) {
		bool is_there;

		while (r == 0 && cursor.has_entry &&
		       manifest_compare_paths(cursor.entry.path, line.path) < 0)
			r = manifest_next(&cursor, err);
		is_there = cursor.has_entry && span_eq(cursor.entry.path, line.path) &&
			   cursor.entry.work.mode != 0;
		buf_add_byte(ret, line.mode == 0 ? 'D' : is_there ? 'M' : 'A');
		buf_add_byte(ret, 0);
		buf_add(ret, line.path);
		buf_add_byte(ret, 0);
	}
	return r;
}

int workspace_list(struct workspace *workspace, const struct workspace_way *way,
		   const struct workspace_ship *wish, struct buf *ret, struct err *err)
{
	AUTO_WORKSPACE_RESULT result = { .conflicts = BUF_INIT };
	CLEANUP(ship_done) struct ship ship;
	int r;

	ship_init(&ship, workspace, way, wish, &result);
	r = way ? prepare(&ship, false, err) : plan(&ship, err);
	return r < 0 ? r : list_lines(buf_span(&ship.plan.tree_info), ship.had_entries, ret, err);
}
