#include "ext4/tar_entry.h"

#include <archive.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "ext4/acl.h"

#define PERMISSIONS_MASK 07777
#define MAJOR_MAX	 0xfff
#define MINOR_MAX	 0xfffff

static int type_of(struct archive_entry *entry, uint16_t *ret, struct err *err)
{
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		*ret = S_IFREG;
		return 0;
	case AE_IFDIR:
		*ret = S_IFDIR;
		return 0;
	case AE_IFLNK:
		*ret = S_IFLNK;
		return 0;
	case AE_IFCHR:
		*ret = S_IFCHR;
		return 0;
	case AE_IFBLK:
		*ret = S_IFBLK;
		return 0;
	case AE_IFIFO:
		*ret = S_IFIFO;
		return 0;
	default:
		return err_set(err, ERR_INVALID, "its type is unknown");
	}
}

static int check_id(int64_t id, const char *what, uint32_t *ret, struct err *err)
{
	if (id < 0 || id > UINT32_MAX)
		return err_set(err, ERR_INVALID, "the %s id %lld does not fit into 32 bits", what,
			       (long long)id);
	*ret = (uint32_t)id;
	return 0;
}

/* --- ACLs --- */

static const struct {
	int archive;
	enum acl_tag tag;
} acl_tags[] = {
	/* In the order in which ext4 wants them. */
	{ ARCHIVE_ENTRY_ACL_USER_OBJ, ACL_TAG_USER_OBJ },
	{ ARCHIVE_ENTRY_ACL_USER, ACL_TAG_USER },
	{ ARCHIVE_ENTRY_ACL_GROUP_OBJ, ACL_TAG_GROUP_OBJ },
	{ ARCHIVE_ENTRY_ACL_GROUP, ACL_TAG_GROUP },
	{ ARCHIVE_ENTRY_ACL_MASK, ACL_TAG_MASK },
	{ ARCHIVE_ENTRY_ACL_OTHER, ACL_TAG_OTHER },
};

static int add_acl_tag(struct archive_entry *entry, int type, size_t row, struct buf *acl,
		       struct err *err)
{
	int found_type, permissions, tag, id;
	const char *name;

	(void)archive_entry_acl_reset(entry, type);
	while (archive_entry_acl_next(entry, type, &found_type, &permissions, &tag, &id, &name) ==
	       ARCHIVE_OK) {
		if (tag != acl_tags[row].archive)
			continue;
		if ((tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP) && id < 0)
			return err_set(err, ERR_INVALID, "its ACL has an entry without an id");
		if (acl->len > (size_t)ACL_ENTRIES_MAX * 8)
			return err_set(err, ERR_LIMIT, "its ACL has more than %d entries",
				       ACL_ENTRIES_MAX);
		acl_add(acl, acl_tags[row].tag, (uint16_t)(permissions & 7),
			id < 0 ? UINT32_MAX : (uint32_t)id);
	}
	return 0;
}

static int add_acl(struct archive_entry *entry, int type, const char *name, struct xattr_list *list,
		   struct err *err)
{
	AUTO_BUF acl = BUF_INIT;
	size_t row;

	/*
	 * For an access ACL without more than the mode has, libarchive has no entries; with more,
	 * it takes the three that the mode gives from there.
	 */
	if ((archive_entry_acl_types(entry) & type) == 0)
		return 0;
	acl_begin(&acl);
	for (row = 0; row < ARRAY_LEN(acl_tags); row++) {
		int r = add_acl_tag(entry, type, row, &acl, err);

		if (r < 0)
			return r;
	}
	return xattr_list_add(list, name, buf_span(&acl), err);
}

/* --- extended attributes --- */

static int collect_xattrs(struct archive_entry *entry, struct xattr_list *list, struct err *err)
{
	const void *value;
	const char *name;
	size_t size;
	int r;

	(void)archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || str_starts(name, "trusted.overlay."))
			continue;
		r = xattr_list_add(list, name, span_of(value, size), err);
		if (r < 0)
			return r;
	}
	r = add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", list, err);
	if (r < 0)
		return r;
	return add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", list,
		       err);
}

int tar_entry_attributes(struct ext4_writer *writer, struct archive_entry *entry,
			 struct tree_attributes *ret, struct err *err)
{
	AUTO_XATTR_LIST list = { .count = 0 };
	struct tree_attributes attributes = { .mode = 0 };
	uint16_t type = 0;
	int r;

	r = type_of(entry, &type, err);
	if (r == 0)
		r = check_id(archive_entry_uid(entry), "user", &attributes.uid, err);
	if (r == 0)
		r = check_id(archive_entry_gid(entry), "group", &attributes.gid, err);
	if (r == 0)
		r = collect_xattrs(entry, &list, err);
	if (r == 0)
		r = xattr_table_add(&writer->xattrs, &list, &attributes.xattrs, err);
	if (r < 0)
		return r;
	attributes.mode = (uint16_t)(type | (archive_entry_perm(entry) & PERMISSIONS_MASK));
	if (type == S_IFLNK)
		attributes.mode = S_IFLNK | 0777;
	ext4_writer_set_time(writer, &attributes, archive_entry_mtime(entry),
			     (uint32_t)archive_entry_mtime_nsec(entry));
	*ret = attributes;
	return 0;
}

int tar_entry_device(struct archive_entry *entry, struct tree_inode *inode, struct err *err)
{
	uint64_t major = archive_entry_rdevmajor(entry);
	uint64_t minor = archive_entry_rdevminor(entry);

	if (major > MAJOR_MAX || minor > MINOR_MAX)
		return err_set(err, ERR_INVALID, "ext4 cannot hold the device number %llu:%llu",
			       (unsigned long long)major, (unsigned long long)minor);
	inode->u.device.major = (uint32_t)major;
	inode->u.device.minor = (uint32_t)minor;
	return 0;
}
