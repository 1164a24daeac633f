#include "agent/grow.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disks.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#define WAIT_NS		 (5 * NSEC_PER_SEC) /* from the device's interrupt to its size */
#define UEVENT_BYTES_MAX 4096

/* The device that the file system at `folder` lies on, "/dev/vda"; owned by the caller. */
static int device_of(const char *folder, char **ret, struct err *err)
{
	static const char key[] = "DEVNAME=";
	AUTO_FREE char *path = NULL;
	AUTO_BUF text = BUF_INIT;
	struct stat status;
	const char *name;
	int r;

	if (stat(folder, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", folder);
	path = mem_printf("/sys/dev/block/%u:%u/uevent", major(status.st_dev),
			  minor(status.st_dev));
	r = file_read(AT_FDCWD, path, UEVENT_BYTES_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "find the device of '%s'", folder);
	name = strstr(text.ptr, key);
	if (!name)
		return err_set(err, ERR_NOT_FOUND, "'%s' lies on no device", folder);
	name += strlen(key);
	*ret = mem_printf("/dev/%.*s", (int)strcspn(name, "\n"), name);
	return 0;
}

static int grow(const char *folder, uint64_t bytes, int watch_fd, uint64_t deadline_ns,
		struct err *err)
{
	AUTO_FREE char *device = NULL;
	int r;

	if (bytes == 0)
		return 0;
	r = device_of(folder, &device, err);
	if (r == 0)
		r = disk_wait_size(device, bytes, watch_fd, deadline_ns, err);
	if (r < 0)
		return r;
	r = disk_grow(device, folder);
	return r < 0 ? err_sys(err, r, "grow '%s'", folder) : 0;
}

int grow_serve(struct conn *conn, const struct request *request, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + WAIT_NS;
	AUTO_CLOSE int watch_fd = disk_watch();
	int r;

	if (!conn->state->is_booted)
		return err_set(err, ERR_UNSUPPORTED,
			       "this agent did not boot the machine and does not change it");
	r = grow("/", request->system_bytes, watch_fd, deadline_ns, err);
	if (r == 0)
		r = grow("/root", request->work_bytes, watch_fd, deadline_ns, err);
	return r < 0 ? r : conn_reply(conn, NULL, err);
}
