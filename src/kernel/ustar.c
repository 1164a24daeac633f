#include "kernel/ustar.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

/* Where the fields are, and how long. */
#define NAME_AT	      0
#define NAME_SIZE     100
#define SIZE_AT	      124
#define SIZE_SIZE     12
#define CHECKSUM_AT   148
#define CHECKSUM_SIZE 8
#define TYPE_AT	      156
#define LINK_AT	      157
#define LINK_SIZE     100
#define MAGIC_AT      257
#define MAGIC_SIZE    8
#define PREFIX_AT     345
#define PREFIX_SIZE   155
#define PAD_AT	      500

static const uint8_t posix_magic[MAGIC_SIZE] = { 'u', 's', 't', 'a', 'r', '\0', '0', '0' };
static const uint8_t gnu_magic[MAGIC_SIZE] = { 'u', 's', 't', 'a', 'r', ' ', ' ', '\0' };

static bool is_zero(struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if (bytes.ptr[i] != 0)
			return false;
	return true;
}

static struct span field(struct span block, size_t at, size_t size)
{
	return span_of(block.ptr + at, size);
}

/* Text up to the first zero byte, with nothing but zeros behind it. */
static bool read_text(struct span from, struct span *ret)
{
	const size_t len = strnlen((const char *)from.ptr, from.len);

	*ret = span_of(from.ptr, len);
	return is_zero(span_skip(from, len));
}

/* Octal digits, at least one, then blanks or zero bytes to the end; leading blanks are old. */
static bool read_octal(struct span from, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;
	size_t digits = 0;

	while (i < from.len && from.ptr[i] == ' ')
		i++;
	for (; i < from.len && from.ptr[i] >= '0' && from.ptr[i] <= '7'; i++, digits++)
		value = value << 3 | (uint64_t)(from.ptr[i] - '0');
	for (; i < from.len; i++)
		if (from.ptr[i] != ' ' && from.ptr[i] != '\0')
			return false;
	*ret = value;
	return digits > 0;
}

/* Twelve bytes: octal digits, or GNU's binary form for what those cannot say. */
static bool read_size(struct span from, uint64_t *ret)
{
	uint64_t value = 0;

	if (from.ptr[0] != 0x80)
		return read_octal(from, ret);
	if (!is_zero(field(from, 1, SIZE_SIZE - 1 - sizeof(value))))
		return false;
	for (size_t i = SIZE_SIZE - sizeof(value); i < SIZE_SIZE; i++)
		value = value << 8 | from.ptr[i];
	*ret = value;
	return value <= INT64_MAX;
}

static bool has_checksum(struct span block)
{
	uint64_t wanted = 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < block.len; i++)
		sum += i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_SIZE ? ' ' : block.ptr[i];
	return read_octal(field(block, CHECKSUM_AT, CHECKSUM_SIZE), &wanted) && wanted == sum;
}

static const char *type_name(uint8_t type)
{
	switch (type) {
	case '1':
		return "a hard link";
	case '2':
		return "a symbolic link";
	case '3':
	case '4':
		return "a device";
	case '5':
		return "a folder";
	case '6':
		return "a FIFO";
	case 'x':
	case 'g':
		return "a pax header (make the tar with --format=gnu)";
	case 'L':
	case 'K':
		return "a long name (over 100 bytes: make the tar with --format=ustar)";
	case 'S':
		return "a sparse file (make the tar without --sparse)";
	default:
		return "of an unknown type";
	}
}

static int read_name(struct span block, bool is_posix, struct ustar_member *ret, struct err *err)
{
	struct span name;
	struct span prefix;
	size_t len = 0;

	if (!read_text(field(block, NAME_AT, NAME_SIZE), &name) ||
	    !read_text(field(block, PREFIX_AT, PREFIX_SIZE), &prefix) ||
	    (!is_posix && prefix.len > 0))
		return err_set(err, ERR_INVALID, "a name in the tar has strange bytes");
	if (prefix.len > 0) {
		memcpy(ret->name, prefix.ptr, prefix.len);
		ret->name[prefix.len] = '/';
		len = prefix.len + 1;
	}
	memcpy(ret->name + len, name.ptr, name.len);
	ret->name[len + name.len] = '\0';
	return 0;
}

int ustar_read(struct span block, struct ustar_member *ret, struct err *err)
{
	struct ustar_member member = { .size = 0 };
	struct span magic;
	uint8_t type;
	bool is_posix;
	int r;

	assert(block.len == USTAR_BLOCK_SIZE);
	if (is_zero(block))
		return 0;
	if (!has_checksum(block))
		return err_set(err, ERR_INVALID, "the tar has a damaged header, or is none");
	magic = field(block, MAGIC_AT, MAGIC_SIZE);
	is_posix = span_eq(magic, span_of(posix_magic, sizeof(posix_magic)));
	if (!is_posix && !span_eq(magic, span_of(gnu_magic, sizeof(gnu_magic))))
		return err_set(err, ERR_INVALID, "the tar has an unknown format");
	r = read_name(block, is_posix, &member, err);
	if (r < 0)
		return r;
	type = block.ptr[TYPE_AT];
	if (type != '0' && type != '\0')
		return err_set(err, ERR_INVALID, "'%s' is %s; only regular files are allowed",
			       member.name, type_name(type));
	if (!is_zero(field(block, LINK_AT, LINK_SIZE)) ||
	    !is_zero(field(block, PAD_AT, USTAR_BLOCK_SIZE - PAD_AT)))
		return err_set(err, ERR_INVALID, "'%s' has strange bytes in its header",
			       member.name);
	if (!read_size(field(block, SIZE_AT, SIZE_SIZE), &member.size))
		return err_set(err, ERR_INVALID, "'%s' has no readable size", member.name);
	*ret = member;
	return 1;
}
