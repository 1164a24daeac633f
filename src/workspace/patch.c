/*
 * A line at a time. What a line may be depends on where it stands, and inside a hunk on how many
 * lines its head has promised: a removed "-- a/x" looks like the name of a file, and is none.
 * Content is not kept, so memory does not grow with the patch.
 */
#include "workspace/patch.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "workspace/patch_name.h"

#define SHOWN_MAX	200
#define OID_MAX		64
#define BINARY_LINE_MAX 67 /* a length and the base85 of at most 52 bytes */
#define BINARY_CHARS \
	"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
#define MODE_LINK	0120000
#define MODE_REPOSITORY 0160000

enum place {
	PLACE_START,	   /* nothing has come yet */
	PLACE_HEAD,	   /* after "diff --git": what git says of the file */
	PLACE_OLD_NAME,	   /* "---" has come, "+++" is due */
	PLACE_HUNK_HEAD,   /* "@@" is due */
	PLACE_HUNK,	   /* within a hunk */
	PLACE_AFTER_HUNK,  /* another hunk, another file, or "\ No newline" */
	PLACE_BINARY_HEAD, /* "literal" or "delta" is due */
	PLACE_BINARY,	   /* within */
	PLACE_AFTER_BINARY,
};

/* What has been said of a file. */
struct file {
	struct buf git_line; /* what stands after "diff --git " */
	struct buf from;     /* of a rename or copy */
	struct buf to;
	struct buf name; /* of what comes out, or of what goes */
	bool has_from;
	bool has_to;
	bool is_new;
	bool is_deleted;
	bool is_named;	   /* `name` is known */
	uint32_t mode;	   /* of what comes out; 0 while unsaid */
	struct buf target; /* of a link */
	bool has_content;
};

struct patch_check {
	enum place place;
	uint64_t line_number;
	struct buf line;      /* what has come of it */
	bool has_begun;	      /* a line, perhaps an empty one */
	bool is_last_unended; /* "\ No newline": not twice */
	uint64_t old_left;
	uint64_t new_left;
	unsigned int binary_parts;
	struct file file;
	struct patch_summary summary;
};

static void file_done(struct file *file)
{
	buf_done(&file->git_line);
	buf_done(&file->from);
	buf_done(&file->to);
	buf_done(&file->name);
	buf_done(&file->target);
}

static void file_begin(struct file *file)
{
	file_done(file);
	*file = (struct file){ .git_line = BUF_INIT,
			       .from = BUF_INIT,
			       .to = BUF_INIT,
			       .name = BUF_INIT,
			       .target = BUF_INIT };
}

void patch_summary_done(struct patch_summary *summary)
{
	strv_done(&summary->far_links);
	strv_done(&summary->repositories);
}

struct patch_check *patch_check_new(void)
{
	struct patch_check *check = mem_alloc(1, sizeof(*check));

	check->line = BUF_INIT;
	file_begin(&check->file);
	return check;
}

void patch_check_free(struct patch_check *check)
{
	if (!check)
		return;
	buf_done(&check->line);
	file_done(&check->file);
	patch_summary_done(&check->summary);
	mem_free(check);
}

/* `what` is a phrase of ours; the line's beginning is shown. */
static int refuse(const struct patch_check *check, const char *what, struct err *err)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, buf_span(&check->line), 80);
	return err_set(err, ERR_PROTOCOL, "line %llu of the patch, '%s': %s",
		       (unsigned long long)check->line_number, shown.ptr, what);
}

static int refuse_name(const struct patch_check *check, struct span name, struct err *err)
{
	AUTO_BUF shown = BUF_INIT;

	text_escape(&shown, name, SHOWN_MAX);
	return err_set(err, ERR_PROTOCOL,
		       "line %llu of the patch names the file '%s', which no checkout may have",
		       (unsigned long long)check->line_number, shown.ptr);
}

/* --- a file's head --- */

static bool take_mode(struct span line, uint32_t *ret)
{
	static const struct {
		const char *text;
		uint32_t mode;
	} modes[] = { { "100644", 0100644 },
		      { "100755", 0100755 },
		      { "120000", MODE_LINK },
		      { "160000", MODE_REPOSITORY } };

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		if (span_eq(line, span_str(modes[i].text))) {
			*ret = modes[i].mode;
			return true;
		}
	}
	return false;
}

static bool take_oid(struct span *line)
{
	size_t len = 0;

	while (len < line->len && strchr("0123456789abcdef", line->ptr[len]) && line->ptr[len])
		len++;
	if (len == 0 || len > OID_MAX)
		return false;
	*line = span_skip(*line, len);
	return true;
}

