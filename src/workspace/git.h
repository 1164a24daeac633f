/*
 * git on the host, for repositories that somebody else may have made. A repository's own files can
 * name programs (hooks, fsmonitor, filters, ssh commands, pagers, helpers); none of them ever runs
 * here:
 *
 * - the settings that name programs are overridden for every call, those of the filters that the
 *   configuration has by their names;
 * - neither the system's nor the user's configuration is read, unless a call says so;
 * - nothing is fetched (a partial clone's missing objects are an error), nothing is asked, no lock
 *   is taken and no index is refreshed on the side, replace references are not followed;
 * - only plumbing is called, never through a shell, with paths as they are (no pathspec magic);
 * - what git prints is bounded, and so is its time.
 *
 * Which folder is the working tree is decided here and not by the repository: core.worktree could
 * name the user's home.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/spawn.h"
#include "base/strv.h"

#define GIT_OUTPUT_MAX	(256UL << 20) /* the list of two million files */
#define GIT_OID_HEX_MAX 64	      /* SHA-256; SHA-1 has 40 */
#define GIT_OID_RAW_MAX (GIT_OID_HEX_MAX / 2)
#define GIT_FILTERS_MAX 256    /* in a configuration */
#define GIT_TIMEOUT_MS	600000 /* one call; a million files on a slow disk take minutes */

/* A working tree and its repository. */
struct git {
	char *root; /* owned: the working tree; absolute, without links */
	char *dir;  /* owned: the repository, as the next; the same but in a linked working tree */
	char *common;
	bool is_sha256;	     /* what its objects are named by */
	struct strv filters; /* owned: names of the filters that its configuration has */
};

#define GIT_INIT ((struct git){ .root = NULL })

/*
 * Finds the repository whose working tree has `path` in it, as git does: the nearest folder above
 * that has a ".git". ERR_NOT_FOUND where there is none; ERR_INVALID for a bare one, for a ".git"
 * that leads to a repository which does not say that this is its working tree, and for one of
 * another owner that the user's safe.directory does not list.
 */
int git_open(const char *path, const struct cancel *cancel, struct git *ret, struct err *err)
	MUST_CHECK;
void git_done(struct git *git);
#define AUTO_GIT CLEANUP(git_done) struct git

struct git_call {
	const char *const *args; /* from the command's name on; NULL-terminated */
	struct span input;	 /* its standard input; borrowed */
	size_t output_max;	 /* 0: GIT_OUTPUT_MAX */
	unsigned int timeout_ms; /* 0: GIT_TIMEOUT_MS */
	const struct cancel *cancel;
	bool reads_user_config; /* the user's own and the system's: for identity and ignored files
				 */
	bool may_say_no;	/* status 1, which is git's word for it, is an empty answer */
};

/* Appends what the git of this host says that it is. ERR_UNSUPPORTED: there is none. */
int git_version(const struct cancel *cancel, struct buf *ret, struct err *err) MUST_CHECK;

/* Runs it and appends what it printed (NULL: dropped). A failure quotes what git said, escaped. */
int git_run(const struct git *git, const struct git_call *call, struct buf *ret, struct err *err)
	MUST_CHECK;

/* The same for an answer of one line, without its newline; NULL when it is empty. */
int git_line(const struct git *git, const struct git_call *call, char **ret, struct err *err)
	MUST_CHECK;

/* A git that prints more than fits into memory. */
struct git_stream {
	struct process process; /* owned */
	int out_fd;		/* owned: what it prints */
	int errors_fd;		/* owned: an unlinked file with its last words */
};

#define GIT_STREAM_INIT \
	((struct git_stream){ .process = PROCESS_INIT, .out_fd = -1, .errors_fd = -1 })

/* `output_max` and `may_say_no` do not count here. */
int git_start(const struct git *git, const struct git_call *call, struct git_stream *ret,
	      struct err *err) MUST_CHECK;

/* After its output has ended: 0, or what it failed of. EPIPE: nobody has read all of it. */
int git_end(struct git_stream *stream, const struct cancel *cancel, struct err *err) MUST_CHECK;

/* Kills it if it still runs. */
void git_stream_done(struct git_stream *stream);
#define AUTO_GIT_STREAM CLEANUP(git_stream_done) struct git_stream

/* Whether the text is the name of an object: 40 or 64 lower-case hex digits. */
bool git_is_oid(struct span text) MUST_CHECK;
