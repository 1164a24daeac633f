#include "vmmshim/host.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

/* As Rust prints an I/O error. */
static int os_error(struct err *err, int errnum)
{
	return err_set(err, ERR_INVALID, "%s (os error %d)", strerrordesc_np(errnum), errnum);
}

int host_open_file(const char *path, bool is_writable, bool may_be_block, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;

	fd = open(path, (is_writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return os_error(err, errno);
	if (fstat(fd, &status) < 0)
		return os_error(err, errno);
	if (S_ISDIR(status.st_mode))
		return os_error(err, EISDIR);
	if (!S_ISREG(status.st_mode) && !(may_be_block && S_ISBLK(status.st_mode)))
		return os_error(err, EINVAL);
	return TAKE_FD(fd);
}

bool host_is_block(int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && S_ISBLK(status.st_mode);
}

int host_open_tap(const char *name, struct err *err)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	AUTO_CLOSE int fd = -1;

	if (name[0] == '\0' || strlen(name) >= IFNAMSIZ || strchr(name, '/') || strchr(name, '%'))
		return err_set(err, ERR_INVALID, "Invalid interface name");
	memcpy(request.ifr_name, name, strlen(name) + 1);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_context(err, os_error(err, errno), "Couldn't open /dev/net/tun");
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		const int errnum = errno;

		return err_set(err, ERR_INVALID,
			       "Error while creating ifreq structure: %s (os error %d). Invalid "
			       "TUN/TAP Backend provided by %s. Check our documentation on setting "
			       "up the network devices.",
			       strerrordesc_np(errnum), errnum, name);
	}
	return TAKE_FD(fd);
}

int host_listen(const char *path, int backlog, struct unix_listener *ret, struct err *err)
{
	struct stat status;
	int r;

	if (lstat(path, &status) == 0)
		return os_error(err, EADDRINUSE);
	r = unix_listen(path, backlog, ret, err);
	if (r < 0)
		return r;
	return 0;
}

void host_listener_done(struct unix_listener *listener)
{
	/*
	 * Whoever waits for the lock of a file that is gone finds the socket gone too, and bind()
	 * lets only one of several newcomers in.
	 */
	if (listener->path && listener->lock_fd >= 0) {
		AUTO_FREE char *lock_path = mem_printf("%s.lock", listener->path);

		(void)unlink(lock_path);
	}
	unix_listener_done(listener);
}
