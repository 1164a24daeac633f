/* Making, growing and removing the files. */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "disk/disk.h"
#include "disk/qcow2.h"

#define QEMU_IMG	    "qemu-img"
#define QEMU_IMG_TIMEOUT_MS 60000
#define QEMU_IMG_OUTPUT_MAX 65536
#define BLOCK_BYTES	    4096ULL /* disks are whole blocks, whatever an image's size is */

/* The disk while it is made: beside its place, gone again unless it was renamed. */
struct staging {
	int folder_fd; /* owned */
	int fd;	       /* owned: the new file */
	uint64_t size_bytes;
	char *name;	/* owned: "system.raw" */
	char *new_name; /* owned: ".new-system.raw" */
	char *new_path; /* owned, absolute */
	bool is_made;
};

static void staging_done(struct staging *staging)
{
	if (staging->is_made)
		(void)unlinkat(staging->folder_fd, staging->new_name, 0);
	fd_close(staging->fd);
	fd_close(staging->folder_fd);
	mem_free(staging->name);
	mem_free(staging->new_name);
	mem_free(staging->new_path);
}

void disk_overlay_done(struct disk_overlay *overlay)
{
	if (!overlay)
		return;

	mem_free(overlay->path);
	mem_free(overlay->base);
	*overlay = (struct disk_overlay){ .path = NULL };
}

/* Errors of files: a cancellation keeps its kind. */
static int file_fail(struct err *err, int r, const char *doing, const char *path)
{
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "%s '%s': cancelled", doing, path);
	return err_sys(err, r, "%s '%s'", doing, path);
}

static int run_qemu_img(struct strv *argv, const struct cancel *cancel, struct err *err)
{
	struct spawn spawn = {
		.path = QEMU_IMG,
		.argv = strv_argv(argv),
		.dies_with_parent = true,
		.no_new_privs = true,
	};

	return spawn_run(&spawn, cancel, QEMU_IMG_TIMEOUT_MS, QEMU_IMG_OUTPUT_MAX, NULL, err);
}

/* No backing name goes into it: who opens it names the chain. */
static int make_qcow2(const struct staging *staging, struct err *err)
{
	const int r = qcow2_write_empty(staging->fd, staging->size_bytes);

	return r < 0 ? file_fail(err, r, "make the disk", staging->new_path) : 0;
}

static int too_large(const struct staging *staging, struct err *err)
{
	return err_set(err, ERR_INVALID,
		       "'%s' is to have %" PRIu64 " bytes, less than what it is copied from",
		       staging->new_path, staging->size_bytes);
}

static int make_raw(const struct staging *staging, int from_fd, const struct cancel *cancel,
		    enum disk_kind *ret_kind, struct err *err)
{
	bool is_reflinked = false;
	struct stat from;
	int r;

	if (fstat(from_fd, &from) < 0)
		return file_fail(err, -errno, "copy to", staging->new_path);
	if ((uint64_t)from.st_size > staging->size_bytes)
		return too_large(staging, err);
	r = file_clone(from_fd, staging->fd, cancel, &is_reflinked);
	if (r < 0)
		return file_fail(err, r, "copy to", staging->new_path);
	if (ftruncate(staging->fd, (off_t)staging->size_bytes) < 0)
		return file_fail(err, -errno, "grow", staging->new_path);

	*ret_kind = is_reflinked ? DISK_REFLINK : DISK_COPY;
	return 0;
}

static int copy_qcow2(const struct staging *staging, int from_fd, const struct cancel *cancel,
		      struct err *err)
{
	bool is_reflinked = false;
	int r;

	r = file_clone(from_fd, staging->fd, cancel, &is_reflinked);
	if (r == 0)
		r = qcow2_grow(staging->fd, staging->size_bytes);
	if (r == -EINVAL)
		return too_large(staging, err);
	if (r == -ENOTSUP)
		return err_set(err, ERR_UNSUPPORTED,
			       "'%s': what it is copied from cannot have %" PRIu64 " bytes",
			       staging->new_path, staging->size_bytes);
	return r < 0 ? file_fail(err, r, "copy to", staging->new_path) : 0;
}

static int open_source(const char *path, int *ret_fd, struct err *err)
{
	struct stat status;

	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*ret_fd < 0 || fstat(*ret_fd, &status) < 0)
		return err_sys(err, -errno, "open the disk '%s'", path);
	return S_ISREG(status.st_mode) ? 0 : err_set(err, ERR_INVALID, "'%s' is no file", path);
}

