/*
 * Three sorted lists of git's are walked side by side: the index, what of it differs from the
 * commit, and the untracked files. The manifest comes out in the same order.
 */
#include "workspace/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/manifest.h"
#include "workspace/worktree.h"

#define PROGRESS_EVERY 64 /* files */
#define OCTAL_DIGITS   6

void scan_done(struct scan *scan)
{
	if (!scan)
		return;
	buf_done(&scan->manifest);
	strv_done(&scan->submodules);
}

/* --- git's records --- */

static bool read_mode(struct span *text, uint32_t *ret)
{
	uint32_t mode = 0;

	if (text->len < OCTAL_DIGITS)
		return false;
	for (size_t i = 0; i < OCTAL_DIGITS; i++) {
		if (text->ptr[i] < '0' || text->ptr[i] > '7')
			return false;
		mode = mode << 3 | (uint32_t)(text->ptr[i] - '0');
	}
	*text = span_skip(*text, OCTAL_DIGITS);
	*ret = mode;
	return true;
}

static bool is_known_mode(uint32_t mode)
{
	return mode == MODE_FILE || mode == MODE_EXECUTE || mode == MODE_LINK ||
	       mode == MODE_SUBMODULE;
}

bool scan_read_index_record(struct span record, struct index_record *ret)
{
	struct index_record got = { .stage = 0 };
	uint64_t stage;

	if (record.len < 2 || record.ptr[1] != ' ')
		return false;
	got.tag = (char)record.ptr[0];
	record = span_skip(record, 2);
	if (!read_mode(&record, &got.mode) || !is_known_mode(got.mode) ||
	    !parse_byte(&record, ' ') || !parse_until(&record, ' ', &got.oid) ||
	    !git_is_oid(got.oid) || !parse_u64(&record, 3, &stage) || !parse_byte(&record, '\t') ||
	    record.len == 0)
		return false;
	got.stage = (unsigned int)stage;
	got.path = record;
	*ret = got;
	return true;
}

/* ":100644 100644 OID OID M\0path\0"; an absent side has mode 0 and a name of zeros. */
bool scan_read_raw_record(struct span *text, struct raw_record *ret)
{
	struct raw_record got = { .modes = { 0 } };
	struct span cursor = *text, head;

	if (!parse_until(&cursor, '\0', &head) || !parse_until(&cursor, '\0', &got.path) ||
	    got.path.len == 0 || !parse_byte(&head, ':') || !read_mode(&head, &got.modes[0]) ||
	    !parse_byte(&head, ' ') || !read_mode(&head, &got.modes[1]) ||
	    !parse_byte(&head, ' ') || !parse_until(&head, ' ', &got.oids[0]) ||
	    !parse_until(&head, ' ', &got.oids[1]) || !git_is_oid(got.oids[0]) ||
	    !git_is_oid(got.oids[1]) || head.len == 0 || head.ptr[0] < 'A' || head.ptr[0] > 'Z')
		return false;
	for (int i = 0; i < 2; i++)
		if (got.modes[i] != 0 && !is_known_mode(got.modes[i]))
			return false;
	*ret = got;
	*text = cursor;
	return true;
}

bool scan_path_is_forbidden(struct span path)
{
	while (path.len > 0) {
		const uint8_t *slash = memchr(path.ptr, '/', path.len);
		const size_t len = slash ? (size_t)(slash - path.ptr) : path.len;

		if (len == 0 || (len == 1 && path.ptr[0] == '.') ||
		    (len == 2 && path.ptr[0] == '.' && path.ptr[1] == '.') ||
		    (len == 4 && strncasecmp((const char *)path.ptr, ".git", 4) == 0))
			return true;
		if (slash && len + 1 == path.len)
			return true;
		path = span_skip(path, slash ? len + 1 : len);
	}
	return false;
}

/* --- the lists --- */

struct lists {
	struct buf index;
	struct buf staged;
	struct buf others;
	const char **names; /* owned array into `others`, sorted */
	size_t name_count;
};

