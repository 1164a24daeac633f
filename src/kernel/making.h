/*
 * Inside src/kernel: a kernel on its way into its place. Pulls, imports and bundles differ in where
 * the files come from; all of them
 *
 *   1. begin: a staging folder beside the place;
 *   2. put into it: vmlinuz, vmlinux or both, modules/ and perhaps initrd, and say in `package` and
 *      `kernel.record` what they know (kind, package, version);
 *   3. finish: the files are checked, what is missing is made from what is there, the record is
 *      written;
 *   4. publish: synced and renamed into its place.
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "kernel/kernel.h"
#include "kernel/package.h"

#define MAKING_STAGE "kernel"

struct making {
	const char *name; /* borrowed, as the next two */
	const struct cancel *cancel;
	const struct progress *progress;
	int kernels_fd;		/* owned */
	int staging_fd;		/* owned */
	char *staging;		/* owned: its name while it has to be removed */
	char *staging_path;	/* owned */
	struct package package; /* the release is that of the modules' folder, or "" */
	struct kernel kernel;	/* the record as it grows */
};

/* Storage and what is borrowed; the modules are an empty set. */
void making_init(struct making *making, const char *name, const struct cancel *cancel,
		 const struct progress *progress);
void making_done(struct making *making);

/* Failpoints of all three, also for imports and bundles: kernel.pull.staged, .extracted, .renamed.
 */
int making_begin(struct making *making, const char *kernels_dir, struct err *err) MUST_CHECK;
int making_finish(struct making *making, struct err *err) MUST_CHECK;

/* Puts the finished folder in its place; an older kernel there changes places with it and is
 * removed. */
int making_publish(struct making *making, struct err *err) MUST_CHECK;

/* Gives the record away; `ret` was initialised. */
void making_take(struct making *making, struct kernel *ret);
