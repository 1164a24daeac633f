#include "daemon/vm_disks.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/engine.h"
#include "daemon/vm_files.h"
#include "image/image.h"
#include "image/register.h"

static const char *const stems[] = { [VM_DISK_SYSTEM] = "system", [VM_DISK_WORK] = "work" };
_Static_assert(ARRAY_LEN(stems) == VM_DISK_COUNT, "each disk needs its names");

static const char *base_of(const struct image_paths *paths, enum vm_disk disk)
{
	return disk == VM_DISK_SYSTEM ? paths->root : paths->seed;
}

static uint64_t size_of(const struct vm *vm, enum vm_disk disk)
{
	return disk == VM_DISK_SYSTEM ? vm->spec.system_overlay_bytes : vm->spec.disk_bytes;
}

int vm_disks_explain(struct daemon *daemon, enum disk_engine engine,
		     char ret_reason[static DISK_REASON_SIZE], enum disk_kind *ret, struct err *err)
{
	return disk_choose(daemon->vms_dir, daemon->images_dir, engine, ret, ret_reason, err);
}

/* The file of a disk in a folder, and of which kind it is: its name says so, and only we write
 * that. NULL when there is none. Owned by the caller. */
static char *file_in(const char *folder, enum vm_disk disk, enum disk_kind *ret)
{
	for (int kind = 0; kind < DISK_KIND_COUNT; kind++) {
		AUTO_FREE char *path = mem_printf("%s/%s.%s", folder, stems[disk],
						  disk_kind_suffix((enum disk_kind)kind));

		if (access(path, F_OK) < 0)
			continue;
		*ret = (enum disk_kind)kind;
		return TAKE_PTR(path);
	}
	return NULL;
}

static int make_disk(const struct vm *vm, enum vm_disk disk, const char *from,
		     struct disk_request *request, const struct job *job, struct err *err)
{
	AUTO_FREE char *source = from ? file_in(from, disk, &request->kind) : NULL;
	AUTO_DISK_OVERLAY made = { 0 };

	if (from && !source)
		return err_set(err, ERR_NOT_FOUND, "there is no %s disk in '%s'", stems[disk],
			       from);
	request->stem = stems[disk];
	request->source = source;
	request->size_bytes = size_of(vm, disk);
	return disk_create(request, job->cancel, job->progress, &made, err);
}

int vm_disks_make(struct daemon *daemon, const struct vm *vm, const char *from,
		  const struct job *job, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_IMAGE_PATHS paths = { 0 };
	struct vmm_decision decision = { 0 };
	char reason[DISK_REASON_SIZE];
	enum disk_kind kind;
	int r;

	r = image_locate(daemon->images_dir, vm->spec.image, &paths, err);
	if (r == 0)
		r = engine_get(daemon->engine, job->cancel, &decision, err);
	if (r < 0)
		return r;
	r = vm_disks_explain(daemon,
			     decision.engine == VMM_ENGINE_QEMU ? DISK_ENGINE_QEMU
								: DISK_ENGINE_FIRECRACKER,
			     reason, &kind, err);
	vmm_decision_done(&decision);
	for (size_t i = 0; i < VM_DISK_COUNT && r == 0; i++) {
		struct disk_request request = {
			.kind = kind,
			.folder = folder,
			.base = base_of(&paths, (enum vm_disk)i),
		};

		r = make_disk(vm, (enum vm_disk)i, from, &request, job, err);
	}
	return r;
}

int vm_disks_remove(const struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);

	for (size_t i = 0; i < VM_DISK_COUNT; i++) {
		enum disk_kind kind;
		AUTO_FREE char *path = file_in(folder, (enum vm_disk)i, &kind);

		if (path && unlink(path) < 0)
			return err_sys(err, -errno, "remove '%s'", path);
	}
	return 0;
}

static int copy_all(const struct daemon *daemon, const struct vm *vm, const char *from,
		    const struct disk_request *like, const struct job *job, struct err *err)
{
	AUTO_IMAGE_PATHS paths = { 0 };
	int r;

	r = image_locate(daemon->images_dir, vm->spec.image, &paths, err);
	for (size_t i = 0; i < VM_DISK_COUNT && r == 0; i++) {
		struct disk_request request = *like;

		request.base = base_of(&paths, (enum vm_disk)i);
		r = make_disk(vm, (enum vm_disk)i, from, &request, job, err);
	}
	return r;
}

