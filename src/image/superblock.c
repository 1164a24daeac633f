#include "image/superblock.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/little.h"

#define AT 1024 /* the superblock in the file */

/* Offsets in it. */
#define INODES_COUNT	 0x00
#define BLOCKS_COUNT	 0x04
#define LOG_BLOCK_SIZE	 0x18
#define MAGIC		 0x38
#define STATE		 0x3a
#define INCOMPAT	 0x60
#define BLOCKS_COUNT_HI	 0x150
#define MAGIC_EXT	 0xef53
#define STATE_CLEAN	 0x1
#define STATE_ERRORS	 0x2
#define LOG_BLOCK_MAX	 6 /* 64 KiB */
#define INCOMPAT_RECOVER 0x4U
#define INCOMPAT_JOURNAL 0x8U
#define INCOMPAT_64BIT	 0x80U
/*
 * filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir,
 * inline_data, encrypt, casefold.
 */
#define INCOMPAT_KNOWN                                                                        \
	(0x2U | 0x4U | 0x10U | 0x40U | 0x80U | 0x100U | 0x200U | 0x400U | 0x2000U | 0x4000U | \
	 0x8000U | 0x10000U | 0x20000U)

static const struct {
	size_t at;
	const char *bytes;
	size_t size;
	const char *what;
	const char *hint;
} others[] = {
	{ 0, "QFI\xfb", 4, "a qcow2 disk image",
	  "qemu-img convert -O raw; then take the file system out of it" },
	{ 0, "KDMV", 4, "a VMDK disk image", "qemu-img convert -O raw" },
	{ 0, "\x1f\x8b", 2, "gzip data", "gunzip it first" },
	{ 0,
	  "\xfd"
	  "7zXZ",
	  5, "xz data", "unxz it first" },
	{ 0, "\x28\xb5\x2f\xfd", 4, "zstd data", "unzstd it first" },
	{ 0, "BZh", 3, "bzip2 data", "bunzip2 it first" },
	{ 0, "hsqs", 4, "a squashfs file system", NULL },
	{ 0, "XFSB", 4, "an XFS file system", NULL },
	{ 0,
	  "\x7f"
	  "ELF",
	  4, "an ELF file", NULL },
	{ 257, "ustar", 5, "a tar file", "banger image pull docker-archive:FILE takes images" },
	{ 512, "EFI PART", 8, "a disk with partitions",
	  "take the root partition's file system out of it" },
	{ 510, "\x55\xaa", 2, "a disk with partitions",
	  "take the root partition's file system out of it" },
};

static int refuse(struct span head, struct err *err)
{
	int r;

	if (head.len == 0)
		return err_set(err, ERR_INVALID, "this is an empty file, no ext4 file system");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct span found;

		if (!span_slice(head, others[i].at, others[i].size, &found) ||
		    memcmp(found.ptr, others[i].bytes, others[i].size) != 0)
			continue;
		r = err_set(err, ERR_INVALID, "this is %s, no ext4 file system", others[i].what);
		if (others[i].hint)
			err_hint(err, "%s", others[i].hint);
		return r;
	}
	return err_set(err, ERR_INVALID, "this is no ext4 file system");
}

static int check_features(uint32_t incompat, unsigned int state, struct err *err)
{
	const uint32_t unknown = incompat & ~INCOMPAT_KNOWN & ~INCOMPAT_JOURNAL;
	int r;

	if (incompat & INCOMPAT_JOURNAL)
		return err_set(err, ERR_INVALID, "this is the journal of another file system");
	if (unknown)
		return err_set(err, ERR_INVALID,
			       "the file system has features that Linux does not know: 0x%x",
			       unknown);
	if (state & STATE_ERRORS)
		r = err_set(err, ERR_INVALID, "the file system is marked as damaged");
	else if ((incompat & INCOMPAT_RECOVER) || !(state & STATE_CLEAN))
		r = err_set(err, ERR_INVALID,
			    "the file system was not unmounted, or still is in use");
	else
		return 0;
	err_hint(err, "unmount it, then: e2fsck -f FILE");
	return r;
}

int superblock_read(struct span head, uint64_t file_size, struct superblock *ret, struct err *err)
{
	struct span block;
	uint64_t blocks;
	uint64_t size;
	uint32_t log_size;
	uint32_t incompat;
	int r;

	if (!span_slice(head, AT, SUPERBLOCK_HEAD_SIZE - AT, &block) ||
	    little16(block.ptr + MAGIC) != MAGIC_EXT)
		return refuse(head, err);
	incompat = little32(block.ptr + INCOMPAT);
	r = check_features(incompat, little16(block.ptr + STATE), err);
	if (r < 0)
		return r;
	log_size = little32(block.ptr + LOG_BLOCK_SIZE);
	blocks = little32(block.ptr + BLOCKS_COUNT);
	if (incompat & INCOMPAT_64BIT)
		blocks |= (uint64_t)little32(block.ptr + BLOCKS_COUNT_HI) << 32;
	if (log_size > LOG_BLOCK_MAX || blocks == 0 ||
	    __builtin_mul_overflow(blocks, 1024ULL << log_size, &size))
		return err_set(err, ERR_INVALID, "the file system has an impossible size");
	if (size > file_size)
		return err_set(err, ERR_INVALID,
			       "the file system has %llu bytes, but the file only %llu: it is cut "
			       "short",
			       (unsigned long long)size, (unsigned long long)file_size);
	*ret = (struct superblock){ .size_bytes = size,
				    .inodes = little32(block.ptr + INODES_COUNT) };
	return 0;
}

int superblock_read_fd(int fd, struct superblock *ret, struct err *err)
{
	uint8_t head[SUPERBLOCK_HEAD_SIZE];
	struct stat info;
	size_t len = 0;

	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine the file");
	if (!S_ISREG(info.st_mode))
		return err_set(err, ERR_INVALID, "this is no regular file");
	while (len < sizeof(head)) {
		const ssize_t n = pread(fd, head + len, sizeof(head) - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read the file");
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return superblock_read(span_of(head, len), (uint64_t)info.st_size, ret, err);
}
