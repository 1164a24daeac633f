/*
 * A guest without a VM: connects a TAP device to a TAP of another network namespace, frame by
 * frame, so that the kernel's own network stack sits behind it: tap_guest NAME NAMESPACE_FILE [UID]
 *
 * There it is called "eth0". With UID, the first one is opened as that user. "ready" on standard
 * output says that it is connected; it ends when it is killed, or with one of the devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/parse.h"

#define FRAME_MAX 70000 /* the largest, and the header of virtio-net */

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* As `uid`, 0 for who we are: the device asks who attaches, not who opened the file. */
static int open_tap(const char *name, uid_t uid)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	int r;

	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (fd < 0 || (uid != 0 && seteuid(uid) < 0))
		return -1;
	r = ioctl(fd, TUNSETIFF, &request);
	if (r < 0)
		perror(name);
	return r < 0 || (uid != 0 && seteuid(0) < 0) ? -1 : fd;
}

/* Whether the device is there still: one that was removed is readable for ever. */
static bool copy_frames(int from, int to)
{
	static char frame[FRAME_MAX];
	ssize_t n;

	while ((n = read(from, frame, sizeof(frame))) > 0) {
		if (write(to, frame, (size_t)n) < 0)
			return true; /* as a wire: it is lost */
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

int main(int argc, char **argv)
{
	struct pollfd ends[2] = { { .events = POLLIN }, { .events = POLLIN } };
	uint64_t uid = 0;
	int space;

	if (argc < 3 || (argc > 3 && !parse_u64_text(argv[3], 65535, &uid)))
		return 2;
	ends[0].fd = open_tap(argv[1], (uid_t)uid);
	if (ends[0].fd < 0)
		_exit(1); /* perhaps as another user still, whom a leak checker may not trace */
	space = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (space < 0 || setns(space, CLONE_NEWNET) < 0)
		return fail(argv[2]);
	ends[1].fd = open_tap("eth0", 0);
	if (ends[1].fd < 0)
		return 1;
	if (puts("ready") < 0 || fflush(stdout) != 0)
		return 1;
	for (;;) {
		if (poll(ends, ARRAY_LEN(ends), -1) < 0)
			return fail("poll");
		if (!copy_frames(ends[0].fd, ends[1].fd) || !copy_frames(ends[1].fd, ends[0].fd))
			return fail("a TAP device is gone");
	}
}
