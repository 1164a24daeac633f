#include "workspace/plan.h"

#include <stdio.h>

#include "base/parse.h"
#include "workspace/git.h"
#include "workspace/manifest.h"

static const char no_oid[GIT_OID_HEX_MAX + 1] =
	"0000000000000000000000000000000000000000000000000000000000000000";

void plan_done(struct plan *plan)
{
	if (!plan)
		return;
	buf_done(&plan->tree_info);
	buf_done(&plan->index_info);
	buf_done(&plan->skip);
	buf_done(&plan->unskip);
	buf_done(&plan->content);
	buf_done(&plan->objects);
}

static void add_path(struct buf *out, struct span path)
{
	buf_add(out, path);
	buf_add_byte(out, 0);
}

/* `digits`: of an object's name, for the removal's. */
static void add_line(struct buf *out, const struct manifest_side *side, size_t digits,
		     struct span path)
{
	if (side && side->mode != 0) {
		buf_addf(out, "%06o ", side->mode);
		buf_add(out, side->oid);
	} else {
		buf_addf(out, "0 %.*s", (int)digits, no_oid);
	}
	buf_add_byte(out, '\t');
	add_path(out, path);
}

bool plan_next(struct span *text, struct plan_line *ret)
{
	struct span cursor = *text, head, oid;
	struct plan_line line = { .mode = 0 };
	uint32_t mode = 0;

	if (!parse_until(&cursor, '\t', &head) || !parse_until(&cursor, '\0', &line.path) ||
	    !parse_until(&head, ' ', &oid))
		return false;
	for (size_t i = 0; i < oid.len; i++)
		mode = mode << 3 | (uint32_t)(oid.ptr[i] - '0');
	line.mode = mode;
	line.oid = mode ? head : span_of("", 0);
	*ret = line;
	*text = cursor;
	return true;
}

static const struct manifest_side nothing = { .mode = 0 };

static size_t digits_of(const struct manifest_entry *entry)
{
	return entry->index.mode ? entry->index.oid.len : entry->work.oid.len;
}

static void plan_file(struct plan *plan, const struct manifest_entry *before,
		      const struct manifest_entry *now)
{
	const struct manifest_side *old = before ? &before->work : &nothing;
	const struct manifest_side *new = now ? &now->work : &nothing;
	const struct manifest_entry *either = now ? now : before;

	if (manifest_side_eq(old, new))
		return;
	add_line(&plan->tree_info, new, digits_of(either), either->path);
	if (new->mode == 0)
		plan->removed++;
	else if (old->mode == 0)
		plan->added++;
	else
		plan->changed++;
	if (new->mode == 0 || new->mode == MODE_SUBMODULE || span_eq(old->oid, new->oid) ||
	    (now->index.mode != 0 && span_eq(now->index.oid, new->oid)))
		return;
	add_line(&plan->content, new, digits_of(either), either->path);
	plan->content_count++;
}

/*
 * The first time the repository's index begins as a copy of the files' one; later it is the
 * guest's, and only what has changed on the host is changed in it.
 */
static void plan_index(struct plan *plan, const struct manifest_entry *before,
		       const struct manifest_entry *now)
{
	const struct manifest_side *old = before ? &before->index : &nothing;
	const struct manifest_side *new = now ? &now->index : &nothing;
	const struct manifest_entry *either = now ? now : before;
	const bool is_changed = !manifest_side_eq(old, new);

	if (plan->is_first ? !manifest_side_eq(&now->work, new) : is_changed)
		add_line(&plan->index_info, new, digits_of(either), either->path);
	if (now && now->is_staged && is_changed && new->mode != 0 && new->mode != MODE_SUBMODULE) {
		buf_add(&plan->objects, new->oid);
		buf_add_byte(&plan->objects, '\n');
	}
	if (now && now->index.mode && now->is_skipped != (before && before->is_skipped))
		add_path(now->is_skipped ? &plan->skip : &plan->unskip, now->path);
}

static int plan_entry(void *context, const struct manifest_entry *before,
		      const struct manifest_entry *now, struct err *err)
{
	struct plan *plan = context;

	(void)err;
	plan_file(plan, before, now);
	plan_index(plan, before, now);
	return 0;
}

int plan_make(struct span before, struct span now, bool is_first, struct plan *ret, struct err *err)
{
	AUTO_PLAN plan = PLAN_INIT;
	int r;

	plan.is_first = is_first;
	r = manifest_compare(is_first ? span_of("", 0) : before, now, plan_entry, &plan, err);
	if (r < 0)
		return r;
	*ret = plan;
	plan = PLAN_INIT;
	return 0;
}
