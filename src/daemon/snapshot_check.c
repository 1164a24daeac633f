/* What a snapshot's files are like, and whether they still are. */
#include "daemon/snapshot_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/machine_key.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_machine.h"

#define STATE_SIZE_MAX (64ULL << 20) /* hundreds of kilobytes, with many devices */

/* --- the files --- */

static int64_t changed_ns(const struct stat *status)
{
	return (int64_t)status->st_mtim.tv_sec * (int64_t)NSEC_PER_SEC + status->st_mtim.tv_nsec;
}

static int hash_state(int folder_fd, char ret[static TEMPLATE_KEY_SIZE])
{
	uint8_t digest[(TEMPLATE_KEY_SIZE - 1) / 2];
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(folder_fd, VM_CAPTURE_STATE, STATE_SIZE_MAX, &text);

	if (r < 0)
		return r;
	if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return -EIO;
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

static int note_file(const char *folder, char *name, struct snapshot_file *ret, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
	struct stat status;

	*ret = (struct snapshot_file){ .name = name };
	if (lstat(path, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", path);
	ret->size = (uint64_t)status.st_size;
	ret->changed_ns = changed_ns(&status);
	return 0;
}

int snapshot_note_files(const char *folder, struct snapshot_record *record, struct err *err)
{
	static const struct {
		enum snapshot_part part;
		enum vm_disk disk;
	} disks[] = { { SNAPSHOT_SYSTEM, VM_DISK_SYSTEM }, { SNAPSHOT_WORK, VM_DISK_WORK } };
	AUTO_CLOSE int fd = dir_open(folder);
	int r;

	r = fd < 0 ? fd : hash_state(fd, record->state_sha256);
	if (r < 0)
		return err_sys(err, r, "read the state in '%s'", folder);
	r = note_file(folder, mem_strdup(VM_CAPTURE_MEMORY), &record->files[SNAPSHOT_MEMORY], err);
	for (size_t i = 0; i < ARRAY_LEN(disks) && r == 0; i++) {
		char *name = vm_disk_name_in(folder, disks[i].disk);

		r = name ? note_file(folder, name, &record->files[disks[i].part], err)
			 : err_set(err, ERR_NOT_FOUND, "a disk is missing in '%s'", folder);
	}
	return r;
}

static int refuse_path(const char *path, const char *why, struct err *err)
{
	const int r = err_set(err, ERR_BAD_STATE, "'%s' %s", path, why);

	err_hint(err, "it cannot be restored any more: what is left is to delete it");
	return r;
}

static int refuse(const char *folder, const char *name, const char *why, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);

	return refuse_path(path, why, err);
}

static int check_file(int folder_fd, const char *folder, const struct snapshot_file *file,
		      struct err *err)
{
	struct stat status;

	if (fstatat(folder_fd, file->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? refuse(folder, file->name, "is missing", err)
			       : err_sys(err, -errno, "look at '%s/%s'", folder, file->name);
	if (!S_ISREG(status.st_mode))
		return refuse(folder, file->name, "is no file", err);
	if ((uint64_t)status.st_size != file->size)
		return refuse(folder, file->name, "has another size than when it was made", err);
	if (changed_ns(&status) != file->changed_ns)
		return refuse(folder, file->name, "has been changed since it was made", err);
	return 0;
}

static int check_state(int folder_fd, const char *folder, const struct snapshot_record *record,
		       struct err *err)
{
	char sha256[TEMPLATE_KEY_SIZE];
	const int r = hash_state(folder_fd, sha256);

	if (r == -ENOENT)
		return refuse(folder, VM_CAPTURE_STATE, "is missing", err);
	if (r < 0)
		return err_sys(err, r, "read '%s/" VM_CAPTURE_STATE "'", folder);
	return str_eq(sha256, record->state_sha256)
		       ? 0
		       : refuse(folder, VM_CAPTURE_STATE,
				"is damaged: its SHA-256 is not as it was", err);
}

static int check_files(const struct daemon *daemon, const struct snapshot_record *record,
		       struct err *err)
{
	AUTO_FREE char *folder = snapshot_folder(daemon, record);
	AUTO_CLOSE int fd = dir_open(folder);
	int r;

	if (fd == -ENOENT)
		return refuse_path(folder, "is missing", err);
	if (fd == -ENOTDIR)
		return refuse_path(folder, "is no folder", err);
	if (fd < 0)
		return err_sys(err, fd, "open '%s'", folder);
	r = check_state(fd, folder, record, err);
	for (size_t i = 0; i < SNAPSHOT_PART_COUNT && r == 0; i++)
		r = check_file(fd, folder, &record->files[i], err);
	return r;
}

/* --- what it needs beside --- */

void snapshot_apply(const struct snapshot_record *record, const struct vm *vm, struct vm *ret)
{
	vm_copy(ret, vm);
	ret->spec.vcpu = record->vcpu;
	ret->spec.memory_bytes = record->memory_bytes;
	ret->spec.system_overlay_bytes = record->system_bytes;
	ret->spec.disk_bytes = record->work_bytes;
	vm_workspace_done(&ret->workspace);
	vm_workspace_copy(&ret->workspace, &record->workspace);
}

static int check_machine(const struct job *job, const struct vm *vm,
			 const struct snapshot_record *record, struct err *err)
{
	char key[MACHINE_KEY_SIZE];
	AUTO_BUF what = BUF_INIT;
	int r;

	r = vm_machine_key_now(job, vm, key, err);
	if (r < 0)
		return r;
	machine_key_compare(record->machine_key, key, &what);
	if (what.len == 0)
		return 0;
	r = err_set(err, ERR_BAD_STATE, "it was made with %s", what.ptr);
	err_hint(err,
		 "a machine's memory fits only what it was made with: put that back, or delete "
		 "the snapshot");
	return r;
}

int snapshot_check(const struct job *job, const struct vm *vm, const struct snapshot_record *record,
		   struct err *err)
{
	const int r = check_files(job->daemon, record, err);

	return r < 0 ? r : check_machine(job, vm, record, err);
}
