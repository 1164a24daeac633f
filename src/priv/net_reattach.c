/*
 * A VMM's TAP that somebody has removed under it. The VMM keeps a descriptor that belongs to no
 * device any more; it is readable for ever, and QEMU reads it without end. The kernel lets such a
 * descriptor be given another device, which the VMM does not notice but by its packets.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/span.h"
#include "priv/net_private.h"

#define TUN_MAJOR 10
#define TUN_MINOR 200

/* What VMMs and guests of today agree on: with VIRTIO_F_VERSION_1 the header is never shorter. */
#define VNET_HEADER_SIZE 12

static bool is_tun(int dir_fd, const char *name)
{
	struct stat status;

	return fstatat(dir_fd, name, &status, 0) == 0 && S_ISCHR(status.st_mode) &&
	       major(status.st_rdev) == TUN_MAJOR && minor(status.st_rdev) == TUN_MINOR;
}

/* Whether it has lost its device. */
static bool is_orphan(int tun_fd)
{
	struct ifreq request = { .ifr_flags = 0 };

	return ioctl(tun_fd, TUNGETIFF, &request) < 0 && errno == EBADFD;
}

/*
 * Whether it was opened in that network namespace: there it would get its new device, and in no
 * other.
 */
static bool is_of(int tun_fd, int net_fd)
{
	AUTO_CLOSE int own_fd = ioctl(tun_fd, SIOCGSKNS);
	struct stat own, wanted;

	return own_fd >= 0 && fstat(own_fd, &own) == 0 && fstat(net_fd, &wanted) == 0 &&
	       own.st_dev == wanted.st_dev && own.st_ino == wanted.st_ino;
}

/* A copy of the process's descriptor that has lost its device, or -ENOENT. */
static int take_orphan(pid_t pid, int net_fd)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/fd", (int)pid);
	AUTO_CLOSE int pidfd = pidfd_open(pid, 0);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int r = -ENOENT;

	if (pidfd < 0 || !dir) {
		r = -errno;
		if (dir)
			(void)closedir(dir);
		return r;
	}
	// NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this thread's own
	while (r == -ENOENT && (entry = readdir(dir)) != NULL) {
		AUTO_CLOSE int fd = -1;
		uint64_t number;

		if (!parse_u64_text(entry->d_name, INT32_MAX, &number) ||
		    !is_tun(dirfd(dir), entry->d_name))
			continue;
		fd = pidfd_getfd(pidfd, (int)number, 0);
		if (fd < 0)
			r = -errno;
		else if (is_orphan(fd) && is_of(fd, net_fd))
			r = TAKE_FD(fd);
	}
	(void)closedir(dir);
	return r;
}

int net_reattach(const char *bridge_name, int net_fd, uint32_t index, pid_t pid, struct err *err)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const int header_size = VNET_HEADER_SIZE;
	AUTO_CLOSE int fd = take_orphan(pid, net_fd);

	if (fd < 0)
		return err_sys(err, fd, "take the descriptor of a TAP device from process %d",
			       (int)pid);
	net_tap_name(bridge_name, index, request.ifr_name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return err_sys(err, -errno, "give process %d the TAP device '%s'", (int)pid,
			       request.ifr_name);
	/* The device's, which is new; its other settings only save work. */
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0)
		return err_sys(err, -errno, "set up the TAP device '%s'", request.ifr_name);
	return 0;
}
