#include "workspace/switch.h"

#include <inttypes.h>

#include "base/text.h"
#include "workspace/manifest.h"
#include "workspace/scan.h"

#define PATH_SHOWN_MAX 200

struct merge {
	struct buf *out;
	uint64_t conflicts;
	struct span first; /* of them; borrowed */
};

static struct manifest_side side_of(const struct raw_record *record, int which)
{
	if (record->modes[which] == 0)
		return (struct manifest_side){ .mode = 0 };
	return (struct manifest_side){ .mode = record->modes[which], .oid = record->oids[which] };
}

/* `entry` may be NULL: neither index nor working tree has the path. */
static void merge_path(struct merge *merge, const struct manifest_entry *entry,
		       const struct raw_record *change)
{
	static const struct manifest_side nothing = { .mode = 0 };
	const struct manifest_side old = side_of(change, 0), new = side_of(change, 1);
	const struct manifest_side *index = entry ? &entry->index : &nothing;
	const struct manifest_side *work = entry ? &entry->work : &nothing;
	const bool is_skipped = entry && entry->is_skipped;
	struct manifest_entry result = { .path = change->path, .index = new, .work = new };

	if (manifest_side_eq(index, &old) &&
	    (manifest_side_eq(work, &old) || (is_skipped && work->mode == 0))) {
		result.is_skipped = is_skipped;
		if (is_skipped && work->mode == 0)
			result.work.mode = 0;
		if (new.mode != 0)
			manifest_add(merge->out, &result);
		return;
	}
	if (manifest_side_eq(index, &new) && manifest_side_eq(work, &new)) {
		if (new.mode != 0)
			manifest_add(merge->out, &result);
		return;
	}
	if (merge->conflicts++ == 0)
		merge->first = change->path;
}

static int fail_conflicts(const struct merge *merge, struct err *err)
{
	AUTO_BUF path = BUF_INIT;
	int r;

	text_escape(&path, merge->first, PATH_SHOWN_MAX);
	if (merge->conflicts == 1)
		r = err_set(err, ERR_BAD_STATE,
			    "'%s' has uncommitted work and is different where --from begins",
			    path.ptr);
	else
		r = err_set(err, ERR_BAD_STATE,
			    "'%s' and %" PRIu64 " more have uncommitted work and are different "
			    "where --from begins",
			    path.ptr, merge->conflicts - 1);
	err_hint(err, "commit or stash it first, or begin the branch at HEAD");
	return r;
}

static int next_change(struct span *changes, struct raw_record *ret, bool *ret_has, struct err *err)
{
	*ret_has = changes->len > 0;
	if (*ret_has && !scan_read_raw_record(changes, ret))
		return err_set(err, ERR_PROTOCOL,
			       "git's list of changes is not in the form that is known");
	return 0;
}

int switch_entries(struct span entries, struct span changes, struct buf *ret, struct err *err)
{
	struct manifest_cursor cursor = { .rest = entries };
	struct merge merge = { .out = ret };
	struct raw_record change = { .path = { .ptr = NULL } };
	bool has_change = false;
	int r;

	r = manifest_next(&cursor, err);
	if (r == 0)
		r = next_change(&changes, &change, &has_change, err);
	while (r == 0 && (cursor.has_entry || has_change)) {
		const int order = !cursor.has_entry ? 1
				  : !has_change
					  ? -1
					  : manifest_compare_paths(cursor.entry.path, change.path);

		if (order < 0)
			manifest_add(ret, &cursor.entry);
		else
			merge_path(&merge, order == 0 ? &cursor.entry : NULL, &change);
		if (order <= 0)
			r = manifest_next(&cursor, err);
		if (r == 0 && order >= 0)
			r = next_change(&changes, &change, &has_change, err);
	}
	return r == 0 && merge.conflicts > 0 ? fail_conflicts(&merge, err) : r;
}

int switch_commit(const struct git *git, const char *from, const char *to,
		  const struct cancel *cancel, struct buf *manifest, struct err *err)
{
	const char *const args[] = { "diff-tree",   "-r", "-z", "--raw", "--no-renames",
				     "--no-abbrev", from, to,	NULL };
	const struct git_call call = { .args = args, .cancel = cancel };
	AUTO_BUF changes = BUF_INIT;
	AUTO_BUF result = BUF_INIT;
	int r;

	r = git_run(git, &call, &changes, err);
	if (r == 0)
		r = switch_entries(buf_span(manifest), buf_span(&changes), &result, err);
	if (r < 0)
		return r;
	buf_clear(manifest);
	buf_add(manifest, buf_span(&result));
	return 0;
}
