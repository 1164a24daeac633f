/*
 * Kernels that the user has: from a folder as builds and distributions leave them, or from files
 * named one by one.
 *
 * In a folder, metadata.json says what is what (docs/kernels.md). Without it, the files are found
 * by their usual names, in the folder itself and in its boot/:
 *
 *     vmlinux, vmlinux-*                                                   the uncompressed ELF
 *     vmlinuz, vmlinuz-*, bzImage                                          the bzImage
 *     initrd, initrd.img, initrd.img-*, initramfs.img, initramfs-*.img     the initrd
 *     modules/, lib/modules/RELEASE/, usr/lib/modules/RELEASE/             modules
 *
 * Two candidates for one place are an error that names both. One kernel file is enough: the ELF is
 * made from the bzImage. Modules may be missing: then all that a VM needs must be built in. The
 * initrd is kept and recorded, but VMs start with banger's own (initramfs.h).
 *
 * Nothing here follows a symbolic link or opens anything but regular files. Each file is checked by
 * a bounded read of its headers, copied from one descriptor and hashed on the way; one that changes
 * meanwhile is refused. What is judged and recorded is the copy.
 */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "kernel/kernel.h"

#define KERNEL_METADATA_FILE "metadata.json"
#define KERNEL_INITRD_FILE   "initrd"
#define KERNEL_INITRD_MAX    (1ULL << 30)

/* Paths are absolute. */
struct kernel_import_request {
	const char *kernels_dir;
	const char *name; /* of the new kernel */
	const char *from; /* the folder; NULL when the files are named: */
	const char *kernel_file;
	const char *initrd_file; /* NULL: none */
	const char *modules_dir; /* NULL: none */
};

/*
 * A kernel with that name is replaced when the new one is whole, and only then; who has the old
 * files open keeps them. ERR_NOT_FOUND when there is no kernel in the folder; ERR_INVALID says what
 * a file is instead; ERR_BUSY when one changed while it was copied. Calls for the same name must
 * not run at the same time. `ret` is initialised by the caller and filled.
 */
int kernel_import(const struct kernel_import_request *request, const struct cancel *cancel,
		  const struct progress *progress, struct kernel *ret, struct err *err) MUST_CHECK;
