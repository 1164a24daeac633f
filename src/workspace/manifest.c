#include "workspace/manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/git.h"

#define MAGIC	    "banger-workspace 1"
#define VALUE_MAX   8192 /* of a line of the head */
#define MODE_DIGITS 6

static const uint32_t modes[] = { MODE_FILE, MODE_EXECUTE, MODE_LINK, MODE_SUBMODULE };

void manifest_head_done(struct manifest_head *head)
{
	mem_free(head->host);
	mem_free(head->head);
	mem_free(head->branch);
	mem_free(head->mode);
}

int manifest_compare_paths(struct span a, struct span b)
{
	const size_t shorter = a.len < b.len ? a.len : b.len;
	const int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;

	if (order != 0)
		return order < 0 ? -1 : 1;
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* --- writing --- */

static void add_value(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s=%s", name, value ? value : "");
	buf_add_byte(out, 0);
}

void manifest_add_head(struct buf *out, const struct manifest_head *head)
{
	buf_add_str(out, MAGIC);
	buf_add_byte(out, 0);
	add_value(out, "host", head->host);
	add_value(out, "head", head->head);
	add_value(out, "branch", head->branch);
	add_value(out, "mode", head->mode);
	add_value(out, "named", head->has_from ? "from" : head->is_named ? "yes" : "no");
	buf_add_byte(out, 0);
}

static void add_side(struct buf *out, const struct manifest_side *side)
{
	if (side->mode == 0) {
		buf_add_str(out, "0 -");
		return;
	}
	buf_addf(out, "%06o ", side->mode);
	buf_add(out, side->oid);
}

void manifest_add(struct buf *out, const struct manifest_entry *entry)
{
	add_side(out, &entry->index);
	buf_add_byte(out, ' ');
	if (entry->index.mode != 0 && manifest_side_eq(&entry->index, &entry->work))
		buf_add_byte(out, '=');
	else
		add_side(out, &entry->work);
	if (entry->is_staged || entry->is_skipped)
		buf_add_byte(out, ' ');
	if (entry->is_staged)
		buf_add_byte(out, 's');
	if (entry->is_skipped)
		buf_add_byte(out, 'k');
	buf_add_byte(out, '\t');
	buf_add(out, entry->path);
	buf_add_byte(out, 0);
}

/* --- reading --- */

static int read_value(struct span *text, const char *name, char **ret)
{
	struct span cursor = *text, value;

	if (!parse_literal(&cursor, name) || !parse_byte(&cursor, '=') ||
	    !parse_until(&cursor, '\0', &value) || value.len > VALUE_MAX)
		return -EPROTO;
	*ret = mem_strndup((const char *)value.ptr, value.len);
	*text = cursor;
	return 0;
}

int manifest_read_head(struct span *text, struct manifest_head *ret, struct err *err)
{
	struct manifest_head head = { .host = NULL };
	AUTO_FREE char *named = NULL;
	struct span cursor = *text, magic;
	int r = 0;

	if (!parse_until(&cursor, '\0', &magic) || !span_eq(magic, span_str(MAGIC)))
		r = -EPROTO;
	if (r == 0)
		r = read_value(&cursor, "host", &head.host);
	if (r == 0)
		r = read_value(&cursor, "head", &head.head);
	if (r == 0)
		r = read_value(&cursor, "branch", &head.branch);
	if (r == 0)
		r = read_value(&cursor, "mode", &head.mode);
	if (r == 0)
		r = read_value(&cursor, "named", &named);
	if (r == 0 && (!(str_eq(named, "yes") || str_eq(named, "no") || str_eq(named, "from")) ||
		       !parse_byte(&cursor, '\0')))
		r = -EPROTO;
	if (r == 0 && head.head[0] && !git_is_oid(span_str(head.head)))
		r = -EPROTO;
	if (r < 0) {
		manifest_head_done(&head);
		return err_set(err, ERR_PROTOCOL, "the guest's record of its workspace is damaged");
	}
	head.has_from = str_eq(named, "from");
	head.is_named = head.has_from || str_eq(named, "yes");
	*ret = head;
	*text = cursor;
	return 0;
}

/* "100644 OID" or "0 -"; a blank or tab follows, which stays. */
static bool read_side(struct span *text, struct manifest_side *ret)
{
	struct span cursor = *text;
	struct manifest_side side = { .mode = 0 };

	if (parse_literal(&cursor, "0 -")) {
		*ret = side;
		*text = cursor;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		char word[MODE_DIGITS + 2];

		(void)snprintf(word, sizeof(word), "%06o ", modes[i]);
		if (parse_literal(&cursor, word))
			side.mode = modes[i];
	}
	if (side.mode == 0)
		return false;
	while (side.oid.len < cursor.len && cursor.ptr[side.oid.len] != ' ' &&
	       cursor.ptr[side.oid.len] != '\t')
		side.oid.len++;
	side.oid.ptr = cursor.ptr;
	if (!git_is_oid(side.oid))
		return false;
	*text = span_skip(cursor, side.oid.len);
	*ret = side;
	return true;
}

static bool read_entry(struct span record, struct manifest_entry *ret)
{
	struct manifest_entry entry = { .path = { .ptr = NULL } };

	if (!read_side(&record, &entry.index) || !parse_byte(&record, ' '))
		return false;
	if (entry.index.mode != 0 && parse_byte(&record, '='))
		entry.work = entry.index;
	else if (!read_side(&record, &entry.work))
		return false;
	if (parse_byte(&record, ' ')) {
		entry.is_staged = parse_byte(&record, 's');
		entry.is_skipped = parse_byte(&record, 'k');
		if (!entry.is_staged && !entry.is_skipped)
			return false;
	}
	if (!parse_byte(&record, '\t') || record.len == 0)
		return false;
	entry.path = record;
	*ret = entry;
	return true;
}

int manifest_next(struct manifest_cursor *cursor, struct err *err)
{
	const struct span last = cursor->has_entry ? cursor->entry.path : span_of("", 0);
	struct span record;

	cursor->has_entry = false;
	if (cursor->rest.len == 0)
		return 0;
	if (!parse_until(&cursor->rest, '\0', &record) || !read_entry(record, &cursor->entry) ||
	    manifest_compare_paths(last, cursor->entry.path) >= 0)
		return err_set(err, ERR_PROTOCOL, "the guest's record of its workspace is damaged");
	cursor->has_entry = true;
	return 0;
}

static bool is_same(const struct manifest_entry *a, const struct manifest_entry *b)
{
	return manifest_side_eq(&a->index, &b->index) && manifest_side_eq(&a->work, &b->work) &&
	       a->is_skipped == b->is_skipped;
}

int manifest_compare(struct span before, struct span now,
		     int (*visit)(void *context, const struct manifest_entry *before,
				  const struct manifest_entry *now, struct err *err),
		     void *context, struct err *err)
{
	struct manifest_cursor old = { .rest = before }, new = { .rest = now };
	int r;

	r = manifest_next(&old, err);
	if (r == 0)
		r = manifest_next(&new, err);
	while (r == 0 && (old.has_entry || new.has_entry)) {
		const int order = !old.has_entry ? 1
				  : !new.has_entry
					  ? -1
					  : manifest_compare_paths(old.entry.path, new.entry.path);

		if (order != 0 || !is_same(&old.entry, &new.entry))
			r = visit(context, order <= 0 ? &old.entry : NULL,
				  order >= 0 ? &new.entry : NULL, err);
		if (r == 0 && order <= 0)
			r = manifest_next(&old, err);
		if (r == 0 && order >= 0)
			r = manifest_next(&new, err);
	}
	return r;
}