int vm_disks_copy(const struct daemon *daemon, const struct vm *vm, const char *to,
		  const struct cancel *cancel, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	const struct disk_request like = { .folder = to, .is_synced_later = true };
	const struct job job = { .cancel = cancel };

	return copy_all(daemon, vm, folder, &like, &job, err);
}

int vm_disks_copy_back(const struct daemon *daemon, const struct vm *vm, const char *from,
		       const char *to, const struct job *job, struct err *err)
{
	const struct disk_request like = { .folder = to };

	return copy_all(daemon, vm, from, &like, job, err);
}

int vm_disks_replace(const struct daemon *daemon, const struct vm *vm, const char *from,
		     struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_CLOSE int fd = dir_open(folder);

	if (fd < 0)
		return err_sys(err, fd, "open '%s'", folder);
	for (size_t i = 0; i < VM_DISK_COUNT; i++) {
		enum disk_kind kind;
		AUTO_FREE char *path = file_in(from, (enum vm_disk)i, &kind);
		AUTO_FREE char *old = file_in(folder, (enum vm_disk)i, &kind);
		AUTO_FREE char *target = NULL;

		if (!path)
			continue;
		target = mem_printf("%s%s", folder, strrchr(path, '/'));
		/* One of another kind would be there beside it. */
		if (old && !str_eq(old, target) && unlink(old) < 0)
			return err_sys(err, -errno, "remove '%s'", old);
		if (rename(path, target) < 0)
			return err_sys(err, -errno, "move '%s' to '%s'", path, target);
	}
	return fsync(fd) < 0 ? err_sys(err, -errno, "store '%s'", folder) : 0;
}

char *vm_disk_name_in(const char *folder, enum vm_disk disk)
{
	enum disk_kind kind;
	AUTO_FREE char *path = file_in(folder, disk, &kind);

	return path ? mem_strdup(strrchr(path, '/') + 1) : NULL;
}

int vm_disks_move(const struct daemon *daemon, const struct vm *vm, const char *to, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);

	for (size_t i = 0; i < VM_DISK_COUNT; i++) {
		enum disk_kind kind;
		AUTO_FREE char *path = file_in(folder, (enum vm_disk)i, &kind);
		AUTO_FREE char *target = NULL;

		if (!path)
			return err_set(err, ERR_NOT_FOUND, "the %s disk of '%s' is missing",
				       stems[i], vm->name);
		target = mem_printf("%s%s", to, strrchr(path, '/'));
		if (rename(path, target) < 0)
			return err_sys(err, -errno, "move '%s' to '%s'", path, target);
	}
	return 0;
}

/* KVM, or Firecracker, came to the host after the VM was made. */
static int refuse_qcow2(const char *path, struct err *err)
{
	const int r =
		err_set(err, ERR_UNSUPPORTED,
			"'%s' is a qcow2 disk, made for QEMU: Firecracker cannot read it", path);

	err_hint(err, "vmm = \"qemu\" in the configuration keeps QEMU for all VMs");
	return r;
}

int vm_disk_find(const struct daemon *daemon, const struct vm *vm, enum vm_disk disk,
		 enum disk_engine engine, struct disk_overlay *ret, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_IMAGE_PATHS paths = { 0 };
	AUTO_FREE char *path = NULL;
	enum disk_kind kind;
	int r;

	r = image_locate(daemon->images_dir, vm->spec.image, &paths, err);
	if (r < 0)
		return r;
	path = file_in(folder, disk, &kind);
	if (!path)
		return err_set(err, ERR_NOT_FOUND, "the %s disk of '%s' is missing in '%s'",
			       stems[disk], vm->name, folder);
	if (engine == DISK_ENGINE_FIRECRACKER && !disk_kind_is_raw(kind))
		return refuse_qcow2(path, err);
	*ret = (struct disk_overlay){
		.kind = kind,
		.path = TAKE_PTR(path),
		.base = mem_strdup(base_of(&paths, disk)),
		.size_bytes = size_of(vm, disk),
	};
	return 0;
}

bool vm_disks_are_in(int vms_fd, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(stems); i++) {
		for (int kind = 0; kind < DISK_KIND_COUNT; kind++) {
			AUTO_FREE char *path = mem_printf("%s/%s.%s", name, stems[i],
							  disk_kind_suffix((enum disk_kind)kind));

			if (faccessat(vms_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
				return true;
		}
	}
	return false;
}
