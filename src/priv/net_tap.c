#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "priv/net_private.h"

int net_tap_open(const char *name, uid_t owner, struct err *err)
{
	/* One that exists already is somebody else's: EBUSY. The rest is what VMMs ask for. */
	struct ifreq request = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						      (int)IFF_TUN_EXCL) };
	AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "open '/dev/net/tun'");
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		r = -errno;
		if (r == -EBUSY || r == -EEXIST) {
			r = err_set(err, ERR_EXISTS, "there is a network device '%s' already",
				    name);
			err_hint(err, "remove it ('ip link del %s'), or set another bridge_name",
				 name);
			return r;
		}
		return err_sys(err, r, "make the TAP device '%s'", name);
	}
	if (ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
		return err_sys(err, -errno, "give the TAP device '%s' to user %u", name, owner);
	return TAKE_FD(fd);
}

int net_tap_keep(int fd, struct err *err)
{
	return ioctl(fd, TUNSETPERSIST, 1UL) < 0 ? err_sys(err, -errno, "keep a TAP device") : 0;
}
