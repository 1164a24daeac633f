/*
 * A file of the user's that banger may edit: read, and replaced in one step. Its mode and owner
 * stay, and a link to it stays a link. Whoever edits it at the same time is not overwritten.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

#define USER_FILE_BYTES_MAX (4UL << 20)

struct user_file {
	int dir_fd;  /* owned: the folder that it really is in, locked against other bangers */
	char *name;  /* owned: its name there */
	char *path;  /* owned: both, for messages */
	bool exists; /* with what follows: */
	struct stat status; /* as it was read */
	struct buf text;    /* owned */
};

#define USER_FILE_INIT ((struct user_file){ .dir_fd = -1, .text = BUF_INIT })

/*
 * Follows links to where `path` really is, and reads it. One that does not exist is empty; its
 * folder must exist, unless `makes_folder`, with which the last part of that is made (0700).
 */
int user_file_open(const char *path, bool makes_folder, struct user_file *ret, struct err *err)
	MUST_CHECK;
void user_file_done(struct user_file *file);

/* ERR_BUSY when somebody has changed it meanwhile. */
int user_file_replace(struct user_file *file, const struct buf *text, struct err *err) MUST_CHECK;
int user_file_remove(struct user_file *file, struct err *err) MUST_CHECK;
