/*
 * A file that comes into being whole: without a name while it is written (O_TMPFILE), under its
 * name when it is published, replacing what was there. Whoever dies before leaves nothing; where
 * the file system knows no files without a name, ".new-NAME" beside its place.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct new_file {
	int fd;	    /* owned */
	char *path; /* owned */
	char *temp; /* owned; its name until it is published, NULL while it has none */
};

#define NEW_FILE_INIT ((struct new_file){ .fd = -1 })

/* For writing and reading, mode 0600. 0 or -errno. */
int new_file_open(const char *path, struct new_file *ret) MUST_CHECK;

/* 0 or -errno, and then it is as it was before. */
int new_file_publish(struct new_file *file) MUST_CHECK;

/* What was not published is gone. */
void new_file_done(struct new_file *file);
