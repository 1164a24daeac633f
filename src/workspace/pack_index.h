/*
 * The index of a pack, made on the host while the pack goes by: `git index-pack` in a guest would
 * have to inflate and hash every byte once more, which under emulation takes most of an import.
 *
 * The pack is what `git pack-objects` prints for a repository that may be somebody else's: whole
 * objects only (no deltas), each named here by its content, whatever the repository says that it
 * is called.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/git.h"

struct pack_index;

int pack_index_new(bool is_sha256, struct pack_index **ret, struct err *err) MUST_CHECK;
void pack_index_free(struct pack_index *index);

/* The next bytes of the pack, in pieces of any size; ERR_PROTOCOL. */
int pack_index_take(struct pack_index *index, struct span bytes, struct err *err) MUST_CHECK;

/* After all of it: the index (version 2) is appended, and the pack's checksum is its name. */
int pack_index_finish(struct pack_index *index, struct buf *ret,
		      char ret_name[static GIT_OID_HEX_MAX + 1], struct err *err) MUST_CHECK;
