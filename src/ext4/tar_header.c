#include "ext4/tar_header.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/span.h"
#include "base/text.h"

#define BLOCK_SIZE  512U
#define SIZE_AT	    124U
#define SIZE_LENGTH 12U
#define TYPE_AT	    156U
#define CONTENT_MAX ((uint64_t)1024 * 1024) /* of a header; libarchive's limit */
#define HEADERS_MAX 33U			    /* before an entry; libarchive's limit */
#define NUMBER_MAX  (CONTENT_MAX + 32)	    /* a record's length */

void tar_window_init(struct tar_window *window)
{
	*window = (struct tar_window){ .ring = mem_alloc(1, TAR_WINDOW_SIZE), .scratch = BUF_INIT };
}

void tar_window_done(struct tar_window *window)
{
	mem_free(window->ring);
	buf_done(&window->scratch);
}

uint8_t *tar_window_room(struct tar_window *window, size_t *ret_size)
{
	const size_t at = (size_t)(window->end % TAR_WINDOW_SIZE);

	*ret_size = TAR_WINDOW_SIZE - at;
	return window->ring + at;
}

static int damaged(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "its headers are damaged or too large");
}

/* Bytes of the stream in one piece; they stay until the next call. */
static bool look(struct tar_window *window, uint64_t from, size_t size, struct span *ret)
{
	const size_t at = (size_t)(from % TAR_WINDOW_SIZE);
	const size_t first = size < TAR_WINDOW_SIZE - at ? size : TAR_WINDOW_SIZE - at;

	if (from > window->end || size > window->end - from || window->end - from > TAR_WINDOW_SIZE)
		return false;
	if (first == size) {
		*ret = span_of(window->ring + at, size);
		return true;
	}
	buf_clear(&window->scratch);
	buf_add(&window->scratch, span_of(window->ring + at, first));
	buf_add(&window->scratch, span_of(window->ring, size - first));
	*ret = buf_span(&window->scratch);
	return true;
}

/* The number of bytes that follow a header; false when it is none, or more than such ones have. */
static bool content_size(struct span header, uint64_t *ret)
{
	const uint8_t *at = header.ptr + SIZE_AT;
	const uint8_t *end = at + SIZE_LENGTH;
	uint64_t size = 0;

	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	for (; at < end && *at >= '0' && *at <= '7'; at++)
		size = size * 8 + (uint64_t)(*at - '0');
	if ((at < end && *at != ' ' && *at != '\0') || size > CONTENT_MAX)
		return false;
	*ret = size;
	return true;
}

/* --- names --- */

static int check_zero(struct span name, struct err *err)
{
	if (name.len > 0 && memchr(name.ptr, '\0', name.len))
		return err_set(err, ERR_INVALID, "its name or target has a zero byte");
	return 0;
}

/* GNU's long names end with a zero byte. */
static int check_long_name(struct span name, struct err *err)
{
	while (name.len > 0 && name.ptr[name.len - 1] == '\0')
		name.len--;
	return check_zero(name, err);
}

static bool is_name(struct span key)
{
	return span_eq(key, span_str("path")) || span_eq(key, span_str("linkpath")) ||
	       span_eq(key, span_str("GNU.sparse.name"));
}

/* libarchive takes them in front of a length. */
static struct span without_zeros(struct span text)
{
	while (text.len > 0 && text.ptr[0] == '0')
		text = span_of(text.ptr + 1, text.len - 1);
	return text;
}

/* Records "LENGTH KEY=VALUE\n". What is wrong with them is libarchive's to say. */
static int check_pax(struct span records, struct err *err)
{
	while (records.len > 0) {
		struct span rest = without_zeros(records);
		struct span record;
		const uint8_t *equals;
		uint64_t length;
		size_t used;
		int r = 0;

		if (!parse_u64(&rest, NUMBER_MAX, &length) || !parse_byte(&rest, ' '))
			return 0;
		used = records.len - rest.len;
		if (length <= used || length > records.len)
			return 0;
		record = span_of(rest.ptr, (size_t)length - used - 1);
		equals = record.len > 0 ? memchr(record.ptr, '=', record.len) : NULL;
		if (equals && is_name(span_of(record.ptr, (size_t)(equals - record.ptr))))
			r = check_zero(record, err);
		if (r < 0)
			return r;
		records = span_of(records.ptr + length, records.len - (size_t)length);
	}
	return 0;
}

/* --- headers --- */

/* POSIX's types, with the two for files of old, and GNU's folders and sparse files. */
static int check_type(uint8_t type, struct err *err)
{
	if (type == '\0' || (type >= '0' && type <= '7') || type == 'D' || type == 'S')
		return 0;
	if (type > ' ' && type < 0x7f)
		return err_set(err, ERR_INVALID, "its type '%c' is unknown", type);
	return err_set(err, ERR_INVALID, "its type 0x%02x is unknown", type);
}

/* Headers that are about the next one: pax's, GNU's long names, Solaris' ACLs, GNU's label. */
static bool is_before_entry(uint8_t type)
{
	return type == 'x' || type == 'X' || type == 'g' || type == 'L' || type == 'K' ||
	       type == 'A' || type == 'V';
}

static int check_content(uint8_t type, struct span content, struct err *err)
{
	switch (type) {
	case 'x':
	case 'X':
		return check_pax(content, err);
	case 'L':
	case 'K':
		return check_long_name(content, err);
	case 'V': /* versions of libarchive do not agree on where the next header is then */
		return content.len > 0 ? damaged(err) : 0;
	default:
		return 0;
	}
}

int tar_header_check(struct tar_window *window, uint64_t from, struct err *err)
{
	unsigned i;

	for (i = 0; i < HEADERS_MAX; i++) {
		struct span bytes;
		uint64_t size;
		uint8_t type;
		int r;

		if (!look(window, from, BLOCK_SIZE, &bytes))
			return damaged(err);
		type = bytes.ptr[TYPE_AT];
		if (!is_before_entry(type))
			return check_type(type, err);
		if (!content_size(bytes, &size) ||
		    !look(window, from + BLOCK_SIZE, (size_t)size, &bytes))
			return damaged(err);
		r = check_content(type, bytes, err);
		if (r < 0)
			return r;
		from += BLOCK_SIZE + (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	}
	return damaged(err);
}
