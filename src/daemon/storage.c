#include "daemon/storage.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "daemon/private.h"

#define MOUNTS_BYTES_MAX (8U << 20) /* some thousands of mounts, of containers */

/* Types of mounts. Those of FUSE that are not named here are of this machine as far as we know. */
static const char *const remote_kinds[] = {
	"nfs",	"nfs4",	  "cifs",   "smb3", "smbfs",	 "9p",	     "ceph",  "afs",
	"coda", "lustre", "beegfs", "gpfs", "glusterfs", "orangefs", "pvfs2", "ncpfs",
};
static const char *const remote_programs[] = {
	"sshfs",  "nfs",      "cifs",	   "smbnetfs", "glusterfs", "ceph",    "ceph-fuse",
	"s3fs",	  "rclone",   "curlftpfs", "davfs",    "davfs2",    "gcsfuse", "blobfuse2",
	"goofys", "mount-s3", "juicefs",   "mfs",      "seaweedfs", "afpfs",
};

static bool is_one_of(struct span name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (span_eq(name, span_str(names[i])))
			return true;
	}
	return false;
}

bool storage_kind_is_remote(struct span kind)
{
	if (parse_literal(&kind, "fuse."))
		return is_one_of(kind, remote_programs, ARRAY_LEN(remote_programs));
	return is_one_of(kind, remote_kinds, ARRAY_LEN(remote_kinds));
}

/* A line as proc(5) has it: "36 35 98:0 / /mnt rw shared:1 - ext4 /dev/x rw". */
static bool parse_mount(struct span line, uint64_t *ret_id, struct span *ret_kind)
{
	struct span field;
	uint64_t id;

	if (!parse_u64(&line, UINT64_MAX, &id) || !parse_byte(&line, ' '))
		return false;
	/* Blanks in names are escaped, so this is no name. */
	do {
		if (!parse_until(&line, ' ', &field))
			return false;
	} while (!span_eq(field, span_str("-")));
	if (!parse_until(&line, ' ', ret_kind))
		return false;
	*ret_id = id;
	return true;
}

bool storage_kind_of(struct span mountinfo, uint64_t mount_id, struct span *ret)
{
	struct span line;

	while (parse_until(&mountinfo, '\n', &line)) {
		struct span kind;
		uint64_t id;

		if (parse_mount(line, &id, &kind) && id == mount_id) {
			*ret = kind;
			return true;
		}
	}
	return false;
}

/* The kind of what a folder is on, as far as it can be told. */
static bool look_at(struct span mountinfo, const char *folder, struct span *ret)
{
	struct statx status;

	return statx(AT_FDCWD, folder, 0, STATX_MNT_ID, &status) == 0 &&
	       (status.stx_mask & STATX_MNT_ID) != 0 &&
	       storage_kind_of(mountinfo, status.stx_mnt_id, ret);
}

bool storage_describe(const struct daemon *daemon, struct buf *out)
{
	const char *state = daemon->paths.state_dir;
	const char *const folders[] = { state, daemon->vms_dir, daemon->templates_dir };
	AUTO_BUF mountinfo = BUF_INIT;
	struct span kind;

	IGNORE_RESULT(file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_BYTES_MAX, &mountinfo));
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		if (look_at(buf_span(&mountinfo), folders[i], &kind) &&
		    storage_kind_is_remote(kind)) {
			buf_addf(out, "'%s' is on a file system of another machine (%.*s)",
				 folders[i], (int)kind.len, (const char *)kind.ptr);
			return true;
		}
	}
	if (look_at(buf_span(&mountinfo), state, &kind))
		buf_addf(out, "'%s' is on %.*s", state, (int)kind.len, (const char *)kind.ptr);
	return false;
}

void storage_warn(const struct daemon *daemon)
{
	AUTO_BUF text = BUF_INIT;

	if (storage_describe(daemon, &text))
		log_write(LOG_LEVEL_WARN, NULL, "%s: " STORAGE_HINT, text.ptr);
}
