/*
 * What of the host's home goes to a guest's at every start: the entries of [[file_sync]], and the
 * name and address that git puts on commits. Nothing of it is kept: contents travel from the file
 * to the guest, and neither log nor database sees them.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"
#include "daemon/private.h"

#define FILE_SYNC_BYTES_MAX   (1ULL << 30) /* of one entry; more is a workspace, not settings */
#define FILE_SYNC_ENTRIES_MAX 100000	   /* files and folders of one entry */

/*
 * Copies to the guest whose agent is behind `socket`. An entry is copied whole or not at all; one
 * that cannot be is a warning with its number, and the others go on. Fails only when cancelled.
 */
int file_sync_run(const struct job *job, const struct vm *vm, const char *socket,
		  struct strv *warnings, struct err *err) MUST_CHECK;

/* --- for tests --- */

/*
 * The file or folder that an entry names, opened beneath the home folder: no link leads out of it.
 * `home` is absolute, `path` as the configuration has it.
 */
int file_sync_open(const char *home, const char *path, int *ret_fd, struct err *err) MUST_CHECK;

/* "~/a//b/" or "/root/a/./b" as "a/b", below the guest's home; the caller's. */
char *file_sync_guest_path(const char *path) MUST_CHECK;

/*
 * The guest's ~/.gitconfig from what `git config -z --get-regexp` printed: of each key the last
 * value counts. Empty when there is neither; what has control characters or is too long is no
 * identity.
 */
void file_sync_git_identity(struct span output, struct buf *ret);
