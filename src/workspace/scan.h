/*
 * What a checkout has now, as a manifest: the index and the files, each hashed. Reads everything
 * and writes nothing; git itself never looks at a file's content here, so no filter could run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/strv.h"
#include "workspace/facts.h"
#include "workspace/git.h"

#define SCAN_UNTRACKED_BYTES_MAX \
	(4ULL << 30) /* what was asked for by mistake is often a disk image */

struct scan_job {
	const struct git *git;
	const struct facts *facts;
	int root_fd; /* borrowed: git->root, opened */
	bool includes_untracked;
	const struct cancel *cancel;	 /* may be NULL */
	const struct progress *progress; /* may be NULL */
};

struct scan {
	struct buf manifest; /* owned: entries without a head */
	uint64_t files;	     /* in the working tree, as shipped */
	uint64_t bytes;	     /* of them */
	uint64_t untracked;  /* of them, not in the index */
	uint64_t left_out;   /* untracked files that were not asked for */
	uint64_t special;    /* neither file, link nor folder, or a name that git does not allow */
	struct strv submodules;	   /* owned: paths of those that have a working tree */
	uint64_t empty_submodules; /* that have a folder only: not initialised here */
};

#define SCAN_INIT ((struct scan){ .manifest = BUF_INIT })

int scan_tree(const struct scan_job *job, struct scan *ret, struct err *err) MUST_CHECK;
void scan_done(struct scan *scan);
#define AUTO_SCAN CLEANUP(scan_done) struct scan

/* One record of `git ls-files -z -t --stage`, without its NUL. Pure. */
struct index_record {
	char tag;
	uint32_t mode;
	struct span oid; /* borrowed, as the next */
	unsigned int stage;
	struct span path;
};

bool scan_read_index_record(struct span record, struct index_record *ret) MUST_CHECK;

/* One pair of records of `git diff-index -z --raw` or `diff-tree -r -z --raw`. Pure. */
struct raw_record {
	uint32_t modes[2]; /* before, after */
	struct span oids[2];
	struct span path;
};

bool scan_read_raw_record(struct span *text, struct raw_record *ret) MUST_CHECK;

/* Whether a path has a component that git itself never takes, such as ".git" in any case. Pure. */
bool scan_path_is_forbidden(struct span path) MUST_CHECK;
