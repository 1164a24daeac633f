#include "workspace/content.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "workspace/manifest.h"

#define LINES_SIZE 16384 /* of the tree at a time */

void content_init(struct content *content, int root_fd, bool is_sha256, const struct plan *plan,
		  struct span base)
{
	*content = (struct content){
		.root_fd = root_fd,
		.is_sha256 = is_sha256,
		.files = buf_span(&plan->content),
		.lines = buf_span(&plan->tree_info),
		.base = base,
		.file = { .fd = -1 },
		.head = BUF_INIT,
	};
}

void content_add_note(struct content *content, struct content_note note)
{
	assert(content->note_count < CONTENT_NOTES_MAX);
	content->notes[content->note_count++] = note;
}

void content_done(struct content *content)
{
	worktree_file_done(&content->file);
	blob_hash_done(&content->hash);
	buf_done(&content->head);
	mem_free(content->path);
	content->path = NULL;
}

static int has_changed(const struct content *content, struct err *err)
{
	return err_set(err, ERR_BUSY, "'%s' changes while it is sent", content->path);
}

static void begin(struct content *content, uint64_t size)
{
	buf_clear(&content->head);
	buf_addf(&content->head, "blob\ndata %" PRIu64 "\n", size);
	content->left = size;
	content->is_open = true;
}

static int begin_file(struct content *content, const struct plan_line *line, struct err *err)
{
	const bool is_link = line->mode == MODE_LINK;
	int r;

	mem_free(content->path);
	content->path = mem_strndup((const char *)line->path.ptr, line->path.len);
	worktree_file_done(&content->file);
	r = worktree_open(content->root_fd, content->path, &content->file, err);
	if (r < 0)
		return r;
	if (content->file.kind != (is_link ? WORKTREE_LINK : WORKTREE_FILE))
		return has_changed(content, err);
	memcpy(content->wanted, line->oid.ptr, line->oid.len);
	content->wanted[line->oid.len] = '\0';
	r = blob_hash_begin(&content->hash, content->is_sha256, content->file.size, err);
	if (r < 0)
		return r;
	content->now = is_link ? span_str(content->file.target) : span_of("", 0);
	begin(content, content->file.size);
	return 0;
}

/* --- the tree --- */

static void begin_tree(struct content *content)
{
	buf_add_str(&content->head, "commit " CONTENT_REF "\n"
				    "committer banger <banger> 0 +0000\ndata 0\n");
	if (content->base.len > 0)
		buf_addf(&content->head, "M 040000 %.*s \"\"\n", (int)content->base.len,
			 (const char *)content->base.ptr);
	content->part = CONTENT_TREE;
}

/* As fast-import takes any name. */
static void add_quoted(struct buf *out, struct span path)
{
	buf_add_byte(out, '"');
	for (size_t i = 0; i < path.len; i++) {
		const uint8_t c = path.ptr[i];

		if (c == '"' || c == '\\' || c == '\n')
			buf_add_byte(out, '\\');
		buf_add_byte(out, c == '\n' ? 'n' : c);
	}
	buf_add_str(out, "\"\n");
}

static int add_lines(struct content *content, struct err *err)
{
	struct plan_line line;

	while (content->lines.len > 0 && content->head.len < LINES_SIZE) {
		if (!plan_next(&content->lines, &line))
			return err_set(err, ERR_INVALID, "impossible plan");
		if (line.mode == 0)
			buf_add_str(&content->head, "D ");
		else
			buf_addf(&content->head, "M %06o %.*s ", line.mode, (int)line.oid.len,
				 (const char *)line.oid.ptr);
		add_quoted(&content->head, line.path);
	}
	if (content->lines.len == 0) {
		buf_add_str(&content->head, "ls \"\"\n");
		content->part = CONTENT_END;
	}
	return 0;
}

/* 1 there is something to send, 0 it is all sent. */
static int begin_next(struct content *content, struct err *err)
{
	struct plan_line line;
	int r;

	if (content->next_note < content->note_count) {
		content->now = content->notes[content->next_note].head;
		content->next = content->notes[content->next_note++].rest;
		mem_free(TAKE_PTR(content->path));
		begin(content, content->now.len + content->next.len);
		return 1;
	}
	if (content->part == CONTENT_END)
		return 0;
	if (content->part == CONTENT_TREE) {
		r = add_lines(content, err);
		return r < 0 ? r : 1;
	}
	if (content->files.len == 0) {
		begin_tree(content);
		return 1;
	}
	if (!plan_next(&content->files, &line))
		return err_set(err, ERR_INVALID, "impossible plan");
	r = begin_file(content, &line, err);
	return r < 0 ? r : 1;
}

static int finish(struct content *content, struct err *err)
{
	char got[GIT_OID_HEX_MAX + 1];

	content->is_open = false;
	if (content->path) {
		blob_hash_end(&content->hash, got);
		if (!str_eq(got, content->wanted))
			return has_changed(content, err);
	}
	buf_add_byte(&content->head, '\n');
	return 0;
}

static ssize_t take_span(struct span *from, uint8_t *into, size_t size)
{
	const size_t count = from->len < size ? from->len : size;

	memcpy(into, from->ptr, count);
	*from = span_skip(*from, count);
	return (ssize_t)count;
}

/* Bytes of what is open. */
static ssize_t take_bytes(struct content *content, uint8_t *into, size_t size, struct err *err)
{
	ssize_t n;

	if (content->now.len == 0) {
		content->now = content->next;
		content->next = span_of("", 0);
	}
	if (content->now.len > 0) {
		n = take_span(&content->now, into, size);
	} else {
		n = fd_read_some(content->file.fd, into,
				 content->left < size ? (size_t)content->left : size);
		if (n < 0)
			return err_sys(err, (int)n, "read '%s'", content->path);
		if (n == 0)
			return has_changed(content, err);
	}
	content->left -= (uint64_t)n;
	if (content->path)
		blob_hash_add(&content->hash, span_of(into, (size_t)n));
	return n;
}

ssize_t content_read(void *context, void *into, size_t size, struct err *err)
{
	struct content *content = context;
	size_t done = 0;

	while (done < size) {
		uint8_t *at = (uint8_t *)into + done;
		ssize_t n;

		if (content->head.len > 0) {
			struct span head = buf_span(&content->head);

			n = take_span(&head, at, size - done);
			buf_consume(&content->head, (size_t)n);
		} else if (content->is_open && content->left > 0) {
			n = take_bytes(content, at, size - done, err);
		} else if (content->is_open) {
			n = finish(content, err);
		} else {
			n = begin_next(content, err);
			if (n == 0)
				break;
			n = n < 0 ? n : 0;
		}
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}
