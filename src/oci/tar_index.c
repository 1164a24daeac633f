#include "oci/tar_index.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define EXTRA_BYTES_MAX 65536 /* of a pax header or a long name */
#define SHOWN_NAME_MAX	160

/* Fields of a header block: offset and size (POSIX 1003.1, pax). */
#define NAME_AT	    0
#define NAME_SIZE   100
#define SIZE_AT	    124
#define SIZE_SIZE   12
#define SUM_AT	    148
#define SUM_SIZE    8
#define TYPE_AT	    156
#define LINK_AT	    157
#define LINK_SIZE   100
#define MAGIC_AT    257
#define PREFIX_AT   345
#define PREFIX_SIZE 155

/* What extra headers say of the member that follows them. */
struct extra {
	char *name; /* owned */
	char *link; /* owned */
	bool has_size;
	uint64_t size;
};

static void extra_done(struct extra *extra)
{
	mem_free(extra->name);
	mem_free(extra->link);
	*extra = (struct extra){ .name = NULL };
}

struct walk {
	int fd; /* borrowed */
	uint64_t file_size;
	uint64_t offset;
	struct extra extra;
	struct tar_index *index;
};

static int damaged(const struct walk *walk, const char *what, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "no tar, or a damaged one: %s at byte %llu", what,
		       (unsigned long long)walk->offset);
}

/* Exactly `size` bytes at an offset that was checked against the file's size. */
static int read_at(const struct walk *walk, uint64_t offset, void *into, size_t size,
		   struct err *err)
{
	uint8_t *bytes = into;

	while (size > 0) {
		const ssize_t n = pread(walk->fd, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read");
		if (n == 0)
			return damaged(walk, "it became shorter", err);
		bytes += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *block)
{
	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++) {
		if (block[i] != 0)
			return false;
	}
	return true;
}

/* Octal digits with blanks before and a blank or zero after them. */
static bool parse_octal(const uint8_t *field, size_t size, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;
	bool has_digit = false;

	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value >> 61)
			return false;
		value = value << 3 | (uint64_t)(field[i] - '0');
		has_digit = true;
	}
	if (!has_digit || (i < size && field[i] != ' ' && field[i] != '\0'))
		return false;
	*ret = value;
	return true;
}

/* GNU's form for what octal digits cannot hold begins with a set bit; negative sizes are none. */
static bool parse_number(const uint8_t *field, size_t size, uint64_t *ret)
{
	uint64_t value = 0;

	if (!(field[0] & 0x80))
		return parse_octal(field, size, ret);
	if (field[0] != 0x80)
		return false;
	for (size_t i = 1; i < size; i++) {
		if (value >> 55)
			return false;
		value = value << 8 | field[i];
	}
	*ret = value;
	return true;
}

static bool has_right_sum(const uint8_t *block)
{
	uint64_t wanted, sum = 0;

	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
		sum += i >= SUM_AT && i < SUM_AT + SUM_SIZE ? ' ' : block[i];
	return parse_octal(block + SUM_AT, SUM_SIZE, &wanted) && wanted == sum;
}

static void add_field(struct buf *out, const uint8_t *field, size_t size)
{
	buf_add(out, span_of(field, strnlen((const char *)field, size)));
}

static char *header_name(const uint8_t *block)
{
	/* GNU's own format has other things where ustar has the prefix. */
	static const char ustar[] = "ustar";
	AUTO_BUF name = BUF_INIT;

	if (memcmp(block + MAGIC_AT, ustar, sizeof(ustar)) == 0 && block[PREFIX_AT] != '\0') {
		add_field(&name, block + PREFIX_AT, PREFIX_SIZE);
		buf_add_byte(&name, '/');
	}
	add_field(&name, block + NAME_AT, NAME_SIZE);
	return buf_detach(&name);
}

static char *header_link(const uint8_t *block)
{
	AUTO_BUF link = BUF_INIT;

	add_field(&link, block + LINK_AT, LINK_SIZE);
	return buf_detach(&link);
}

/* One pax record's value; others than these say nothing that matters here. */
static bool take_pax(struct span key, struct span value, struct extra *extra)
{
	char **text = NULL;

	if (span_eq(key, span_str("size"))) {
		extra->has_size = true;
		return parse_u64(&value, INT64_MAX, &extra->size) && parse_end(&value);
	}
	if (span_eq(key, span_str("path")))
		text = &extra->name;
	else if (span_eq(key, span_str("linkpath")))
		text = &extra->link;
	if (!text)
		return true;
	if (value.len > 0 && memchr(value.ptr, '\0', value.len))
		return false;
	mem_free(*text);
	*text = mem_strndup((const char *)value.ptr, value.len);
	return true;
}

