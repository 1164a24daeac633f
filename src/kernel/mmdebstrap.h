/*
 * mmdebstrap as a source of a tar stream: packages from Debian's mirror, fetched and verified by
 * apt without touching the host's own apt state. The tar comes over a pipe; nothing of it is
 * unpacked here.
 *
 * The program runs in a process group of its own. Freeing a run that has not ended stops the whole
 * group and removes its working folder, so cancelling leaves nothing. What a killed daemon leaves
 * is ended and removed by mmdebstrap_sweep(), which recognises it by (pid, start time, boot id).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

/*
 * The environment variable with the package source to use. Without it, those of the host's apt that
 * are Debian's (apt_sources.h); without such, Debian's default mirrors.
 */
#define MMDEBSTRAP_MIRROR_VARIABLE "BANGER_DEBIAN_MIRROR"

/* The last bytes of its messages that an error quotes. */
#define MMDEBSTRAP_TAIL_SIZE 4096

struct mmdebstrap_request {
	const char *suite;	     /* "bookworm" */
	const char *variant;	     /* "extract", "minbase", ... */
	const char *const *packages; /* for --include; may be NULL when package_count is 0 */
	size_t package_count;
	const char *const *options; /* further options, such as "--aptopt=..." */
	size_t option_count;
	/*
	 * Whether owners in the tar must be right: then it runs in mode "root" or, for a plain
	 * user, "unshare" (which needs a range of subordinate ids and works below /var/tmp, because
	 * those ids must reach the folder). Otherwise in mode "chrootless", which needs neither and
	 * is for variant "extract" only.
	 */
	bool owners_matter;
	int work_dir_fd;	   /* borrowed: an existing empty folder for temporary files ... */
	const char *work_dir_path; /* ... and its absolute path */
	const char *stage;	   /* the word for progress reports: "kernel", "image" */
	uint64_t timeout_ms;	   /* for the whole run; 0 is an hour */
};

struct mmdebstrap;

/* Starts it. The request is not used after the call, but for `stage`, which is borrowed until the
 * free. */
int mmdebstrap_start(const struct mmdebstrap_request *request, struct mmdebstrap **ret,
		     struct err *err) MUST_CHECK;

/*
 * Reads the tar: blocks until there are bytes, and reports each step that the program announces.
 * Returns the bytes read; 0 at the end, and only when the program ended well: a truncated tar is an
 * error that quotes the program's last messages. After an error or the end only mmdebstrap_free()
 * may follow.
 */
ssize_t mmdebstrap_read(struct mmdebstrap *run, void *into, size_t size,
			const struct cancel *cancel, const struct progress *progress,
			struct err *err) MUST_CHECK;

/*
 * Reads to the end and throws it away: for callers that have seen the end of the archive, so that
 * the program's exit status still counts. 0 when it ended well.
 */
int mmdebstrap_drain(struct mmdebstrap *run, const struct cancel *cancel,
		     const struct progress *progress, struct err *err) MUST_CHECK;

/* Stops the group when it still runs, reaps, and removes what is in the working folder. NULL is
 * accepted. */
void mmdebstrap_free(struct mmdebstrap *run);
DEFINE_FREEP(mmdebstrap, mmdebstrap_free);

/*
 * Ends what a killed daemon left: the run whose identity is in the working folder `work_dir_fd`.
 * The caller removes the folder afterwards. 0 when there is none.
 */
int mmdebstrap_sweep(int work_dir_fd) MUST_CHECK;
