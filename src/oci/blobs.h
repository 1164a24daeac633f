/*
 * The cache of blobs: files named by what is in them.
 *
 *     CACHE/blobs/sha256/HEX    whole, verified, on stable storage; never written again
 *     CACHE/partial/sha256-HEX  being fetched, or what a fetch that ended early left
 *
 * Theory of operation. Whoever wants a blob that is not there takes the key of its digest (within
 * this process) and the lock on its partial file (flock, against other processes), looks again, and
 * fetches; the others wait and then find it. What a killed fetch left is taken over: its bytes are
 * hashed again from the first, and the fetch goes on behind them. If the whole is then wrong, the
 * old bytes may be to blame (a crash can leave zeros), so it is fetched once more from the start;
 * if it is wrong and a mirror gave any of it, once more from the origin alone.
 * Only bytes that have the digest are synced and renamed to the final name. A blob that was stored
 * before is read and hashed again before it is given out, so that a disk that lost something costs
 * a fetch, not an image.
 *
 * Pruning needs no leases: the folder of blobs is renamed aside before it is deleted, who has a
 * blob has a descriptor of it, and partial files that somebody has locked are left alone.
 *
 * All functions may be called from any thread. Failpoints: oci.blob.partial (the file exists, empty
 * or from before), oci.blob.written (each piece), oci.blob.verified, oci.blob.synced,
 * oci.blob.renamed, oci.prune.renamed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "fetch/fetch.h"
#include "oci/manifest.h"

struct oci_blobs;

/* Makes the folders when they are missing. `cache_dir` is absolute. */
int oci_blobs_open(const char *cache_dir, struct oci_blobs **ret, struct err *err) MUST_CHECK;

/* No call may be under way. NULL is accepted. */
void oci_blobs_free(struct oci_blobs *blobs);
DEFINE_FREEP(oci_blobs, oci_blobs_free);

/* What a fetch is asked for. All borrowed. */
struct oci_fetch {
	const struct oci_descriptor *blob;
	uint64_t offset;	     /* where to begin */
	bool is_origin_only;	     /* no mirror is asked: what it gave was wrong */
	const char **mirror;	     /* set to the name of one that gave any of the bytes, which
					lives as long as the source */
	const struct cancel *cancel; /* may be NULL */
};

/*
 * Where a blob comes from, who may stop it and who wants to know. `fetch` gives all bytes from the
 * offset on to the sink, in order. What the sink refuses ends it, with the sink's result.
 */
struct oci_blob_source {
	int (*fetch)(void *context, const struct oci_fetch *fetch, const struct fetch_sink *sink,
		     struct err *err);
	void *context;
	const char *origin;		 /* its name for messages, beside a mirror's; else NULL */
	const struct cancel *cancel;	 /* may be NULL */
	const struct progress *progress; /* may be NULL */
};

/*
 * Gives a read-only descriptor of the whole verified blob at offset 0; the caller closes it.
 * Fetches it from `source` when it is not there. Progress: stage "download", bytes of this blob,
 * also of what was there before; they begin anew when it does. ERR_PROTOCOL: what came has not that
 * size or digest, from the origin neither; nothing is kept then. Other failures of the fetch are
 * passed on, and what came is kept for the next try.
 */
int oci_blobs_get(struct oci_blobs *blobs, const struct oci_descriptor *blob,
		  const struct oci_blob_source *source, int *ret_fd, struct err *err) MUST_CHECK;

struct oci_blobs_usage {
	uint64_t files;
	uint64_t bytes; /* allocated */
};

/*
 * Deletes all blobs, and all partial files that nobody is fetching; says what that freed, or would
 * free. Fetches under way go on and end well.
 */
int oci_blobs_prune(struct oci_blobs *blobs, bool dry_run, struct oci_blobs_usage *ret,
		    struct err *err) MUST_CHECK;
