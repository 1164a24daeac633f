/*
 * ext4 file systems made from scratch in a file, without root, mount or mke2fs: from a tar stream,
 * or several on top of one another, or (almost) empty as a work disk.
 *
 * Theory of operation. The tar's length is unknown until its end, and so are the file system's size
 * and its number of inodes. libext2fs wants both first, and cannot shrink. But with flex_bg only
 * one thing has its place by the block number alone: superblock and group descriptors, with the
 * blocks reserved for more of them, at the start of groups 0, 1 and the powers of 3, 5 and 7. So
 * the writer
 *
 *   1. streams: each file's bytes go once, sequentially, to their final blocks, which are simply
 *      the next ones that are not such a place; names, inodes and block runs are kept in memory
 * (tree.h);
 *   2. seals, after the last entry: writes directories (as hash trees), extent tree nodes and
 * attribute blocks behind the data; now knows the size; has libext2fs lay out the groups, with all
 *      bitmaps and inode tables in one piece behind those; writes the inodes; lets libext2fs make
 * the journal, the resize inode, bitmaps, descriptors and superblocks.
 *
 * Nothing is written twice or moved, and files, directories and tables are contiguous. The price is
 * memory of about 200 bytes for each entry, bounded by limits. Growing a file system as it goes was
 * rejected (the inode ratio is then a guess), and so was a large one with unused groups (its size
 * is what users see).
 *
 * Blocks never written are holes in the file: the journal, unused tables and runs of zeros cost
 * nothing. Same input and options give the same bytes.
 *
 * The file systems have what mke2fs gives ext4: journal, extents, 64bit, flex_bg, metadata_csum,
 * dir_index, dir_nlink, huge_file, large_file, sparse_super, 256-byte inodes, and a resize inode
 * with 1024 descriptor blocks in all (8 TiB, and beyond with meta_bg) for growing while mounted, in
 * file systems of 1 GiB and more; smaller ones can grow 1024-fold. The journal is large enough for
 * each such step.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

#define EXT4_SIZE_MIN	   (32ULL << 20) /* room for a journal and some files */
#define EXT4_SIZE_MAX	   (4ULL << 40)	 /* what is made; a mounted one may grow further */
#define EXT4_AUTO_SIZE_MIN (1ULL << 30)	 /* the least when the size follows from the content */
#define EXT4_UUID_SIZE	   16

/* Names in messages are cut after this many bytes. */
#define EXT4_SHOWN_NAME_MAX 160

/*
 * Against archives that would never end; 0 takes the default. Each error names the key of the
 * configuration that sets it.
 */
struct ext4_limits {
	uint64_t entries;     /* of all tars; default EXT4_ENTRIES_DEFAULT */
	uint64_t bytes;	      /* of content in all tars, holes not counted; EXT4_BYTES_DEFAULT */
	uint64_t layer_bytes; /* of one tar, with its headers; EXT4_LAYER_BYTES_DEFAULT */
	uint64_t name_bytes;  /* of names and symlinks; EXT4_NAME_BYTES_DEFAULT, at most _MAX */
	uint64_t xattr_bytes; /* as stored, equal sets once; EXT4_XATTR_BYTES_DEFAULT */
};

#define EXT4_ENTRIES_DEFAULT	 4000000ULL
#define EXT4_BYTES_DEFAULT	 (256ULL << 30)
#define EXT4_LAYER_BYTES_DEFAULT (256ULL << 30)
#define EXT4_NAME_BYTES_DEFAULT	 (1ULL << 30)
#define EXT4_NAME_BYTES_MAX	 (2ULL << 30)
#define EXT4_XATTR_BYTES_DEFAULT (256ULL << 20)
#define EXT4_LAYERS_MAX		 1000U /* the most that limits.layers may be */

struct ext4_options {
	uint64_t size_bytes; /* 0: content times 1.5, at least EXT4_AUTO_SIZE_MIN */
	struct ext4_limits limits;
	/*
	 * SOURCE_DATE_EPOCH: the time of the file system itself and of folders that the tar implies
	 * but does not have; later times of entries become this. Without it: the latest time in the
	 * tar.
	 */
	bool has_epoch;
	int64_t epoch;
	uint8_t uuid[EXT4_UUID_SIZE]; /* all zero: derived from names and attributes */
	const char *label;	      /* borrowed, at most 16 bytes; NULL for none */

	/* A second file system in the same pass, with what is in the image's /root: the work seed.
	 */
	int seed_fd;		  /* borrowed; -1 for none */
	uint64_t seed_size_bytes; /* as size_bytes */
};

