#include "ext4/acl.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>

#define XATTR_VERSION 2U
#define DISK_VERSION  1U
#define ENTRY_SIZE    8U
#define ID_NONE	      UINT32_MAX

struct acl_entry {
	uint16_t tag;
	uint16_t permissions;
	uint32_t id;
};

static void add_le16(struct buf *out, uint16_t value)
{
	value = htole16(value);
	buf_add(out, span_of(&value, sizeof(value)));
}

static void add_le32(struct buf *out, uint32_t value)
{
	value = htole32(value);
	buf_add(out, span_of(&value, sizeof(value)));
}

static uint16_t get_le16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t get_le32(const uint8_t *bytes)
{
	return get_le16(bytes) | (uint32_t)get_le16(bytes + 2) << 16;
}

void acl_begin(struct buf *acl)
{
	add_le32(acl, XATTR_VERSION);
}

void acl_add(struct buf *acl, enum acl_tag tag, uint16_t permissions, uint32_t id)
{
	add_le16(acl, (uint16_t)tag);
	add_le16(acl, permissions);
	add_le32(acl, id);
}

static bool has_id(uint16_t tag)
{
	return tag == ACL_TAG_USER || tag == ACL_TAG_GROUP;
}

static bool is_tag(uint16_t tag)
{
	return has_id(tag) || tag == ACL_TAG_USER_OBJ || tag == ACL_TAG_GROUP_OBJ ||
	       tag == ACL_TAG_MASK || tag == ACL_TAG_OTHER;
}

/* Whether `entry` may follow `last` (NULL for the first one). */
static bool is_in_order(const struct acl_entry *last, const struct acl_entry *entry)
{
	if (!is_tag(entry->tag) || entry->permissions > 7)
		return false;
	if (has_id(entry->tag) && entry->id == ID_NONE)
		return false;
	if (!last)
		return entry->tag == ACL_TAG_USER_OBJ;
	if (last->tag == entry->tag)
		return has_id(entry->tag);
	return last->tag < entry->tag;
}

static bool is_complete(uint16_t tags)
{
	const uint16_t base = ACL_TAG_USER_OBJ | ACL_TAG_GROUP_OBJ | ACL_TAG_OTHER;

	if ((tags & base) != base)
		return false;
	return (tags & (ACL_TAG_USER | ACL_TAG_GROUP)) == 0 || (tags & ACL_TAG_MASK) != 0;
}

int acl_encode(struct span xattr, struct buf *out)
{
	struct acl_entry last = { .tag = 0 };
	uint16_t tags = 0;
	size_t i, count;

	if (xattr.len < 4 || get_le32(xattr.ptr) != XATTR_VERSION || (xattr.len - 4) % ENTRY_SIZE)
		return -EINVAL;
	count = (xattr.len - 4) / ENTRY_SIZE;
	if (count == 0 || count > ACL_ENTRIES_MAX)
		return -EINVAL;
	add_le32(out, DISK_VERSION);
	for (i = 0; i < count; i++) {
		const uint8_t *at = xattr.ptr + 4 + i * ENTRY_SIZE;
		const struct acl_entry entry = { .tag = get_le16(at),
						 .permissions = get_le16(at + 2),
						 .id = get_le32(at + 4) };

		if (!is_in_order(i > 0 ? &last : NULL, &entry))
			return -EINVAL;
		add_le16(out, entry.tag);
		add_le16(out, entry.permissions);
		if (has_id(entry.tag))
			add_le32(out, entry.id);
		tags |= entry.tag;
		last = entry;
	}
	return is_complete(tags) ? 0 : -EINVAL;
}