static void lists_done(struct lists *lists)
{
	buf_done(&lists->index);
	buf_done(&lists->staged);
	buf_done(&lists->others);
	mem_free(lists->names);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_others(struct lists *lists)
{
	size_t count = 0, i = 0;

	for (size_t at = 0; at < lists->others.len; at += strlen(lists->others.ptr + at) + 1)
		count++;
	lists->names = mem_alloc(count + 1, sizeof(*lists->names));
	for (size_t at = 0; at < lists->others.len; at += strlen(lists->others.ptr + at) + 1)
		lists->names[i++] = lists->others.ptr + at;
	lists->name_count = count;
	qsort(lists->names, count, sizeof(*lists->names), compare_names);
}

static int read_lists(const struct scan_job *job, struct lists *ret, struct err *err)
{
	static const char *const index_args[] = { "ls-files", "-z", "-t", "--stage", NULL };
	static const char *const other_args[] = { "ls-files", "-z", "--others",
						  "--exclude-standard", NULL };
	const char *const staged_args[] = { "diff-index",
					    "-z",
					    "--raw",
					    "--cached",
					    "--no-renames",
					    "--ignore-submodules=none",
					    "--no-abbrev",
					    job->facts->host_head,
					    NULL };
	struct git_call call = { .args = index_args, .cancel = job->cancel };
	int r;

	r = git_run(job->git, &call, &ret->index, err);
	call.args = staged_args;
	if (r == 0 && job->facts->host_head)
		r = git_run(job->git, &call, &ret->staged, err);
	/* What is ignored is also what the user's own list says. */
	call.args = other_args;
	call.reads_user_config = true;
	if (r == 0)
		r = git_run(job->git, &call, &ret->others, err);
	if (r == 0)
		sort_others(ret);
	return r;
}

/* --- one path after the other --- */

struct walk {
	const struct scan_job *job;
	struct scan *scan;
	struct lists lists;
	struct span index;  /* what is left of it */
	struct span staged; /* likewise */
	struct raw_record next_staged;
	bool has_staged;
	size_t next_name;
	uint64_t seen;
	uint64_t total;
	uint64_t untracked_bytes;
	char oid[GIT_OID_HEX_MAX + 1];
};

static void walk_done(struct walk *walk)
{
	lists_done(&walk->lists);
}

static int fail_list(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "git's list of files is not in the form that is known");
}

static int next_staged(struct walk *walk, struct err *err)
{
	walk->has_staged = walk->staged.len > 0;
	if (walk->has_staged && !scan_read_raw_record(&walk->staged, &walk->next_staged))
		return fail_list(err);
	return 0;
}

/* Whether the index has `path` otherwise than the commit. */
static int look_up_staged(struct walk *walk, struct span path, bool *ret, struct err *err)
{
	int r = 0;

	while (r == 0 && walk->has_staged &&
	       manifest_compare_paths(walk->next_staged.path, path) < 0)
		r = next_staged(walk, err);
	*ret = r == 0 && walk->has_staged && span_eq(walk->next_staged.path, path);
	return r;
}

/* Hashes what is there; the side's oid is borrowed from the walk until the next call. */
static int look_at_file(struct walk *walk, const char *path, uint32_t index_mode,
			struct manifest_side *ret, uint64_t *ret_size, struct err *err)
{
	const bool keeps_mode = walk->job->facts->ignores_mode &&
				(index_mode == MODE_FILE || index_mode == MODE_EXECUTE);
	AUTO_WORKTREE_FILE file = { .fd = -1 };
	int r;

	r = worktree_hash(walk->job->root_fd, path, walk->job->git->is_sha256, walk->job->cancel,
			  &file, err);
	if (r < 0)
		return r;
	memcpy(walk->oid, file.oid, sizeof(walk->oid));
	*ret = (struct manifest_side){ .mode = 0 };
	*ret_size = file.size;
	if (file.kind == WORKTREE_OTHER)
		walk->scan->special++;
	if (file.kind != WORKTREE_FILE && file.kind != WORKTREE_LINK)
		return 0;
	ret->mode = file.kind == WORKTREE_LINK ? MODE_LINK
		    : keeps_mode	       ? index_mode
		    : file.is_executable       ? MODE_EXECUTE
					       : MODE_FILE;
	ret->oid = span_str(walk->oid);
	walk->scan->files++;
	walk->scan->bytes += file.size;
	return 0;
}

static int look_at_submodule(struct walk *walk, const char *path, struct manifest_entry *entry,
			     struct err *err)
{
	AUTO_WORKTREE_FILE folder = { .fd = -1 };
	AUTO_WORKTREE_FILE link = { .fd = -1 };
	AUTO_FREE char *link_path = mem_printf("%s/.git", path);
	int r;

	r = worktree_open(walk->job->root_fd, path, &folder, err);
	if (r < 0 || folder.kind != WORKTREE_FOLDER)
		return r;
	entry->work = entry->index;
	r = worktree_open(walk->job->root_fd, link_path, &link, err);
	if (r == 0 && (link.kind == WORKTREE_FILE || link.kind == WORKTREE_FOLDER))
		strv_add(&walk->scan->submodules, path);
	else
		walk->scan->empty_submodules++;
	return r;
}

static void tell_progress(struct walk *walk)
{
	walk->seen++;
	if (walk->seen % PROGRESS_EVERY == 0 || walk->seen == walk->total)
		progress_report(walk->job->progress, "scan", NULL, walk->seen, walk->total);
}