/* "index 1234..5678" and, where it has not changed, the mode. */
static bool take_index(struct span line, struct file *file)
{
	uint32_t mode = 0;

	if (!take_oid(&line) || !parse_literal(&line, "..") || !take_oid(&line))
		return false;
	if (line.len == 0)
		return true;
	if (!parse_byte(&line, ' ') || !take_mode(line, &mode))
		return false;
	file->mode = mode;
	return true;
}

static bool take_percent(struct span line)
{
	uint64_t percent;

	return parse_u64(&line, 100, &percent) && parse_byte(&line, '%') && parse_end(&line);
}

static bool take_head_line(struct file *file, struct span line, bool *ret_is_known)
{
	uint32_t ignored;

	*ret_is_known = true;
	if (parse_literal(&line, "old mode "))
		return take_mode(line, &ignored);
	if (parse_literal(&line, "new mode "))
		return take_mode(line, &file->mode);
	if (parse_literal(&line, "new file mode ")) {
		file->is_new = true;
		return take_mode(line, &file->mode);
	}
	if (parse_literal(&line, "deleted file mode ")) {
		file->is_deleted = true;
		return take_mode(line, &ignored);
	}
	if (parse_literal(&line, "similarity index ") ||
	    parse_literal(&line, "dissimilarity index "))
		return take_percent(line);
	if (parse_literal(&line, "rename from ") || parse_literal(&line, "copy from ")) {
		if (file->has_from)
			return false;
		file->has_from = true;
		return patch_name_take_all(line, &file->from);
	}
	if (parse_literal(&line, "rename to ") || parse_literal(&line, "copy to ")) {
		if (file->has_to)
			return false;
		file->has_to = true;
		return patch_name_take_all(line, &file->to);
	}
	if (parse_literal(&line, "index "))
		return take_index(line, file);
	*ret_is_known = false;
	return true;
}

/* Which file it is, once all of its head is known; "diff --git" must say the same. */
static int settle_name(struct patch_check *check, struct err *err)
{
	struct file *file = &check->file;
	const struct span said = buf_span(&file->git_line);
	bool is_right;

	if (file->is_named)
		return 0;
	file->is_named = true;
	if (file->has_from != file->has_to || (file->is_new && file->is_deleted))
		return refuse(check, "its file is only half described", err);
	if (file->has_to) {
		is_right = patch_name_pair_is(said, buf_span(&file->from), buf_span(&file->to));
		buf_add(&file->name, buf_span(&file->to));
	} else {
		is_right = patch_name_pair_same(said, &file->name);
	}
	if (!is_right)
		return refuse(check, "its file is not named as git does", err);
	if (file->has_from && !patch_name_is_safe(buf_span(&file->from)))
		return refuse_name(check, buf_span(&file->from), err);
	if (!patch_name_is_safe(buf_span(&file->name)))
		return refuse_name(check, buf_span(&file->name), err);
	return 0;
}

/* "--- a/NAME", or /dev/null for what was not there before. */
static int take_side(struct patch_check *check, struct span line, bool is_old, struct err *err)
{
	const struct file *file = &check->file;
	const struct buf *wanted = is_old && file->has_from ? &file->from : &file->name;
	AUTO_BUF name = BUF_INIT;

	if (is_old ? file->is_new : file->is_deleted) {
		if (!span_eq(line, span_str("/dev/null")))
			return refuse(check, "not named as git does", err);
		return 0;
	}
	/* Git ends a name with blanks by a tab. */
	if (line.len > 0 && line.ptr[line.len - 1] == '\t')
		line.len--;
	if (!patch_name_take_side(line, is_old ? 'a' : 'b', &name) ||
	    !span_eq(buf_span(&name), buf_span(wanted)))
		return refuse(check, "not the file that 'diff --git' says", err);
	return 0;
}

static void note(struct strv *list, uint64_t *count, const struct buf *name,
		 const struct buf *target)
{
	AUTO_BUF text = BUF_INIT;

	if (++*count > PATCH_LINKS_MAX)
		return;
	text_escape(&text, buf_span(name), SHOWN_MAX);
	if (target) {
		buf_add_str(&text, " -> ");
		text_escape(&text, buf_span(target), SHOWN_MAX);
	}
	strv_add(list, text.ptr);
}

