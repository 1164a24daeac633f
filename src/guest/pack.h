/*
 * Files of the host as a tar stream for a guest, made as it is read: at most one piece of it is in
 * memory. Permission bits are kept without setuid, setgid and sticky, so are times, holes, links
 * and hard links; owners are root's, extended attributes stay. What is no file, folder or link is
 * left out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "guest/copy.h"

#define PACK_DEPTH_MAX 128 /* folders inside one another; each holds a descriptor */

struct pack;

/* What a pack that is made by itself, without a user who looks on, does otherwise. */
struct pack_rules {
	uint32_t file_mode;	   /* the mode of a single file; PACK_MODE_KEPT: its own */
	uint64_t bytes_max;	   /* content of all files; ERR_LIMIT beyond; 0: no limit */
	uint64_t entries_max;	   /* 0: no limit */
	bool has_parents;	   /* the folders above `as` come along, with mode 0700 */
	bool leaves_out_far_links; /* links that lead out of what is packed are left out */

	/* Told of each link that is left out; the text is its path in the archive. May be NULL. */
	void (*left_out)(void *context, const char *path);
	void *context; /* borrowed */
};

#define PACK_MODE_KEPT UINT32_MAX

/*
 * Packs the file or folder `path`, which may be a link to one, and calls it `as` in the archive;
 * "." for what is in a folder without the folder's own name. `as` and `path` are borrowed by the
 * call.
 */
int pack_new(const char *path, const char *as, struct pack **ret, struct err *err) MUST_CHECK;

/* The same for what `fd` (given) is open for reading; `rules` are copied. */
int pack_new_fd(int fd, const char *as, const struct pack_rules *rules, struct pack **ret,
		struct err *err) MUST_CHECK;
void pack_free(struct pack *pack);
DEFINE_FREEP(pack, pack_free);

/* The source of guest_put(); `pack` is borrowed. */
struct guest_tar pack_tar(struct pack *pack);

/* How many were left out so far. */
uint64_t pack_left_out(const struct pack *pack);
