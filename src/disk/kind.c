/* Which way disks are made, found by trying. */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/disk.h"

#define PROBE_BYTES 65536 /* a multiple of every block size there is */

static const char *const kind_names[] = {
	[DISK_REFLINK] = "reflink",
	[DISK_QCOW2] = "qcow2",
	[DISK_COPY] = "copy",
};
_Static_assert(ARRAY_LEN(kind_names) == DISK_KIND_COUNT, "every kind has a name");

const char *disk_kind_name(enum disk_kind kind)
{
	return kind_names[kind];
}

bool disk_kind_is_raw(enum disk_kind kind)
{
	return kind != DISK_QCOW2;
}

const char *disk_kind_suffix(enum disk_kind kind)
{
	return disk_kind_is_raw(kind) ? "raw" : "qcow2";
}

/* A file without a name in the folder; an fd or -errno. */
static int nameless_file(const char *folder)
{
	AUTO_FREE char *template = NULL;
	int fd;

	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;

	/* Not every file system can: then it has a name for a moment. */
	template = mem_printf("%s/.new-probe-XXXXXX", folder);
	fd = mkostemp(template, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)unlink(template);
	return fd;
}

/* 0 when files of `image_folder` can be cloned into `folder`, else the reason as -errno. */
static int try_reflink(const char *folder, const char *image_folder, const char **ret_where)
{
	AUTO_FREE uint8_t *block = mem_alloc(1, PROBE_BYTES);
	AUTO_CLOSE int from = -1;
	AUTO_CLOSE int to = -1;
	int r;

	*ret_where = image_folder;
	from = nameless_file(image_folder);
	if (from < 0)
		return from;
	memset(block, 'b', PROBE_BYTES);
	r = fd_write_all(from, span_of(block, PROBE_BYTES));
	if (r < 0)
		return r;

	*ret_where = folder;
	to = nameless_file(folder);
	if (to < 0)
		return to;
	return ioctl(to, FICLONE, from) < 0 ? -errno : 0;
}

int disk_choose(const char *folder, const char *image_folder, enum disk_engine engine,
		enum disk_kind *ret, char ret_reason[static DISK_REASON_SIZE], struct err *err)
{
	const char *where = folder, *why;
	char number[48];
	int r;

	r = try_reflink(folder, image_folder, &where);
	switch (r) {
	case 0:
		*ret = DISK_REFLINK;
		(void)snprintf(ret_reason, DISK_REASON_SIZE,
			       "reflink: the file system of '%.150s' shares blocks between files",
			       folder);
		return 0;
	case -EOPNOTSUPP:
	case -ENOTTY:
	case -EINVAL:
	case -ENOSYS:
		why = "the file system cannot share blocks between files";
		break;
	case -EXDEV:
		why = "images are on another file system than VMs";
		break;
	case -ENOSPC:
	case -EDQUOT:
		why = "the disk is full, so reflinks could not be tried";
		break;
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
	case -EROFS:
		return err_sys(err, r, "make a file in '%s'", where);
	default:
		(void)snprintf(number, sizeof(number), "FICLONE fails with error %d", -r);
		why = number;
		break;
	}

	*ret = engine == DISK_ENGINE_QEMU ? DISK_QCOW2 : DISK_COPY;
	(void)snprintf(ret_reason, DISK_REASON_SIZE, "%s: %s%s", disk_kind_name(*ret), why,
		       *ret == DISK_COPY ? ", and Firecracker only opens raw files" : "");
	return 0;
}
