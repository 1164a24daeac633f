/*
 * A checkout of the host into a guest: what it is, decided before a VM is made for it, and the way
 * there, again and again. Bytes go from this process to the agent; bangerd only hands the streams
 * out.
 *
 * The first time the repository is made under another name and renamed when it is complete. Later
 * only what differs from the last time is sent, and what the guest has changed itself is never
 * overwritten unless `force` says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "workspace/facts.h"
#include "workspace/fingerprint.h"
#include "workspace/git.h"
#include "workspace/guest_git.h"
#include "workspace/scan.h"

#define WORKSPACE_GUEST_PATH	"/root/repo"
#define WORKSPACE_CONFLICTS_MAX 20 /* that a message names */

/* How a checkout was asked for the last time, as the host has recorded it. */
struct workspace_last {
	const char *host; /* the working tree */
	const char *branch;
	const char *from; /* as it was named then: it is looked up again */
};

struct workspace_wish {
	const char *path;   /* on the host */
	const char *branch; /* NULL: the host's */
	const char *from;   /* NULL: HEAD */
	/* Where the wish has no branch, and this is of the same working tree: its branch and from
	 * are wished for again. May be NULL. */
	const struct workspace_last *last;
	bool is_full; /* history and submodules */
	bool includes_untracked;
};

struct workspace {
	struct workspace_wish wish; /* borrowed */
	struct git git;
	struct facts facts;
	struct scan scan;
	int root_fd;
	char fingerprint[FINGERPRINT_SIZE]; /* from before the look: later changes are told */
};

#define WORKSPACE_INIT ((struct workspace){ .root_fd = -1, .scan = SCAN_INIT })

/* Looks at the checkout; `cancel` and `progress` may be NULL. */
int workspace_open(const struct workspace_wish *wish, const struct cancel *cancel,
		   const struct progress *progress, struct workspace *ret, struct err *err)
	MUST_CHECK;
void workspace_done(struct workspace *workspace);
#define AUTO_WORKSPACE CLEANUP(workspace_done) struct workspace

struct workspace_result {
	bool is_first;
	bool is_current; /* there was nothing to do */
	uint64_t added;
	uint64_t changed;
	uint64_t removed;
	struct buf
		conflicts; /* owned: "path\0" of files that were in the way, or were overwritten */
};

void workspace_result_done(struct workspace_result *result);
#define AUTO_WORKSPACE_RESULT CLEANUP(workspace_result_done) struct workspace_result

struct workspace_ship {
	const char *guest_path; /* absolute */
	bool force;
};

/*
 * ERR_BAD_STATE when the guest's own work is in the way: ret->conflicts has the files, `err` the
 * cure. ERR_UNSUPPORTED when the guest has no git. `ret` is always set.
 */
int workspace_ship(struct workspace *workspace, const struct workspace_way *way,
		   const struct workspace_ship *wish, struct workspace_result *ret, struct err *err)
	MUST_CHECK;

/*
 * What workspace_ship() would do, as "A\0path\0M\0path\0D\0path\0"; `way` NULL: to a guest that has
 * nothing.
 */
int workspace_list(struct workspace *workspace, const struct workspace_way *way,
		   const struct workspace_ship *wish, struct buf *ret, struct err *err) MUST_CHECK;

/* What script_look said. */
enum guest_state { GUEST_ABSENT, GUEST_EMPTY, GUEST_FOREIGN, GUEST_OURS, GUEST_HALF };

struct guest_look {
	bool has_git;
	enum guest_state state;
	struct span head;     /* borrowed; empty: no commit */
	struct span branch;   /* without refs/heads/; empty: detached */
	struct span tree;     /* of the files as they were shipped */
	struct span manifest; /* its head and entries; of ours, also where the last prepare has not
				 ended */
};

/* Judges it; ERR_PROTOCOL. Pure. */
int workspace_read_look(struct span said, struct guest_look *ret, struct err *err) MUST_CHECK;
