/*
 * Files of a working tree that somebody else may have made: opened from the tree's descriptor, step
 * by step beneath it, and no link is followed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "workspace/git.h"

enum worktree_kind {
	WORKTREE_NOTHING, /* not there, or behind a link or a file */
	WORKTREE_FILE,
	WORKTREE_LINK,
	WORKTREE_FOLDER,
	WORKTREE_OTHER, /* FIFO, socket, device */
};

struct worktree_file {
	enum worktree_kind kind;
	int fd;			       /* owned: WORKTREE_FILE, opened for reading; else -1 */
	uint64_t size;		       /* of a file or link */
	bool is_executable;	       /* by its owner, as git counts it */
	char *target;		       /* owned: WORKTREE_LINK */
	char oid[GIT_OID_HEX_MAX + 1]; /* by worktree_hash(), of a file or link */
};

void worktree_file_done(struct worktree_file *file);
#define AUTO_WORKTREE_FILE CLEANUP(worktree_file_done) struct worktree_file

/*
 * A descriptor of `path` below root_fd with open(2)'s flags, or -errno: what is behind a link or
 * outside is never opened.
 */
int worktree_open_beneath(int root_fd, const char *path, uint64_t flags) MUST_CHECK;

/* `ret` is uninitialised. Fails for what cannot be looked at or read. */
int worktree_open(int root_fd, const char *path, struct worktree_file *ret, struct err *err)
	MUST_CHECK;

/*
 * Opens it and sets ret->oid to what git would call its bytes. A file that changes while it is read
 * is read once more; when it changes again that is ERR_BUSY.
 */
int worktree_hash(int root_fd, const char *path, bool is_sha256, const struct cancel *cancel,
		  struct worktree_file *ret, struct err *err) MUST_CHECK;
