/*
 * What of VMs and templates others may do something with. Memory, disks and consoles have whatever
 * was in a guest, secrets included: all of it is made 0600 and 0700, and behind that the state
 * folder is 0700. Whoever finds a file here that is not so has changed it, or copied it in.
 */
#pragma once

#include <sys/types.h>

#include "base/macros.h"

/*
 * Calls `visit` with each folder and file below "vms" and "templates" of the state folder, and
 * these two, whose mode (st_mode) has bits for group or others; a negative result ends it and is
 * returned. Links are not followed. -errno when a folder cannot be read; one that is missing, or
 * goes meanwhile, is fine.
 */
int exposed_each(const char *state_dir, int (*visit)(void *context, const char *path, mode_t mode),
		 void *context) MUST_CHECK;