/* Records "LENGTH KEY=VALUE\n", where the length counts all of it. */
static bool parse_pax(struct span records, struct extra *extra)
{
	while (records.len > 0) {
		struct span rest = records, record, key;
		uint64_t length;

		if (!parse_u64(&rest, records.len, &length) || !parse_byte(&rest, ' '))
			return false;
		if (length <= records.len - rest.len)
			return false;
		record = span_of(rest.ptr, length - (records.len - rest.len));
		if (record.ptr[record.len - 1] != '\n')
			return false;
		record.len--;
		if (!parse_until(&record, '=', &key) || !take_pax(key, record, extra))
			return false;
		records = span_skip(records, length);
	}
	return true;
}

/* Reads a header about the next member: pax, or a long name or link of GNU. */
static int read_extra(struct walk *walk, char type, uint64_t size, struct err *err)
{
	AUTO_BUF bytes = BUF_INIT;
	char **text = type == 'L' ? &walk->extra.name : &walk->extra.link;
	int r;

	if (size > EXTRA_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "a header of %llu bytes at byte %llu",
			       (unsigned long long)size, (unsigned long long)walk->offset);
	buf_reserve(&bytes, size);
	r = read_at(walk, walk->offset + TAR_BLOCK_BYTES, bytes.ptr, size, err);
	if (r < 0)
		return r;
	buf_advance(&bytes, size);
	if (type == 'x')
		return parse_pax(buf_span(&bytes), &walk->extra)
			       ? 0
			       : damaged(walk, "a malformed pax header", err);
	mem_free(*text);
	*text = mem_strdup(bytes.ptr);
	return 0;
}

/*
 * Appends a path, component by component, to what is in `out` already; "." and empty ones fall out.
 * False when ".." leaves the archive.
 */
static bool add_path(struct buf *out, const char *path)
{
	while (*path != '\0') {
		const size_t len = strcspn(path, "/");
		const struct span part = span_of(path, len);

		if (span_eq(part, span_str(".."))) {
			const char *slash = strrchr(out->ptr, '/');

			if (out->len == 0)
				return false;
			buf_truncate(out, slash ? (size_t)(slash - out->ptr) : 0);
		} else if (len > 0 && !span_eq(part, span_str("."))) {
			if (out->len > 0)
				buf_add_byte(out, '/');
			buf_add(out, part);
		}
		path += len + (path[len] == '/');
	}
	return true;
}

/* Where a link leads: a hard link's target begins at the root, a symbolic one's beside the link. */
static char *resolve_target(const char *name, const char *link, bool is_symbolic)
{
	AUTO_BUF path = BUF_INIT;

	if (is_symbolic && link[0] != '/' && (!add_path(&path, name) || !add_path(&path, "..")))
		return NULL;
	return add_path(&path, link) ? buf_detach(&path) : NULL;
}

