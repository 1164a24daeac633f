/*
 * What git packs on the host, as it is sent: read from git, looked at on its way, and then the
 * index that belongs to it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/git.h"
#include "workspace/pack_index.h"

struct packing_wish {
	struct span revisions; /* for `git pack-objects --revs` */
	bool has_deltas;       /* smaller, and indexed by the guest: for a history */
	const struct cancel *cancel;
};

struct packing {
	struct git_stream stream;
	struct pack_index *index; /* owned; NULL: the guest makes it */
	const struct cancel *cancel;
};

#define PACKING_INIT ((struct packing){ .stream = GIT_STREAM_INIT })

int packing_start(const struct git *git, const struct packing_wish *wish, struct packing *ret,
		  struct err *err) MUST_CHECK;

/* The next bytes of the pack; 0 at the end. For guest_exec_io.read. */
ssize_t packing_read(void *context, void *into, size_t size, struct err *err);

/*
 * After the end: what git failed of, or the index and the pack's name (both untouched where the
 * guest makes it). EPIPE: not all of it was read.
 */
int packing_end(struct packing *packing, struct buf *ret_index,
		char ret_name[static GIT_OID_HEX_MAX + 1], struct err *err) MUST_CHECK;

void packing_done(struct packing *packing);
#define AUTO_PACKING CLEANUP(packing_done) struct packing
