/* POSIX ACLs: from the form of getxattr(2) and from libarchive's, into ext4's. */
#pragma once

#include "base/buf.h"
#include "base/macros.h"
#include "base/span.h"

/* Tags, as Linux numbers them in both forms. */
enum acl_tag {
	ACL_TAG_USER_OBJ = 0x01,
	ACL_TAG_USER = 0x02,
	ACL_TAG_GROUP_OBJ = 0x04,
	ACL_TAG_GROUP = 0x08,
	ACL_TAG_MASK = 0x10,
	ACL_TAG_OTHER = 0x20,
};

#define ACL_ENTRIES_MAX 512 /* more would not fit into a block */

/* Starts an ACL in the form of getxattr(2), and appends an entry. */
void acl_begin(struct buf *acl);
void acl_add(struct buf *acl, enum acl_tag tag, uint16_t permissions, uint32_t id);

/*
 * Turns it into ext4's form. -EINVAL unless it is what the kernel accepts: version 2, entries in
 * order, each tag but users and groups at most once, the three that must be there, a mask when
 * there are users or groups.
 */
int acl_encode(struct span xattr, struct buf *out) MUST_CHECK;
