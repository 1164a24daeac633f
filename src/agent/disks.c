#include "agent/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"

#define EXT4_MAGIC	    0xEF53
#define EXT4_IOC_RESIZE_FS  _IOW('f', 16, uint64_t) /* in no header that user space gets */
#define FEATURE_64BIT	    0x80
#define LOOK_WITHOUT_EVENTS (50 * NSEC_PER_MSEC)

static uint32_t get_le32(struct span bytes, size_t at)
{
	return (uint32_t)bytes.ptr[at] | (uint32_t)bytes.ptr[at + 1] << 8 |
	       (uint32_t)bytes.ptr[at + 2] << 16 | (uint32_t)bytes.ptr[at + 3] << 24;
}

bool ext4_size_parse(struct span superblock, struct ext4_size *ret)
{
	/* Offsets in struct ext4_super_block of the kernel's documentation. */
	enum { BLOCKS_LO = 4, LOG_BLOCK_SIZE = 24, MAGIC = 56, INCOMPAT = 96, BLOCKS_HI = 336 };
	uint32_t log_size;

	if (superblock.len < EXT4_SUPER_SIZE ||
	    (get_le32(superblock, MAGIC) & 0xffff) != EXT4_MAGIC)
		return false;
	log_size = get_le32(superblock, LOG_BLOCK_SIZE);
	if (log_size > 6) /* 64 KiB, the largest there is */
		return false;

	ret->block_bytes = 1024U << log_size;
	ret->blocks = get_le32(superblock, BLOCKS_LO);
	if (get_le32(superblock, INCOMPAT) & FEATURE_64BIT)
		ret->blocks |= (uint64_t)get_le32(superblock, BLOCKS_HI) << 32;
	return true;
}

int disk_watch(void)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Until the kernel announces something, or for a moment without announcements. False: too late. */
static bool wait_for_event(int watch_fd, uint64_t deadline_ns)
{
	const uint64_t now = clock_now_ns();
	uint64_t until = deadline_ns;
	char event[4096];

	if (now >= deadline_ns)
		return false;
	if (watch_fd < 0 && until - now > LOOK_WITHOUT_EVENTS)
		until = now + LOOK_WITHOUT_EVENTS;
	if (cancel_poll(NULL, watch_fd, POLLIN, until) > 0)
		(void)recv(watch_fd, event, sizeof(event), MSG_DONTWAIT);
	return true;
}

int disk_wait(const char *device, int watch_fd, uint64_t deadline_ns, struct err *err)
{
	struct stat st;

	while (stat(device, &st) < 0 || !S_ISBLK(st.st_mode)) {
		if (!wait_for_event(watch_fd, deadline_ns))
			return err_set(err, ERR_TIMEOUT, "%s: the device did not appear", device);
	}
	return 0;
}

/* How many of its blocks the device holds, when that is more than the file system has; else 0. */
static uint64_t blocks_to_grow_to(const char *device)
{
	AUTO_CLOSE int fd = open(device, O_RDONLY | O_CLOEXEC);
	uint8_t superblock[EXT4_SUPER_SIZE];
	struct ext4_size size;
	uint64_t bytes;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0 ||
	    pread(fd, superblock, sizeof(superblock), EXT4_SUPER_OFFSET) !=
		    (ssize_t)sizeof(superblock) ||
	    !ext4_size_parse(span_of(superblock, sizeof(superblock)), &size))
		return 0;
	return bytes / size.block_bytes > size.blocks ? bytes / size.block_bytes : 0;
}

/* What a remount must say again to leave it as it is. */
static unsigned long mount_flags(unsigned long has)
{
	static const struct {
		unsigned long has;
		unsigned long flag;
	} rows[] = {
		{ ST_RDONLY, MS_RDONLY },     { ST_NOSUID, MS_NOSUID },
		{ ST_NODEV, MS_NODEV },	      { ST_NOEXEC, MS_NOEXEC },
		{ ST_NOATIME, MS_NOATIME },   { ST_NODIRATIME, MS_NODIRATIME },
		{ ST_RELATIME, MS_RELATIME },
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if ((has & rows[i].has) != 0)
			flags |= rows[i].flag;
	}
	return flags;
}

static int grow(const char *folder, uint64_t blocks)
{
	AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		return -errno;
	return 0;
}

int disk_wait_size(const char *device, uint64_t bytes, int watch_fd, uint64_t deadline_ns,
		   struct err *err)
{
	AUTO_CLOSE int fd = open(device, O_RDONLY | O_CLOEXEC);
	uint64_t now_bytes = 0;

	if (fd < 0)
		return err_sys(err, -errno, "open %s", device);
	while (ioctl(fd, BLKGETSIZE64, &now_bytes) == 0 && now_bytes < bytes) {
		if (!wait_for_event(watch_fd, deadline_ns))
			return err_set(err, ERR_TIMEOUT, "%s has %llu bytes, not %llu", device,
				       (unsigned long long)now_bytes, (unsigned long long)bytes);
	}
	return 0;
}

int disk_grow(const char *device, const char *folder)
{
	const uint64_t blocks = blocks_to_grow_to(device);
	struct statvfs status;
	unsigned long flags;
	int r;

	if (blocks == 0)
		return 0;
	if (statvfs(folder, &status) < 0)
		return -errno;
	flags = mount_flags(status.f_flag);
	/* As for disk_mount(). */
	if (mount(NULL, folder, NULL, MS_REMOUNT | flags, "init_itable=10") < 0)
		return -errno;
	r = grow(folder, blocks);
	(void)mount(NULL, folder, NULL, MS_REMOUNT | flags, "noinit_itable");
	return r;
}

int disk_mount(const char *device, const char *folder, bool is_read_only, int *ret_grow_error,
	       struct err *err)
{
	const uint64_t blocks = is_read_only ? 0 : blocks_to_grow_to(device);

	*ret_grow_error = 0;
	/*
	 * noinit_itable: the disk is sparse and reads as zeros already; a kernel thread that writes
	 * zeros into every inode table would only fill the host's disk. Growing comes before: with
	 * that option it would write the zeros itself, at once.
	 */
	if (mount(device, folder, "ext4", is_read_only ? MS_RDONLY : 0,
		  blocks > 0 ? "" : "noinit_itable") < 0)
		return err_sys(err, -errno, "mount %s", device);
	if (blocks > 0) {
		*ret_grow_error = grow(folder, blocks);
		(void)mount(NULL, folder, NULL, MS_REMOUNT, "noinit_itable");
	}
	return 0;
}
