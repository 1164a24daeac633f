/*
 * Extended attributes in ext4's two places: the room behind the inode, and one block that files
 * with the same attributes share. Sets are kept once each, encoded.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "ext4/space.h"

#define XATTR_BODY_SIZE	 96U   /* 256-byte inode less 128 and i_extra_isize of 32 */
#define XATTR_COUNT_MAX	 256U  /* of one file; more could not fit anyway */
#define XATTR_SHARED_MAX 1024U /* files that refer to one block: the kernel's limit */

struct xattr_set {
	uint8_t *body;	/* owned: XATTR_BODY_SIZE bytes, or NULL */
	uint8_t *block; /* owned: a block without its checksum, or NULL */
	uint32_t users; /* inodes that have it; counted while sealing */
	uint32_t first; /* its first block in the list of blocks; one for each XATTR_SHARED_MAX
			   users */
	uint32_t given; /* users that have been told their block */
	uint64_t hash;
};

struct xattr_table {
	struct xattr_set *sets; /* owned; [0] is the empty set */
	size_t count, cap;
	uint64_t bytes;
	uint64_t bytes_max; /* of all sets together */
};

void xattr_table_init(struct xattr_table *table, uint64_t bytes_max);
void xattr_table_done(struct xattr_table *table);

/* One file's attributes while they are gathered. A name that comes again replaces the earlier
 * value. */
struct xattr_item {
	uint8_t index; /* the prefix's number on disk */
	uint8_t name_len;
	char name[256]; /* without the prefix */
	uint8_t *value; /* owned */
	size_t value_len;
};

struct xattr_list {
	struct xattr_item *items; /* owned */
	size_t count;
};

void xattr_list_done(struct xattr_list *list);
#define AUTO_XATTR_LIST CLEANUP(xattr_list_done) struct xattr_list

/*
 * Adds an attribute by its full name ("user.mime"). POSIX ACLs come in the form of getxattr(2) and
 * are stored in ext4's. ERR_INVALID when the kernel's ext4 has no place for the name or the ACL is
 * malformed.
 */
int xattr_list_add(struct xattr_list *list, const char *name, struct span value, struct err *err)
	MUST_CHECK;

/* Encodes the list into a set; the empty list is set 0. ERR_LIMIT when ext4 cannot hold so much. */
int xattr_table_add(struct xattr_table *table, struct xattr_list *list, uint32_t *ret_set,
		    struct err *err) MUST_CHECK;

/* The same set in another file system's table. */
uint32_t xattr_table_copy(struct xattr_table *to, const struct xattr_table *from, uint32_t set);
