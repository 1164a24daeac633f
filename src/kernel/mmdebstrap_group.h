/* Inside src/kernel: the process group of an mmdebstrap run, how it is stopped, and what it may
 * leave. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

#define MMDEBSTRAP_PROGRAM  "mmdebstrap"
#define GROUP_SHARED_PREFIX "/var/tmp/banger-mmdebstrap-"

/*
 * Asks the group to end, waits a little for its own cleaning up, and kills it. The leader is not
 * reaped, so that its number, and with it the group's, is nobody else's meanwhile.
 */
void group_stop(pid_t leader, int pidfd);

/* Removes a folder that make_shared_dir() made, also when its files belong to subordinate ids. */
void group_remove_shared(const char *path);

/* Writes down who it is, for mmdebstrap_sweep(). `shared_dir` may be NULL. */
int group_write_identity(pid_t leader, const char *shared_dir, int work_dir_fd, struct err *err)
	MUST_CHECK;
