#include "agent/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

#define PORTS_FOLDER "/sys/class/virtio-ports"

struct search {
	int folder;
	char device[NAME_MAX + 1]; /* "vport1p1", or "" */
};

static int visit(void *context, const char *name)
{
	struct search *search = context;
	AUTO_BUF text = BUF_INIT;
	char path[NAME_MAX + 8];
	const int n = snprintf(path, sizeof(path), "%s/name", name);

	if (n < 0 || (size_t)n >= sizeof(path) ||
	    file_read(search->folder, path, 4096, &text) < 0 || !str_eq(text.ptr, PORT_NAME "\n"))
		return 0;
	memcpy(search->device, name, strlen(name) + 1);
	return 1;
}

/* Fills "vport1p1"; false when there is none. */
static bool find(char device[static NAME_MAX + 1])
{
	AUTO_CLOSE int folder = dir_open(PORTS_FOLDER);
	struct search search = { .folder = folder };

	if (folder < 0 || dir_each(folder, visit, &search) < 0 || search.device[0] == '\0')
		return false;
	memcpy(device, search.device, sizeof(search.device));
	return true;
}

int port_open(void)
{
	char device[NAME_MAX + 1];
	char path[sizeof("/dev/") + NAME_MAX];
	int fd;

	if (!find(device))
		return -ENOENT;
	(void)snprintf(path, sizeof(path), "/dev/%s", device);
	fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

bool port_is_connected(int port_fd)
{
	struct pollfd slot = { .fd = port_fd, .events = POLLIN | POLLOUT };

	return poll(&slot, 1, 0) >= 0 && (slot.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}
