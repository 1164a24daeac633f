/* Inside src/kernel: what is what in a folder that a kernel is imported from. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "kernel/image.h"

/* Paths are relative to the folder; owned, NULL where there is none. */
struct import_files {
	char *vmlinux;
	char *vmlinuz;
	char *initrd;
	char *modules;
	char *version;			      /* what metadata.json calls it */
	char release[KERNEL_RELEASE_MAX + 1]; /* from lib/modules/RELEASE; or "" */
};

void import_files_done(struct import_files *files);
#define AUTO_IMPORT_FILES CLEANUP(import_files_done) struct import_files

/*
 * Reads metadata.json: an object with vmlinux, vmlinuz, initrd, modules (relative paths) and
 * version, each optional. ERR_INVALID names the member. Pure.
 */
int import_parse_metadata(struct span text, struct import_files *ret, struct err *err) MUST_CHECK;

/* metadata.json first, then the usual names. `from` is for messages. */
int import_find(int dir_fd, const char *from, struct import_files *ret, struct err *err) MUST_CHECK;

/* "…/modules/6.1.0-1" gives "6.1.0-1", everything else "". */
void import_release_of_path(const char *path, char ret[static KERNEL_RELEASE_MAX + 1]);
