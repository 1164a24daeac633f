/*
 * A kernel package's tar, read into a staging folder: boot/vmlinuz-RELEASE becomes "vmlinuz", and
 * the modules of lib/modules/RELEASE (or usr/lib/modules) go to "modules". Only regular files with
 * names from that list are taken, their paths are made anew from checked parts below the folder's
 * descriptor, and everything has a limit; all else in the tar is passed over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "kernel/image.h"
#include "kernel/modules.h"

#define PACKAGE_VMLINUZ_MAX (256ULL << 20)
#define PACKAGE_MODULES_MAX \
	(4ULL << 30) /* all modules together; Debian's biggest kernel has 500 MiB */
#define PACKAGE_LIST_MAX  (16ULL << 20) /* modules.builtin and its like */
#define PACKAGE_PATH_MAX  512
#define PACKAGE_DEPTH_MAX 32

struct package_source {
	/* Bytes, 0 at the end, or negative with `err` filled. */
	ssize_t (*read)(void *context, void *into, size_t size, struct err *err);
	void *context; /* borrowed */
};

struct package {
	char release[KERNEL_RELEASE_MAX + 1]; /* from the names */
	struct module_set *modules;	      /* owned; built-in ones included */
	uint64_t modules_bytes;
};

void package_done(struct package *package);

/*
 * Reads the tar to its end. ERR_INVALID when the kernel or all modules are missing, there are two
 * kernels, or a wanted name is a link or leads elsewhere. The folder is the caller's to remove
 * after a failure.
 */
int package_unpack(const struct package_source *source, int staging_fd, struct package *ret,
		   struct err *err) MUST_CHECK;

/*
 * Whether the file at `path` below a folder of modules is one to keep (a .ko, compressed or not, or
 * one of the lists that the kernel's build makes), with a path of tame components; and how large it
 * may be. Pure.
 */
bool package_wants_module(const char *path, uint64_t *ret_size_max) MUST_CHECK;

/* Takes the bytes of such a file into account: what a module needs, what is built in, their size.
 */
int package_take_module(struct package *package, const char *path, struct span bytes,
			struct err *err) MUST_CHECK;

/* Makes the file `path` of checked components below `dir_fd`, and the folders on the way.
 * ERR_INVALID when it is there already. */
int package_write_file(int dir_fd, const char *path, struct span content, struct err *err)
	MUST_CHECK;

/* The same, empty, for writing; the caller closes it. */
int package_create_file(int dir_fd, const char *path, int *ret_fd, struct err *err) MUST_CHECK;