static int take_tracked(struct walk *walk, const struct index_record *record, struct err *err)
{
	AUTO_FREE char *path = mem_strndup((const char *)record->path.ptr, record->path.len);
	struct manifest_entry entry = {
		.path = record->path,
		.index = { .mode = record->mode, .oid = record->oid },
		.is_skipped = record->tag == 'S',
	};
	uint64_t size = 0;
	int r;

	if (record->stage != 0) {
		r = err_set(err, ERR_BAD_STATE, "'%s' has conflicts that are not resolved, in '%s'",
			    walk->job->git->root, path);
		err_hint(err, "finish the merge ('git add', 'git commit') or give it up first");
		return r;
	}
	if (scan_path_is_forbidden(record->path))
		return fail_list(err);
	r = walk->job->facts->host_head ? look_up_staged(walk, record->path, &entry.is_staged, err)
					: 0;
	if (!walk->job->facts->host_head)
		entry.is_staged = true;
	if (r == 0)
		r = record->mode == MODE_SUBMODULE
			    ? look_at_submodule(walk, path, &entry, err)
			    : look_at_file(walk, path, record->mode, &entry.work, &size, err);
	if (r < 0)
		return r;
	manifest_add(&walk->scan->manifest, &entry);
	tell_progress(walk);
	return 0;
}

static int take_untracked(struct walk *walk, const char *path, struct err *err)
{
	struct manifest_entry entry = { .path = span_str(path) };
	uint64_t size = 0;
	int r;

	/* "name/": a repository of its own. */
	if (scan_path_is_forbidden(entry.path)) {
		walk->scan->special++;
		return 0;
	}
	if (!walk->job->includes_untracked) {
		walk->scan->left_out++;
		return 0;
	}
	r = look_at_file(walk, path, 0, &entry.work, &size, err);
	if (r < 0 || entry.work.mode == 0)
		return r;
	walk->scan->untracked++;
	walk->untracked_bytes += size;
	if (walk->untracked_bytes > SCAN_UNTRACKED_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the untracked files are over %llu GiB, at '%s'",
			       (unsigned long long)(SCAN_UNTRACKED_BYTES_MAX >> 30), path);
	manifest_add(&walk->scan->manifest, &entry);
	tell_progress(walk);
	return 0;
}

/* Untracked files that come before `path` (NULL: all that are left). */
static int take_untracked_before(struct walk *walk, const struct span *path, struct err *err)
{
	int r = 0;

	while (r == 0 && walk->next_name < walk->lists.name_count) {
		const char *name = walk->lists.names[walk->next_name];

		if (path && manifest_compare_paths(span_str(name), *path) >= 0)
			break;
		r = take_untracked(walk, name, err);
		walk->next_name++;
	}
	return r;
}

static uint64_t count_records(const struct buf *text)
{
	uint64_t count = 0;

	for (size_t i = 0; i < text->len; i++)
		count += text->ptr[i] == '\0';
	return count;
}

static int walk_lists(struct walk *walk, struct err *err)
{
	struct span last = span_of("", 0);
	int r;

	walk->index = buf_span(&walk->lists.index);
	walk->staged = buf_span(&walk->lists.staged);
	walk->total = count_records(&walk->lists.index) +
		      (walk->job->includes_untracked ? walk->lists.name_count : 0);
	r = next_staged(walk, err);
	while (r == 0 && walk->index.len > 0) {
		struct index_record record;
		struct span text;

		if (!parse_until(&walk->index, '\0', &text) ||
		    !scan_read_index_record(text, &record) ||
		    (record.stage == 0 && manifest_compare_paths(last, record.path) >= 0))
			return fail_list(err);
		last = record.path;
		r = take_untracked_before(walk, &record.path, err);
		if (r == 0)
			r = take_tracked(walk, &record, err);
		if (r == 0)
			r = cancel_check(walk->job->cancel, err);
	}
	return r < 0 ? r : take_untracked_before(walk, NULL, err);
}

int scan_tree(const struct scan_job *job, struct scan *ret, struct err *err)
{
	CLEANUP(walk_done)
	struct walk walk = {
		.job = job,
		.lists = { .index = BUF_INIT, .staged = BUF_INIT, .others = BUF_INIT },
	};
	AUTO_SCAN scan = SCAN_INIT;
	int r;

	walk.scan = &scan;
	r = read_lists(job, &walk.lists, err);
	if (r == 0)
		r = walk_lists(&walk, err);
	if (r < 0)
		return r;
	*ret = scan;
	scan = SCAN_INIT;
	return 0;
}
