#include "agent/boot_id.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent/machine_id.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/span.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define SOURCE_FILE  "/dev/.banger-boot-id" /* in memory on every guest; gone once it is mounted */

static int make_id(char ret[static BOOT_ID_SIZE])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return -EIO;
	uuid_mark_random(b);
	(void)snprintf(ret, BOOT_ID_SIZE,
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		       b[13], b[14], b[15]);
	return 0;
}

static int write_id(const char *path, int flags, struct span line)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0444);

	return fd < 0 ? -errno : fd_pwrite_all(fd, line, 0);
}

static int mount_id(struct span line)
{
	int r;

	(void)unlink(SOURCE_FILE); /* what an agent that was killed here left */
	r = write_id(SOURCE_FILE, O_CREAT | O_EXCL, line);
	if (r == 0 && mount(SOURCE_FILE, BOOT_ID_FILE, NULL, MS_BIND, NULL) < 0)
		r = -errno;
	(void)unlink(SOURCE_FILE);
	return r;
}

int boot_id_renew(void)
{
	char id[BOOT_ID_SIZE];
	AUTO_BUF line = BUF_INIT;
	struct statfs system;
	int r = make_id(id);

	if (r < 0)
		return r;
	if (statfs(BOOT_ID_FILE, &system) < 0)
		return -errno;
	buf_addf(&line, "%s\n", id);
	/* What is mounted there already is changed, so that mounts do not pile up. */
	if (system.f_type != PROC_SUPER_MAGIC)
		return write_id(BOOT_ID_FILE, 0, buf_span(&line));
	return mount_id(buf_span(&line));
}

int boot_id_read(char ret[static BOOT_ID_SIZE])
{
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(AT_FDCWD, BOOT_ID_FILE, BOOT_ID_SIZE, &text);

	if (r < 0)
		return r;
	if (text.len < BOOT_ID_SIZE - 1)
		return -EIO;
	memcpy(ret, text.ptr, BOOT_ID_SIZE - 1);
	ret[BOOT_ID_SIZE - 1] = '\0';
	return 0;
}
