/*
 * What a checkout is made of: for each path what the index has and what the working tree has, each
 * a mode and the name of the object that these very bytes are (working files are hashed as they
 * are, whatever filters say). The text form is also what is kept in the guest, and comes back from
 * there as somebody else's bytes:
 *
 *     banger-workspace 1\0 host=/home/me/repo\0 head=OID\0 branch=main\0 named=no\0
 * mode=shallow_overlay\0 \0 100644 OID 100755 OID s\tpath\0       index, working tree, flags 100644
 * OID =\tpath\0                  the same in both 0 - 100644 OID\tpath\0                not in the
 * index
 *
 * Paths ascend byte by byte. A million files are 110 MB, so nothing is unpacked: cursors walk the
 * text.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define MODE_FILE      0100644U
#define MODE_EXECUTE   0100755U
#define MODE_LINK      0120000U
#define MODE_SUBMODULE 0160000U

#define MANIFEST_BYTES_MAX (256UL << 20)

/* What one of the two has of a path; mode 0: nothing. */
struct manifest_side {
	uint32_t mode;
	struct span oid; /* borrowed */
};

struct manifest_entry {
	struct span path; /* borrowed, not empty, without NUL */
	struct manifest_side index;
	struct manifest_side work;
	bool is_staged;	 /* the index differs from the commit */
	bool is_skipped; /* left out of the working tree on purpose: a sparse checkout */
};

/* What a guest was given last. */
struct manifest_head {
	char *host;   /* owned, as all: the working tree on the host */
	char *head;   /* the commit, "" before the first */
	char *branch; /* "" when detached */
	char *mode;
	bool is_named; /* the branch was asked for by name, as "named=yes" */
	bool has_from; /* and begins elsewhere than the host's HEAD: "named=from" */
};

void manifest_head_done(struct manifest_head *head);

void manifest_add_head(struct buf *out, const struct manifest_head *head);
void manifest_add(struct buf *out, const struct manifest_entry *entry);

/* Takes the head from the front of `text`. ERR_PROTOCOL. `ret` is zeroed before. */
int manifest_read_head(struct span *text, struct manifest_head *ret, struct err *err) MUST_CHECK;

/* A walk over the entries behind the head. */
struct manifest_cursor {
	struct span rest; /* borrowed */
	struct manifest_entry entry;
	bool has_entry;
};

/* To the next entry: has_entry is false behind the last one. ERR_PROTOCOL. */
int manifest_next(struct manifest_cursor *cursor, struct err *err) MUST_CHECK;

/*
 * Calls `visit` with each path of either text (both without heads) whose sides or flags are not the
 * same, in order; NULL stands for one that has none.
 */
int manifest_compare(struct span before, struct span now,
		     int (*visit)(void *context, const struct manifest_entry *before,
				  const struct manifest_entry *now, struct err *err),
		     void *context, struct err *err) MUST_CHECK;

static inline bool manifest_side_eq(const struct manifest_side *a, const struct manifest_side *b)
{
	return a->mode == b->mode && span_eq(a->oid, b->oid);
}

/* As memcmp(), a shorter one first: git's order of paths in an index. */
int manifest_compare_paths(struct span a, struct span b);
