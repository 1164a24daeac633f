/*
 * Printing a log file, and following it as it grows: also when it is truncated, or replaced by a
 * new file under the same name, as rotation does. Waits by inotify, never by reading again and
 * again.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct cli;

struct follow {
	int fd;		  /* borrowed: the file, opened for reading */
	const char *path; /* borrowed: its name, for a replacement; NULL: there will be none */
	bool is_raw;	  /* bytes as they are, for pipes into other tools */
	bool goes_on;	  /* after the end, until a signal */
};

/* Writes to standard output. 0, or the exit status in *ret_status when writing failed. */
int follow_run(struct cli *cli, const struct follow *follow, int *ret_status, struct err *err)
	MUST_CHECK;
