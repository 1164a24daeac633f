/*
 * Files into and out of a guest as tar streams, over a stream socket past CONNECT.
 *
 * guest_put() sends a tar that the caller made; the guest extracts it. guest_get() extracts what
 * the guest sends, and trusts none of it: entries must be below the one name asked for, paths have
 * no "..", are relative and unique, symlinks stay inside what is extracted, hard links name a file
 * extracted before, and there is nothing but files, folders and links. Anything else fails the
 * whole (but for links that lead out, if the caller would rather do without them), and nothing is
 * left: extraction goes into a new folder ".new-…" beside the target, which
 * is renamed when all is there. Permission bits are kept without setuid, setgid and sticky, folders
 * keep rwx for the owner; owners, extended attributes and folder times are not taken over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

#define GUEST_GET_ENTRIES_MAX 4000000
#define GUEST_GET_DEPTH_MAX   128  /* folders inside one another */
#define GUEST_PATH_MAX	      4095 /* bytes of a path in the stream */
#define GUEST_IDLE_MS                                                              \
	60000 /* a guest that neither takes nor sends a byte that long is given up \
	       */

struct guest_copy {
	int fd;			     /* borrowed stream socket past CONNECT */
	const struct cancel *cancel; /* may be NULL */
	uint64_t deadline_ns;	     /* for the whole; UINT64_MAX for none */

	/* Told as bytes of the stream have moved; NULL: nobody asks. */
	void (*moved)(void *context, uint64_t bytes);
	void *context; /* borrowed */
};

struct guest_copied {
	uint64_t entries; /* as the extracting side counted */
	uint64_t bytes;	  /* content of files */
};

/* Where a tar comes from: a descriptor, or a function that never waits long. */
struct guest_tar {
	int fd; /* borrowed; -1: `read` is asked */
	/* At most `size` bytes; 0 at the end, < 0 with `err`. */
	ssize_t (*read)(void *context, void *into, size_t size, struct err *err);
	void *context; /* borrowed */
};

/*
 * Sends the tar until its end, to be extracted in the guest's folder `path` (absolute, UTF-8; made
 * when it does not exist). ERR_BAD_STATE with the agent's escaped reason when it gives up.
 */
int guest_put(const struct guest_copy *copy, const char *path, const struct guest_tar *tar,
	      struct guest_copied *ret, struct err *err) MUST_CHECK;

/*
 * The same, but the guest has all of it or is as it was: whatever fails, nothing has changed.
 * Folders that are there are merged and keep their modes; `path` may be no link, and must be there
 * or have its parent there.
 */
int guest_put_staged(const struct guest_copy *copy, const char *path, const struct guest_tar *tar,
		     struct guest_copied *ret, struct err *err) MUST_CHECK;

struct guest_get {
	const char *path;      /* in the guest: absolute, UTF-8, its last component a real name */
	int dest_fd;	       /* borrowed folder on the host */
	const char *dest_name; /* the one name written in it */
	uint64_t bytes_max;    /* content of all files together; 0: no limit */
	bool follows;	       /* `path` may be a link, and what it leads to is meant */

	/* Told of each link that leads out and is left out; NULL: such a link fails the whole. The
	 * texts are the guest's, as they came. */
	void (*left_out)(void *context, const char *path, const char *target);
	void *context; /* borrowed */
};

/*
 * Fetches `path` as `dest_name`. A file that is there is replaced in one step; a folder there, or
 * one coming where a file is, is ERR_EXISTS. ERR_PROTOCOL names the entry that was refused.
 */
int guest_get(const struct guest_copy *copy, const struct guest_get *get, struct guest_copied *ret,
	      struct err *err) MUST_CHECK;

/*
 * Writes the tar of `path` to `out_fd` as the guest sends it: nothing is looked into, it is the
 * caller's to distrust. -EPIPE when nobody reads it.
 */
int guest_get_tar(const struct guest_copy *copy, const char *path, int out_fd,
		  struct guest_copied *ret, struct err *err) MUST_CHECK;

enum guest_file { GUEST_NOTHING, GUEST_FILE, GUEST_FOLDER, GUEST_OTHER };

/* What is at `path` (absolute, UTF-8), links followed, and a file's size; a link that leads to
 * nothing is GUEST_OTHER. */
int guest_look(const struct guest_copy *copy, const char *path, enum guest_file *ret,
	       uint64_t *ret_size, struct err *err) MUST_CHECK;