static int end_file(struct patch_check *check, struct err *err)
{
	struct patch_summary *summary = &check->summary;
	struct file *file = &check->file;
	int r;

	if (check->place == PLACE_START)
		return 0;
	r = settle_name(check, err);
	if (r < 0)
		return r;
	summary->files++;
	if (file->mode == MODE_REPOSITORY && !file->is_deleted)
		note(&summary->repositories, &summary->repository_count, &file->name, NULL);
	if (file->mode == MODE_LINK && !file->is_deleted && file->has_content &&
	    patch_link_leads_out(buf_span(&file->name), buf_span(&file->target)))
		note(&summary->far_links, &summary->far_link_count, &file->name, &file->target);
	return 0;
}

static int begin_file(struct patch_check *check, struct span line, struct err *err)
{
	const int r = end_file(check, err);

	if (r < 0)
		return r;
	file_begin(&check->file);
	buf_add(&check->file.git_line, line);
	check->place = PLACE_HEAD;
	return 0;
}

static int take_in_head(struct patch_check *check, struct span line, struct err *err)
{
	bool is_known;
	int r;

	if (parse_literal(&line, "diff --git "))
		return begin_file(check, line, err);
	if (!take_head_line(&check->file, line, &is_known))
		return refuse(check, "not as git writes it", err);
	if (is_known)
		return 0;
	r = settle_name(check, err);
	if (r < 0)
		return r;
	if (parse_literal(&line, "--- ")) {
		check->place = PLACE_OLD_NAME;
		return take_side(check, line, true, err);
	}
	if (span_eq(line, span_str("GIT binary patch"))) {
		if (check->file.mode == MODE_LINK)
			return refuse(check, "a link has no binary patch", err);
		check->place = PLACE_BINARY_HEAD;
		check->binary_parts = 0;
		return 0;
	}
	return refuse(check, "not as git writes it", err);
}

/* --- hunks --- */

/* "12,3" or "12", which is one line. */
static bool take_range(struct span *line, uint64_t *ret_count)
{
	uint64_t first;

	*ret_count = 1;
	if (!parse_u64(line, INT64_MAX, &first))
		return false;
	return !parse_byte(line, ',') || parse_u64(line, INT64_MAX, ret_count);
}

static int take_hunk_head(struct patch_check *check, struct span line, struct err *err)
{
	if (!parse_literal(&line, "@@ -") || !take_range(&line, &check->old_left) ||
	    !parse_literal(&line, " +") || !take_range(&line, &check->new_left) ||
	    !parse_literal(&line, " @@") || (line.len > 0 && line.ptr[0] != ' ') ||
	    (check->old_left == 0 && check->new_left == 0))
		return refuse(check, "not the head of a hunk", err);
	check->place = PLACE_HUNK;
	check->is_last_unended = true; /* nothing precedes it */
	check->file.has_content = true;
	return 0;
}

/* Decides by a line's first byte; false when no such line may come. */
static bool count_line(struct patch_check *check, uint8_t first)
{
	const bool is_old = first == ' ' || first == '-';
	const bool is_new = first == ' ' || first == '+';

	if (first == '\\') {
		const bool is_twice = check->is_last_unended;

		check->is_last_unended = true;
		return !is_twice;
	}
	if ((!is_old && !is_new) || (is_old && check->old_left == 0) ||
	    (is_new && check->new_left == 0))
		return false;
	check->old_left -= is_old;
	check->new_left -= is_new;
	check->is_last_unended = false;
	return true;
}

/* Of content only a new link's target is kept; a target of several lines leads out as it is. */
static void keep_target(struct patch_check *check, struct span line)
{
	struct buf *target = &check->file.target;

	if (check->file.mode != MODE_LINK || line.len == 0 || line.ptr[0] != '+')
		return;
	if (target->len > 0)
		buf_add_byte(target, '\n');
	if (target->len + line.len <= PATCH_NAME_MAX)
		buf_add(target, span_skip(line, 1));
}

static int take_in_hunk(struct patch_check *check, struct span line, struct err *err)
{
	if (line.len == 0 || !count_line(check, line.ptr[0]))
		return refuse(check, "not a line of this hunk", err);
	if (line.ptr[0] == '\\' && !str_starts((const char *)line.ptr, "\\ No newline"))
		return refuse(check, "not a line of this hunk", err);
	keep_target(check, line);
	if (check->old_left == 0 && check->new_left == 0)
		check->place = PLACE_AFTER_HUNK;
	return 0;
}

static int take_after_hunk(struct patch_check *check, struct span line, struct err *err)
{
	if (line.len > 0 && line.ptr[0] == '\\')
		return take_in_hunk(check, line, err);
	if (parse_literal(&line, "diff --git "))
		return begin_file(check, line, err);
	return take_hunk_head(check, line, err);
}

