/*
 * Files of the host as a tar stream for a guest, made as it is read: at most one piece of it is in
 * memory. Permission bits are kept without setuid, setgid and sticky, so are times, holes, links
 * and hard links; owners are root's, extended attributes stay. What is no file, folder or link is
 * left out.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "guest/copy.h"

#define PACK_DEPTH_MAX 128 /* folders inside one another; each holds a descriptor */

struct pack;

/*
 * Packs the file or folder `path`, which may be a link to one, and calls it `as` in the archive;
 * "." for what is in a folder without the folder's own name. `as` and `path` are borrowed by the
 * call.
 */
int pack_new(const char *path, const char *as, struct pack **ret, struct err *err) MUST_CHECK;
void pack_free(struct pack *pack);
DEFINE_FREEP(pack, pack_free);

/* The source of guest_put(); `pack` is borrowed. */
struct guest_tar pack_tar(struct pack *pack);

/* How many were left out so far. */
uint64_t pack_left_out(const struct pack *pack);
