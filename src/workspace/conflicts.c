#include "workspace/conflicts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/manifest.h"
#include "workspace/plan.h"
#include "workspace/scan.h"

#define REASON_SHOWN 300

void conflicts_done(struct conflicts *conflicts)
{
	buf_done(&conflicts->lines);
	strv_done(&conflicts->gone);
}

/* Sorted names, each with what has become of it. */
struct name {
	struct span path; /* borrowed */
	char status;
};

struct names {
	struct name *items; /* owned */
	size_t count;
	size_t room;
};

static void names_done(struct names *names)
{
	mem_free(names->items);
}

static void names_add(struct names *names, struct span path, char status)
{
	if (names->count == names->room) {
		names->room = names->room ? names->room * 2 : 64;
		names->items = mem_grow(names->items, names->room, sizeof(*names->items));
	}
	names->items[names->count++] = (struct name){ .path = path, .status = status };
}

static int compare(const void *a, const void *b)
{
	return manifest_compare_paths(((const struct name *)a)->path,
				      ((const struct name *)b)->path);
}

static void names_sort(struct names *names)
{
	if (names->count > 0)
		qsort(names->items, names->count, sizeof(*names->items), compare);
}

static const struct name *names_find(const struct names *names, struct span path)
{
	const struct name wanted = { .path = path };

	return names->count ? bsearch(&wanted, names->items, names->count, sizeof(*names->items),
				      compare)
			    : NULL;
}

/* "M\0path\0"... until an empty record, which is taken too, or the end. */
static bool read_changes(struct span *text, struct names *ret)
{
	while (text->len > 0) {
		struct span status, path;

		if (!parse_until(text, '\0', &status))
			return false;
		if (status.len == 0)
			return true;
		if (status.len != 1 || !parse_until(text, '\0', &path) || path.len == 0)
			return false;
		names_add(ret, path, (char)status.ptr[0]);
	}
	return true;
}

static bool read_names(struct span *text, struct names *ret)
{
	while (text->len > 0) {
		struct span path;

		if (!parse_until(text, '\0', &path))
			return false;
		if (path.len == 0)
			return true;
		names_add(ret, path, 'A');
	}
	return false;
}

static int fail_said(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "the guest does not say which files are in the way");
}

static void add_line(struct conflicts *conflicts, const struct plan_line *line, struct span text,
		     const struct name *name)
{
	buf_add(&conflicts->lines, text);
	if (name->status == 'D')
		strv_take(&conflicts->gone,
			  mem_strndup((const char *)line->path.ptr, line->path.len));
}

int conflicts_find(struct span said, struct span plan, struct conflicts *ret, struct err *err)
{
	CLEANUP(names_done) struct names names = { .items = NULL };
	struct plan_line line;
	const uint8_t *from = plan.ptr;

	if (!read_changes(&said, &names) || !read_names(&said, &names))
		return fail_said(err);
	names_sort(&names);
	while (plan_next(&plan, &line)) {
		const struct name *name = names_find(&names, line.path);
		const uint8_t *end = line.path.ptr + line.path.len + 1;

		if (name)
			add_line(ret, &line, span_of(from, (size_t)(end - from)), name);
		from = end;
	}
	if (ret->lines.len == 0) {
		AUTO_BUF reason = BUF_INIT;

		while (said.len > 0 && said.ptr[said.len - 1] == '\n')
			said.len--;
		text_escape(&reason, said, REASON_SHOWN);
		return err_set(err, ERR_SYSTEM, "cannot write the files in the guest: %s",
			       reason.ptr);
	}
	strv_sort(&ret->gone);
	return 0;
}

/* A walk over what the guest's index has otherwise than its files. */
struct staged {
	struct span rest;
	struct raw_record record;
	bool has_record;
	struct buf *out;
};

static int staged_next(struct staged *staged, struct err *err)
{
	staged->has_record = staged->rest.len > 0;
	if (staged->has_record && !scan_read_raw_record(&staged->rest, &staged->record))
		return fail_said(err);
	return 0;
}

/* Whether what is staged is one of the things that the host has, or had. */
static bool is_of_host(const struct manifest_side *side, const struct manifest_entry *before,
		       const struct manifest_entry *now)
{
	return (before && (manifest_side_eq(side, &before->index) ||
			   manifest_side_eq(side, &before->work))) ||
	       (now && (manifest_side_eq(side, &now->index) || manifest_side_eq(side, &now->work)));
}

static int visit_staged(void *context, const struct manifest_entry *before,
			const struct manifest_entry *now, struct err *err)
{
	static const struct manifest_side nothing = { .mode = 0 };
	const struct manifest_side *old = before ? &before->index : &nothing;
	const struct manifest_side *new = now ? &now->index : &nothing;
	/* One of them is there. */
	const struct span path = before ? before->path : now ? now->path : span_of("", 0);
	struct staged *staged = context;
	int r = 0;

	while (r == 0 && staged->has_record &&
	       manifest_compare_paths(staged->record.path, path) < 0)
		r = staged_next(staged, err);
	if (r < 0 || !staged->has_record || !span_eq(staged->record.path, path) ||
	    manifest_side_eq(old, new))
		return r;
	const struct manifest_side side = { .mode = staged->record.modes[0],
					    .oid = staged->record.oids[0] };

	/* Without a mode nothing is staged: a new file's name alone, or a merge. */
	if (side.mode != 0 && !is_of_host(&side, before, now)) {
		buf_add(staged->out, path);
		buf_add_byte(staged->out, 0);
	}
	return 0;
}

int conflicts_staged(struct span said, struct span before, struct span now, struct buf *ret,
		     struct err *err)
{
	struct staged staged = { .rest = said, .out = ret };
	const int r = staged_next(&staged, err);

	return r < 0 ? r : manifest_compare(before, now, visit_staged, &staged, err);
}

static bool is_gone(const struct conflicts *conflicts, struct span path)
{
	AUTO_FREE char *name = mem_strndup((const char *)path.ptr, path.len);

	return strv_has(&conflicts->gone, name);
}

int conflicts_remaining(const struct conflicts *conflicts, struct span others,
			struct buf *ret_writes, struct buf *ret_removes, struct err *err)
{
	CLEANUP(names_done) struct names names = { .items = NULL };
	struct span lines = buf_span(&conflicts->lines);
	struct plan_line line;

	if (!read_changes(&others, &names) || others.len > 0)
		return fail_said(err);
	names_sort(&names);
	while (plan_next(&lines, &line)) {
		struct buf *into = line.mode ? ret_writes : ret_removes;

		/* What goes on the host may have gone in the guest as well. */
		if (line.mode ? !names_find(&names, line.path) : is_gone(conflicts, line.path))
			continue;
		buf_add(into, line.path);
		buf_add_byte(into, 0);
	}
	return 0;
}