/* --- binary content --- */

static int take_binary_head(struct patch_check *check, struct span line, struct err *err)
{
	uint64_t size;

	if ((!parse_literal(&line, "literal ") && !parse_literal(&line, "delta ")) ||
	    !parse_u64(&line, INT64_MAX, &size) || !parse_end(&line) || check->binary_parts == 2)
		return refuse(check, "not as git writes it", err);
	check->binary_parts++;
	check->place = PLACE_BINARY;
	return 0;
}

static int take_binary(struct patch_check *check, struct span line, struct err *err)
{
	if (line.len == 0) {
		check->place = PLACE_AFTER_BINARY;
		return 0;
	}
	if (line.len > BINARY_LINE_MAX || strspn((const char *)line.ptr, BINARY_CHARS) != line.len)
		return refuse(check, "not as git writes it", err);
	return 0;
}

static int take_after_binary(struct patch_check *check, struct span line, struct err *err)
{
	if (parse_literal(&line, "diff --git "))
		return begin_file(check, line, err);
	return take_binary_head(check, line, err);
}

/* --- lines --- */

/* `check->line` is complete, without its newline; it is terminated as all buffers are. */
static int take_line(struct patch_check *check, struct err *err)
{
	struct span line = buf_span(&check->line);

	if (memchr(line.ptr, '\0', line.len) && check->place != PLACE_HUNK)
		return refuse(check, "not as git writes it", err);
	switch (check->place) {
	case PLACE_START:
		if (!parse_literal(&line, "diff --git "))
			return refuse(check, "not as git writes it", err);
		return begin_file(check, line, err);
	case PLACE_HEAD:
		return take_in_head(check, line, err);
	case PLACE_OLD_NAME:
		if (!parse_literal(&line, "+++ "))
			return refuse(check, "not as git writes it", err);
		check->place = PLACE_HUNK_HEAD;
		return take_side(check, line, false, err);
	case PLACE_HUNK_HEAD:
		return take_hunk_head(check, line, err);
	case PLACE_HUNK:
		return take_in_hunk(check, line, err);
	case PLACE_AFTER_HUNK:
		return take_after_hunk(check, line, err);
	case PLACE_BINARY_HEAD:
		return take_binary_head(check, line, err);
	case PLACE_BINARY:
		return take_binary(check, line, err);
	case PLACE_AFTER_BINARY:
		return take_after_binary(check, line, err);
	}
	return refuse(check, "not as git writes it", err);
}

/* What of a line is worth keeping: content may be as long as a file. */
static int keep(struct patch_check *check, struct span piece, struct err *err)
{
	const size_t room = PATCH_LINE_MAX - check->line.len;

	if (piece.len > room && check->place != PLACE_HUNK)
		return refuse(check, "too long", err);
	buf_add(&check->line, span_of(piece.ptr, piece.len < room ? piece.len : room));
	return 0;
}

int patch_check_feed(struct patch_check *check, struct span bytes, struct err *err)
{
	while (bytes.len > 0) {
		const uint8_t *end = memchr(bytes.ptr, '\n', bytes.len);
		const size_t len = end ? (size_t)(end - bytes.ptr) : bytes.len;
		int r;

		if (check->line.len == 0 && !check->has_begun) {
			check->line_number++;
			check->has_begun = true;
		}
		r = keep(check, span_of(bytes.ptr, len), err);
		if (r < 0)
			return r;
		bytes = span_skip(bytes, end ? len + 1 : len);
		if (!end)
			break;
		r = take_line(check, err);
		if (r < 0)
			return r;
		buf_clear(&check->line);
		check->has_begun = false;
	}
	return 0;
}

int patch_check_end(struct patch_check *check, struct patch_summary *ret, struct err *err)
{
	int r;

	if (check->has_begun)
		return refuse(check, "the patch ends within it", err);
	switch (check->place) {
	case PLACE_OLD_NAME:
	case PLACE_HUNK_HEAD:
	case PLACE_HUNK:
	case PLACE_BINARY_HEAD:
	case PLACE_BINARY:
		return err_set(err, ERR_PROTOCOL,
			       "the patch ends after line %llu, within a file's content",
			       (unsigned long long)check->line_number);
	case PLACE_START:
	case PLACE_HEAD:
	case PLACE_AFTER_HUNK:
	case PLACE_AFTER_BINARY:
		break;
	}
	r = end_file(check, err);
	if (r < 0)
		return r;
	*ret = check->summary;
	check->summary = (struct patch_summary){ .files = 0 };
	return 0;
}
