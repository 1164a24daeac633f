/*
 * The kernels that are here, pulled or imported: kernels/NAME/ with
 *
 *     vmlinux        the uncompressed ELF that the VMM boots
 *     vmlinuz        the bzImage as packaged, if there was one
 *     initrd         what came with an imported kernel; not what VMs start with
 *     modules/       kernel/.../.ko files and modules.builtin, if there are any
 *     modules.dep    made by us (modules.h)
 *     kernel.json    the record below
 *     initramfs.img  made on demand (initramfs.h)
 *
 * A kernel is made in a staging folder ".new-NAME-..." beside its place and renamed there when
 * whole; deletion renames it to ".old-NAME-..." first. Both kinds are removed by kernel_sweep(), so
 * a kill at any step leaves a whole kernel or none. Whether a kernel is in use is the caller's
 * business: running VMs have their own descriptors and are not disturbed by either.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "kernel/digest.h"
#include "model/artifact.h"

#define KERNEL_DEFAULT_NAME "debian-cloud"
#define KERNEL_ELF_FILE	    "vmlinux"

enum kernel_source_kind {
	KERNEL_SOURCE_PACKAGE, /* a Debian package */
	KERNEL_SOURCE_BUNDLE,  /* a file to download (bundle.h) */
	KERNEL_SOURCE_KIND_COUNT,
};

/* The stable word: "package", "bundle". */
const char *kernel_source_kind_name(enum kernel_source_kind kind);

/* What can be pulled. Strings belong to the catalog that it is from. */
struct kernel_source {
	const char *name; /* "debian-cloud" */
	enum kernel_source_kind kind;
	const char *package; /* PACKAGE only: "linux-image-cloud-amd64" */
	const char *suite;   /* PACKAGE only: "bookworm" */
	const char *url;     /* BUNDLE only, as the next two */
	const char *sha256;  /* 64 hexadecimal digits, lower case */
	uint64_t size_bytes;
	const char *description;
	bool is_default;
	bool is_users; /* from catalog.json */
};

/* The shipped part of the catalog; never empty. All of it is in catalog.h. */
const struct kernel_source *kernel_sources(size_t *ret_count);
const struct kernel_source *kernel_source_find(const char *name);

struct kernel {
	struct kernel_record record; /* owned strings */
	char *source; /* owned: package/suite, URL, folder or file that it is from; may be NULL */
	char vmlinux_sha256[SHA256_TEXT_SIZE];
	char vmlinuz_sha256[SHA256_TEXT_SIZE]; /* "" without a bzImage */
	char initrd_sha256[SHA256_TEXT_SIZE];  /* "" without an initrd */
};

void kernel_init(struct kernel *kernel);
void kernel_done(struct kernel *kernel);
#define AUTO_KERNEL CLEANUP(kernel_done) struct kernel

/*
 * The public object, which is what kernel.json has: name, kind, version, release, formats,
 * modules, size_bytes, pulled_at, vmlinux_sha256; where they apply: package, source,
 * vmlinuz_sha256, initrd_sha256.
 */
json_t *kernel_json(const struct kernel *kernel) MUST_CHECK;

/*
 * Pulls the package of a catalog entry of that kind into the folder `kernels_dir` (its absolute
 * path). A kernel with that name is replaced when the new one is whole, and only then. Calls for
 * the same name must not run at the same time. `ret` is initialised by the caller and filled.
 * Bundles are installed by bundle.h.
 */
int kernel_pull_package(const char *kernels_dir, const struct kernel_source *source,
			const struct cancel *cancel, const struct progress *progress,
			struct kernel *ret, struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND when there is none; ERR_INVALID when its record is damaged. */
int kernel_load(const char *kernels_dir, const char *name, struct kernel *ret, struct err *err)
	MUST_CHECK;

/*
 * Appends all that are there, sorted by name. A folder without a readable record is passed over:
 * kernel_load() tells what is wrong with it.
 */
int kernel_list(const char *kernels_dir, struct kernel_record_list *ret, struct err *err)
	MUST_CHECK;

/* ERR_NOT_FOUND when there is none. */
int kernel_remove(const char *kernels_dir, const char *name, struct err *err) MUST_CHECK;

/* Removes what interrupted pulls and removals left, and ends their processes. For the daemon's
 * start. */
int kernel_sweep(const char *kernels_dir, struct err *err) MUST_CHECK;
