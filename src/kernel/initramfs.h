/*
 * The initramfs of a kernel: a compressed newc archive with
 *
 *     /init                  the static agent
 *     /banger/modules/...    only what a VM needs to find its devices, uncompressed
 *     /banger/modules.list   their file names, one a line, in the order to load them
 *
 * and, appended per VM, a second small archive with /banger/identity.json. The kernel unpacks
 * archives that follow one another into one tree.
 */
#pragma once

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"

#define INITRAMFS_FILE "initramfs.img"
#define INITRAMFS_AGENT_MAX                                                                     \
	(32ULL << 20)			    /* the agent has 1.1 MiB; with sanitizers some more \
					     */
#define INITRAMFS_IDENTITY_MAX (256U << 10) /* keys and settings of one VM */

/*
 * Makes kernels/NAME/initramfs.img when it is missing or was made from another agent, kernel or
 * layout, and reports progress then; otherwise does nothing. Readers see the old file or the new
 * one. Calls may run at the same time.
 */
int initramfs_ensure(const char *kernels_dir, const char *name, const char *agent_path,
		     const struct cancel *cancel, const struct progress *progress, struct err *err)
	MUST_CHECK;

/* 1 when initramfs_ensure() would do nothing, 0 when it would make one. Only looks, and waits for
 * nobody. */
int initramfs_check(const char *kernels_dir, const char *name, const char *agent_path,
		    struct err *err) MUST_CHECK;

struct initramfs_module {
	char *file_name; /* owned: "virtio_blk.ko" */
	struct buf bytes;
};

/* Appends the archive of these parts, compressed. The same input gives the same bytes. Pure. */
int initramfs_pack(struct span agent, const struct initramfs_module *modules, size_t count,
		   struct buf *out, struct err *err) MUST_CHECK;

/* Appends the per-VM archive, uncompressed, a multiple of 512 bytes. Pure. */
int initramfs_pack_identity(struct span identity_json, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Writes a VM's initrd to the empty file `out_fd`: a copy of initramfs.img, zero bytes up to the
 * alignment that the kernel wants, and the archive with /banger/identity.json. The caller syncs it
 * when that matters.
 */
int initramfs_write_vm(int initramfs_fd, int out_fd, struct span identity_json, struct err *err)
	MUST_CHECK;