static int fill(const struct disk_request *request, const struct staging *staging, int base_fd,
		const struct cancel *cancel, enum disk_kind *kind, struct err *err)
{
	AUTO_CLOSE int source_fd = -1;
	int r = 0;

	if (request->source)
		r = open_source(request->source, &source_fd, err);
	if (r < 0)
		return r;
	if (disk_kind_is_raw(*kind))
		return make_raw(staging, request->source ? source_fd : base_fd, cancel, kind, err);
	return request->source ? copy_qcow2(staging, source_fd, cancel, err)
			       : make_qcow2(staging, err);
}

/* Opens the image and finds how large the disk becomes. */
static int open_base(const struct disk_request *request, int *ret_fd, uint64_t *ret_size,
		     struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;
	uint64_t size;

	fd = open(request->base, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno, "open the image '%s'", request->base);
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "look at the image '%s'", request->base);
	if (!S_ISREG(status.st_mode) || status.st_size <= 0)
		return err_set(err, ERR_INVALID,
			       "the image '%s' is no file with a file system in it", request->base);

	size = (uint64_t)status.st_size;
	if (size < request->size_bytes)
		size = request->size_bytes;
	if (size > QCOW2_SIZE_MAX - BLOCK_BYTES)
		return err_set(err, ERR_INVALID, "a disk of %" PRIu64 " bytes cannot be", size);
	*ret_size = (size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* An empty file in the staging place. */
static int stage(const struct disk_request *request, struct staging *staging, struct err *err)
{
	const char *suffix = disk_kind_suffix(request->kind);
	struct stat status;

	staging->folder_fd = dir_open(request->folder);
	if (staging->folder_fd < 0)
		return err_sys(err, staging->folder_fd, "open the VM's folder '%s'",
			       request->folder);

	staging->name = mem_printf("%s.%s", request->stem, suffix);
	staging->new_name = mem_printf(".new-%s", staging->name);
	staging->new_path = mem_printf("%s/%s", request->folder, staging->new_name);

	/* Said before the work; the rename makes sure of it. */
	if (fstatat(staging->folder_fd, staging->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, ERR_EXISTS, "the disk '%s/%s' exists already", request->folder,
			       staging->name);
	/* What a killed process left: the VM's lock keeps living ones apart. */
	if (unlinkat(staging->folder_fd, staging->new_name, 0) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "remove '%s'", staging->new_path);

	staging->fd = openat(staging->folder_fd, staging->new_name,
			     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (staging->fd < 0)
		return err_sys(err, -errno, "make the disk '%s'", staging->new_path);
	staging->is_made = true;
	return 0;
}

static int put_in_place(const struct disk_request *request, struct staging *staging,
			struct err *err)
{
	int r;

	if (!request->is_synced_later && fsync(staging->fd) < 0)
		return file_fail(err, -errno, "store", staging->new_path);
	failpoint("disk.create.made");

	r = file_rename_new(staging->folder_fd, staging->new_name, staging->folder_fd,
			    staging->name);
	if (r < 0)
		return err_sys(err, r, "put the disk '%s/%s' in place", request->folder,
			       staging->name);
	staging->is_made = false;
	failpoint("disk.create.renamed");

	if (!request->is_synced_later && fsync(staging->folder_fd) < 0) {
		r = err_sys(err, -errno, "store the folder '%s'", request->folder);

		(void)unlinkat(staging->folder_fd, staging->name, 0);
		return r;
	}
	return 0;
}

int disk_create(const struct disk_request *request, const struct cancel *cancel,
		const struct progress *progress, struct disk_overlay *ret, struct err *err)
{
	CLEANUP(staging_done) struct staging staging = { .folder_fd = -1, .fd = -1 };
	enum disk_kind kind = request->kind;
	AUTO_CLOSE int base_fd = -1;
	int r;

	r = cancel_check(cancel, err);
	if (r == 0)
		r = open_base(request, &base_fd, &staging.size_bytes, err);
	if (r == 0)
		r = stage(request, &staging, err);
	if (r < 0)
		return r;
	assert(staging.name);

	progress_report(progress, "disk", staging.name, 0, staging.size_bytes);
	r = fill(request, &staging, base_fd, cancel, &kind, err);
	if (r == 0)
		r = put_in_place(request, &staging, err);
	if (r < 0)
		return r;

	progress_report(progress, "disk", staging.name, staging.size_bytes, staging.size_bytes);
	*ret = (struct disk_overlay){
		.kind = kind,
		.path = mem_printf("%s/%s", request->folder, staging.name),
		.base = mem_strdup(request->base),
		.size_bytes = staging.size_bytes,
	};
	return 0;
}

static int grow_raw(const char *path, uint64_t size_bytes, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;

	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &status) < 0)
		return err_sys(err, -errno, "open the disk '%s'", path);
	/* The file decides, whatever was recorded: cutting it would destroy what the guest wrote.
	 */
	if ((uint64_t)status.st_size > size_bytes)
		return err_set(err, ERR_INVALID, "the disk '%s' has %jd bytes: disks only grow",
			       path, (intmax_t)status.st_size);
	if (ftruncate(fd, (off_t)size_bytes) < 0 || fsync(fd) < 0)
		return err_sys(err, -errno, "grow the disk '%s'", path);
	return 0;
}

/* By QEMU's own program, for a file whose tables must be moved. */
static int resize_qcow2(const char *path, uint64_t size_bytes, const struct cancel *cancel,
			struct err *err)
{
	AUTO_STRV argv = { .items = NULL };

	strv_add(&argv, QEMU_IMG);
	strv_add(&argv, "resize");
	strv_add(&argv, "-q");
	strv_add(&argv, "-f");
	strv_add(&argv, "qcow2");
	strv_add(&argv, path);
	strv_addf(&argv, "%" PRIu64, size_bytes);
	/* Without --shrink qemu-img refuses to make it smaller. */
	return run_qemu_img(&argv, cancel, err);
}

static int grow_qcow2(const char *path, uint64_t size_bytes, const struct cancel *cancel,
		      struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "open the disk '%s'", path);
	r = qcow2_grow(fd, size_bytes);
	if (r == -EINVAL)
		return err_set(err, ERR_INVALID, "the disk '%s' is larger: disks only grow", path);
	if (r < 0 && r != -ENOTSUP)
		return err_sys(err, r, "grow the disk '%s'", path);
	if (r == -ENOTSUP)
		r = resize_qcow2(path, size_bytes, cancel, err);
	return r < 0 ? err_context(err, r, "grow the disk '%s'", path) : 0;
}

