/*
 * What is in a file system that somebody else made: `bangerd --worker inspect`, confined as
 * worker.h says, with a gigabyte of memory and a minute. A guest may have written it, and libext2fs
 * trusts what it reads: nothing but this process parses more of such a file than its superblock
 * (superblock.h).
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

#define INSPECT_MEMORY_BYTES (1ULL << 30)
#define INSPECT_SECONDS	     60

enum inspect_worker_fd {
	INSPECT_WORKER_FILE = 3, /* opened for reading */
};

/* The worker's side; returns the exit status. */
int inspect_worker_main(void);

/*
 * Whether there is an /sbin/init that can be executed. `fd` is borrowed, a regular file opened for
 * reading only; `program` as in worker_process.h. ERR_INVALID, with a hint: the file system is
 * damaged. ERR_PROTOCOL or ERR_TIMEOUT: the worker died or does not end.
 */
int inspect_has_init(const char *program, int fd, const struct cancel *cancel, bool *ret,
		     struct err *err) MUST_CHECK;
