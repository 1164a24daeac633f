/* A VM's two disks: the system overlay over its image's root, and the work disk from its work seed.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "disk/disk.h"

enum vm_disk { VM_DISK_SYSTEM, VM_DISK_WORK, VM_DISK_COUNT };

/*
 * Makes both, by the best way that the engine and the file system have. `from` is NULL, or the
 * folder of a captured machine (vm_capture.h): then they begin as its disks are.
 */
int vm_disks_make(struct daemon *daemon, const struct vm *vm, const char *from,
		  const struct job *job, struct err *err) MUST_CHECK;

/* Removes what vm_disks_make() made. Nothing there is fine. */
int vm_disks_remove(const struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;

/*
 * Copies both, of a VM that does not write to them, into a folder; not to stable storage yet.
 */
int vm_disks_copy(const struct daemon *daemon, const struct vm *vm, const char *to,
		  const struct cancel *cancel, struct err *err) MUST_CHECK;

/* Makes disks for `vm` in the folder `to` that begin as those in `from` are. */
int vm_disks_copy_back(const struct daemon *daemon, const struct vm *vm, const char *from,
		       const char *to, const struct job *job, struct err *err) MUST_CHECK;

/* Puts the disks that are in `from` in the place of those of a VM that has ended. Some may have
 * been put there before. */
int vm_disks_replace(const struct daemon *daemon, const struct vm *vm, const char *from,
		     struct err *err) MUST_CHECK;

/* The name of a disk's file in a folder, NULL when there is none; owned by the caller. */
char *vm_disk_name_in(const char *folder, enum vm_disk disk) MUST_CHECK;

/* Moves them, of a VM that has ended, into the folder of a template. */
int vm_disks_move(const struct daemon *daemon, const struct vm *vm, const char *to, struct err *err)
	MUST_CHECK;

/*
 * Finds a disk that was made: its format is in its name, which only we write. `ret` is
 * uninitialised. ERR_NOT_FOUND when it is gone, ERR_UNSUPPORTED when the engine cannot read it.
 */
int vm_disk_find(const struct daemon *daemon, const struct vm *vm, enum vm_disk disk,
		 enum disk_engine engine, struct disk_overlay *ret, struct err *err) MUST_CHECK;

/* Which way new disks are made and why, for doctor. */
int vm_disks_explain(struct daemon *daemon, enum disk_engine engine,
		     char ret_reason[static DISK_REASON_SIZE], enum disk_kind *ret, struct err *err)
	MUST_CHECK;

/* Whether the VM's folder `name` below `vms_fd` has a disk in it. */
bool vm_disks_are_in(int vms_fd, const char *name);
