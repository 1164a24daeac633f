/* A file system in the making: what reading a tar and copying the seed fill, and sealing finishes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "ext4/content.h"
#include "ext4/ext4.h"
#include "ext4/identity.h"
#include "ext4/sink.h"
#include "ext4/space.h"
#include "ext4/tree.h"
#include "ext4/xattr.h"

/*
 * What ext4 can store: 1901-12-13 to 2310-04-04. Other times become the nearest. (The format goes
 * on to 2446, but e2fsck takes the next 68 years for dates before 1970, which an old kernel wrote
 * so.)
 */
#define EXT4_TIME_MIN (-(1LL << 31))
#define EXT4_TIME_MAX ((3LL << 32) - (1LL << 31) - 1)

struct ext4_writer {
	int fd;		     /* borrowed */
	uint64_t size_bytes; /* as asked for; 0: automatic */
	const char *label;
	uint8_t uuid[EXT4_UUID_SIZE];
	bool has_epoch;
	int64_t epoch;
	int64_t latest; /* of the entries' times; the file system's own when there is no epoch */
	struct tree tree;
	struct xattr_table xattrs;
	struct space space;
	struct sink sink;
	struct content content;
	uint64_t released_from; /* blocks of removed files that are still to be given back */
	uint64_t released_to;
};

/*
 * Checks the options that concern it, and that `fd` is an empty regular file. The root folder gets
 * `root_mode`.
 */
int ext4_writer_init(struct ext4_writer *writer, int fd, uint64_t size_bytes,
		     const struct ext4_options *options, uint16_t root_mode, struct err *err)
	MUST_CHECK;
void ext4_writer_done(struct ext4_writer *writer);

/* Cuts times to what can be stored and what the epoch allows, and keeps the latest. */
void ext4_writer_set_time(struct ext4_writer *writer, struct tree_attributes *attributes,
			  int64_t seconds, uint32_t nsec);

/* Stores a symlink's target, in a block when it does not fit into the inode. 0 or -errno. */
int ext4_writer_store_symlink(struct ext4_writer *writer, uint32_t inode) MUST_CHECK;

/*
 * Gives the blocks of removed files back to the host, as far as that has not been done. It is only
 * thrift: they are not used again, and are free in the file system whether or not they are zero.
 */
void ext4_writer_release(struct ext4_writer *writer);

/* ERR_SYSTEM for a failed write, with a hint when the disk is full. */
int ext4_writer_failed(int r, struct err *err) MUST_CHECK;

/* Everything that follows the content (seal.c). Sets size, used bytes, inodes and uuid. */
int ext4_writer_seal(struct ext4_writer *writer, struct ext4_summary *ret, struct err *err)
	MUST_CHECK;