int disk_grow(struct disk_overlay *overlay, uint64_t size_bytes, const struct cancel *cancel,
	      struct err *err)
{
	int r;

	if (size_bytes < overlay->size_bytes)
		return err_set(err, ERR_INVALID,
			       "the disk '%s' has %" PRIu64 " bytes: disks only grow",
			       overlay->path, overlay->size_bytes);
	if (size_bytes > INT64_MAX || size_bytes % BLOCK_BYTES != 0)
		return err_set(err, ERR_INVALID, "a disk of %" PRIu64 " bytes cannot be",
			       size_bytes);
	if (size_bytes == overlay->size_bytes)
		return 0;

	r = disk_kind_is_raw(overlay->kind) ? grow_raw(overlay->path, size_bytes, err)
					    : grow_qcow2(overlay->path, size_bytes, cancel, err);
	if (r < 0)
		return r;
	overlay->size_bytes = size_bytes;
	return 0;
}

struct usage {
	int folder_fd; /* borrowed */
	uint64_t bytes;
};

static int add_usage(void *context, const char *name)
{
	struct usage *usage = context;
	struct stat status;

	/* A file that goes away meanwhile occupies nothing. */
	if (fstatat(usage->folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(status.st_mode))
		usage->bytes += (uint64_t)status.st_blocks * 512;
	return 0;
}

int disk_used_bytes(const char *folder, uint64_t *ret, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(folder);
	struct usage usage = { .folder_fd = fd };
	int r;

	if (fd == -ENOENT) {
		*ret = 0;
		return 0;
	}
	if (fd < 0)
		return err_sys(err, fd, "open the folder '%s'", folder);

	r = dir_each(fd, add_usage, &usage);
	if (r < 0)
		return err_sys(err, r, "look at the files in '%s'", folder);
	*ret = usage.bytes;
	return 0;
}
