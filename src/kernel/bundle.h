/*
 * Bundles: a kernel as one file, .tar.zst with exactly these members, regular files all:
 *
 *     SHA256SUMS          first: "HEX  NAME" for each other member, and for nothing else
 *     metadata.json       optional: {"version": "..."} (docs/formats.md)
 *     vmlinux, vmlinuz    at least one
 *     initrd              optional
 *     modules/...         optional: .ko files (.xz, .zst, .gz too), modules.builtin and its like
 *
 * The file has been verified as a whole, by size and SHA-256, before its first byte is looked at
 * (fetch.h); how it is unpacked, and why in this process, is in unpack.h.
 */
#pragma once

#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "kernel/kernel.h"

struct kernel_bundle_request {
	const char *kernels_dir; /* absolute */
	const char *name;	 /* of the new kernel */
	int fd;			 /* borrowed: the verified bundle, at its start */
	const char *source;	 /* where it is from, for the record: its URL */
};

/*
 * As kernel_import(), from a bundle. ERR_INVALID names the member that should not be there, is
 * missing or is damaged; ERR_LIMIT the one that is too large.
 */
int kernel_bundle_install(const struct kernel_bundle_request *request, const struct cancel *cancel,
			  const struct progress *progress, struct kernel *ret, struct err *err)
	MUST_CHECK;