static int add_member(struct walk *walk, const uint8_t *block, uint64_t size, struct err *err)
{
	struct tar_index *index = walk->index;
	const char type = (char)block[TYPE_AT];
	AUTO_FREE char *raw_name =
		walk->extra.name ? TAKE_PTR(walk->extra.name) : header_name(block);
	AUTO_FREE char *link = walk->extra.link ? TAKE_PTR(walk->extra.link) : header_link(block);
	AUTO_BUF name = BUF_INIT;
	struct tar_member member = { .type = TAR_MEMBER_OTHER,
				     .offset = walk->offset + TAR_BLOCK_BYTES,
				     .size = size };

	if (strlen(raw_name) > TAR_INDEX_NAME_MAX || strlen(link) > TAR_INDEX_NAME_MAX)
		return err_set(err, ERR_LIMIT, "a name of more than %d bytes at byte %llu",
			       TAR_INDEX_NAME_MAX, (unsigned long long)walk->offset);
	if (index->count == TAR_INDEX_MEMBERS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d members", TAR_INDEX_MEMBERS_MAX);
	if (!add_path(&name, raw_name))
		return err_set(err, ERR_PROTOCOL, "the name '%.*s' leaves the archive",
			       SHOWN_NAME_MAX, raw_name);
	if (type == '1' || type == '2') {
		member.type = TAR_MEMBER_LINK;
		member.target = resolve_target(name.ptr, link, type == '2');
	} else if (type == '0' || type == '\0') {
		member.type = TAR_MEMBER_FILE;
	}
	member.name = buf_detach(&name);
	if (index->count == index->cap) {
		index->cap = index->cap ? index->cap * 2 : 64;
		index->members = mem_grow(index->members, index->cap, sizeof(*index->members));
	}
	index->members[index->count++] = member;
	return 0;
}

/* One header and what belongs to it; the offset moves behind its data. 1 at the archive's end. */
static int read_member(struct walk *walk, struct err *err)
{
	uint8_t block[TAR_BLOCK_BYTES];
	uint64_t size, room = walk->file_size - walk->offset;
	char type;
	int r;

	if (room < TAR_BLOCK_BYTES)
		return damaged(walk, "its end is missing", err);
	r = read_at(walk, walk->offset, block, sizeof(block), err);
	if (r < 0)
		return r;
	if (is_zero(block))
		return 1;
	type = (char)block[TYPE_AT];
	if (!has_right_sum(block) || !parse_number(block + SIZE_AT, SIZE_SIZE, &size))
		return damaged(walk, "no header", err);
	room -= TAR_BLOCK_BYTES;
	if (type == 'x' || type == 'L' || type == 'K' || type == 'g') {
		/* A global header speaks of all members, so of none that is looked for. */
		if (size > room)
			return damaged(walk, "a header beyond the end", err);
		r = type == 'g' ? 0 : read_extra(walk, type, size, err);
	} else {
		if (walk->extra.has_size)
			size = walk->extra.size;
		/* Links and special files have none, whatever is written there. */
		if (type >= '1' && type <= '6')
			size = 0;
		if (size > room)
			return damaged(walk, "a member beyond the end", err);
		r = add_member(walk, block, size, err);
		extra_done(&walk->extra);
	}
	if (r < 0)
		return r;
	size = (size + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES * TAR_BLOCK_BYTES;
	walk->offset += TAR_BLOCK_BYTES + (size < room ? size : room);
	return 0;
}

int tar_index_read(int fd, const struct cancel *cancel, struct tar_index *ret, struct err *err)
{
	AUTO_TAR_INDEX index = TAR_INDEX_INIT;
	struct walk walk = { .fd = fd, .index = &index };
	struct stat status;
	int r = 0;

	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "read");
	assert(status.st_size >= 0);
	walk.file_size = (uint64_t)status.st_size;
	while (r == 0) {
		r = cancel_check(cancel, err);
		if (r == 0)
			r = read_member(&walk, err);
	}
	extra_done(&walk.extra);
	if (r < 0)
		return err_negative(r);
	*ret = index;
	index = TAR_INDEX_INIT;
	return 0;
}

void tar_index_done(struct tar_index *index)
{
	for (size_t i = 0; i < index->count; i++) {
		mem_free(index->members[i].name);
		mem_free(index->members[i].target);
	}
	mem_free(index->members);
	*index = TAR_INDEX_INIT;
}

static int find_one(const struct tar_index *index, const char *name, const struct tar_member **ret,
		    struct err *err)
{
	const struct tar_member *found = NULL;

	for (size_t i = 0; i < index->count; i++) {
		if (!str_eq(index->members[i].name, name))
			continue;
		if (found)
			return err_set(err, ERR_PROTOCOL, "two members have the name '%.*s'",
				       SHOWN_NAME_MAX, name);
		found = &index->members[i];
	}
	if (!found)
		return err_set(err, ERR_PROTOCOL, "there is no '%.*s'", SHOWN_NAME_MAX, name);
	*ret = found;
	return 0;
}

int tar_index_find(const struct tar_index *index, const char *name, const struct tar_member **ret,
		   struct err *err)
{
	const struct tar_member *member = NULL;
	AUTO_BUF path = BUF_INIT;
	int r;

	if (!add_path(&path, name))
		return err_set(err, ERR_PROTOCOL, "the name '%.*s' leaves the archive",
			       SHOWN_NAME_MAX, name);
	r = find_one(index, path.ptr, &member, err);
	/* One link, so there are no loops. */
	if (r == 0 && member->type == TAR_MEMBER_LINK && member->target)
		r = find_one(index, member->target, &member, err);
	if (r < 0)
		return r;
	if (member->type != TAR_MEMBER_FILE)
		return err_set(err, ERR_PROTOCOL, "'%.*s' is not a file", SHOWN_NAME_MAX, name);
	*ret = member;
	return 0;
}