#define EXT4_OPTIONS_INIT ((struct ext4_options){ .seed_fd = -1 })

/* Where the tar comes from, who may stop it and who wants to know. All borrowed. */
struct ext4_input {
	int tar_fd;
	const struct cancel *cancel;	 /* NULL: nobody */
	const struct progress *progress; /* NULL: nobody */
};

struct ext4_summary {
	uint64_t size_bytes;
	uint64_t used_bytes;	/* of its blocks, what is not free */
	uint64_t content_bytes; /* file content read from the tar */
	uint64_t entries;	/* of the tar */
	uint64_t inodes;	/* in use */
	uint64_t seed_size_bytes;
	bool has_init; /* /sbin/init is there and can be executed */
	uint8_t uuid[EXT4_UUID_SIZE];
};

/*
 * Reads a tar (any format that libarchive knows as tar; uncompressed) from `input` to its end and
 * makes the file system in `image_fd`, an empty regular file opened for reading and writing. Both
 * are borrowed. Data is on stable storage when it returns 0. On failure the file's content is of no
 * use.
 *
 * Entries are resolved inside the image alone: a leading "/" or "./" is its root; a parent that is
 * a symlink is followed within the image; folders that are missing on the way are made. An entry
 * replaces what was there under its name, except that a folder over a folder only changes its
 * attributes. ERR_INVALID, naming the entry:
 * "..", names over 255 bytes, hard links to what is not there, ids over 32 bits, attributes that
 * ext4 cannot hold, unknown types. ERR_LIMIT: the limits, too many links or names, or a size_bytes
 * that is too small (the message has the size needed). ERR_PROTOCOL: no tar, or a damaged one.
 * ERR_CANCELLED. ERR_SYSTEM: reading or writing failed.
 *
 * trusted.overlay.* attributes are dropped: they would mean something to the guest's overlayfs.
 */
int ext4_from_tar(const struct ext4_input *input, int image_fd, const struct ext4_options *options,
		  struct ext4_summary *ret, struct err *err) MUST_CHECK;

/* The layers of an OCI image, lowest first: one tar stream each. */
struct ext4_layers {
	size_t count;
	/*
	 * Gives the tar of layer `index`, from 0 on, each once and in order. The descriptor becomes
	 * ext4_from_layers()'s, which closes it at its end.
	 */
	int (*open)(void *context, size_t index, int *ret_tar_fd, struct err *err);
	void *context;			 /* borrowed, as the next two */
	const struct cancel *cancel;	 /* NULL: nobody */
	const struct progress *progress; /* NULL: nobody; bytes of content so far */
};

/*
 * As ext4_from_tar(), with several tars and the rules of the OCI image specification:
 *
 * - ".wh.NAME" hides NAME, and ".wh..wh..opq" everything beside it, as far as it comes from lower
 *   layers. What the same layer has stays, wherever it stands in the layer. A folder that the layer
 *   only implies is then as if nothing had been below it. What is hidden need not exist.
 * - ".wh.", ".wh.." and ".wh..." name nothing and are refused, as are folders that begin with
 * ".wh.". What old versions of docker left in ".wh..wh.*" folders is passed over.
 * - A folder that a layer has or implies takes the place of another thing of a lower layer, but for
 *   symlinks, which are followed.
 * - A hard link may lead to a file of a lower layer.
 * - lost+found is always there; hiding it empties it.
 *
 * Errors begin with the number of the layer, from 1 on. A layer without entries is an empty change.
 * Content that a later layer hides or replaces has been written and is given back: its blocks are
 * free, and holes in the host's file, but the automatic size counts them.
 */
int ext4_from_layers(const struct ext4_layers *layers, int image_fd,
		     const struct ext4_options *options, struct ext4_summary *ret, struct err *err)
	MUST_CHECK;

/*
 * An empty file system (a root folder of mode 0700, for /root) in `image_fd`, an empty regular
 * file. The options for reading a tar are ignored.
 */
int ext4_seed(int image_fd, const struct ext4_options *options, struct ext4_summary *ret,
	      struct err *err) MUST_CHECK;

/*
 * Whether an ext2, ext3 or ext4 file system that somebody else made has an /sbin/init that can be
 * executed, links followed within it. `fd` is borrowed and only read. ERR_INVALID: libext2fs cannot
 * read it. Whoever made it may have meant harm, and libext2fs trusts what it reads: only for
 * confined processes.
 */
int ext4_find_init(int fd, bool *ret, struct err *err) MUST_CHECK;

/* What must be done once before a sandbox forbids opening files: libraries load their tables. */
int ext4_warm_up(struct err *err) MUST_CHECK;
