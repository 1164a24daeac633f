/*
 * A guest's work as a patch or as a bundle of its commits. git runs in the guest, by a script that
 * leaves the repository as it was: what is not committed is gathered in an index and a folder of
 * objects of its own. What comes is judged here before anybody gets to see it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "workspace/patch.h"

struct export_job {
	int fd;		    /* borrowed stream to the agent, past CONNECT */
	const char *folder; /* in the guest, absolute */
	const char *base;   /* a commit; NULL: for a patch what the last prepare brought, for a
			       bundle the HEAD that it brought */
	bool is_bundle;	    /* else a patch */
	uint64_t bytes_max; /* of what comes */
	int out_fd;	    /* borrowed: an empty file */
	const struct cancel *cancel;
};

struct export_result {
	uint64_t bytes;
	bool has_uncommitted;	      /* a bundle has only commits, and there is more */
	uint64_t commits;	      /* references of a bundle */
	struct patch_summary summary; /* of a patch */
	uint64_t submodule_count;     /* that have work of their own, which is in neither */
	struct strv submodules;	      /* owned; escaped names of the first of them */
};

void export_result_done(struct export_result *result);
#define AUTO_EXPORT_RESULT CLEANUP(export_result_done) struct export_result

/*
 * Fills `out_fd` and judges what is in it; `ret` is zeroed by the caller. No bytes: nothing has
 * changed, or there is no commit. ERR_NOT_FOUND: no such folder, repository or commit, or no git;
 * ERR_PROTOCOL: not what git would have sent, or dangerous; ERR_LIMIT; ERR_CANCELLED.
 */
int export_run(const struct export_job *job, struct export_result *ret, struct err *err) MUST_CHECK;

/* Whether a text can name a commit, as git and the guest's shell are given it. Pure. */
bool export_base_is_fit(const char *text) MUST_CHECK;
