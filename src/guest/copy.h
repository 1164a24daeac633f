/*
 * Files into and out of a guest as tar streams, over a stream socket past CONNECT.
 *
 * guest_put() sends a tar that the caller made; the guest extracts it. guest_get() extracts what
 * the guest sends, and trusts none of it: entries must be below the one name asked for, paths have
 * no "..", are relative and unique, symlinks stay inside what is extracted, hard links name a file
 * extracted before, and there is nothing but files, folders and links. Anything else fails the
 * whole, and nothing is left: extraction goes into a new folder ".new-…" beside the target, which
 * is renamed when all is there. Permission bits are kept without setuid, setgid and sticky, folders
 * keep rwx for the owner; owners, extended attributes and folder times are not taken over.
 */
#pragma once

#include <stdint.h>

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
};

struct guest_copied {
	uint64_t entries; /* as the extracting side counted */
	uint64_t bytes;	  /* content of files */
};

/*
 * Sends the tar that `tar_fd` yields until its end, to be extracted in the guest's folder `path`
 * (absolute, UTF-8; made when it does not exist). ERR_BAD_STATE with the agent's escaped reason
 * when it gives up.
 */
int guest_put(const struct guest_copy *copy, const char *path, int tar_fd, struct guest_copied *ret,
	      struct err *err) MUST_CHECK;

struct guest_get {
	const char *path;      /* in the guest: absolute, UTF-8, its last component a real name */
	int dest_fd;	       /* borrowed folder on the host */
	const char *dest_name; /* the one name written in it */
	uint64_t bytes_max;    /* content of all files together; 0: no limit */
};

/*
 * Fetches `path` as `dest_name`. A file that is there is replaced in one step; a folder there, or
 * one coming where a file is, is ERR_EXISTS. ERR_PROTOCOL names the entry that was refused.
 */
int guest_get(const struct guest_copy *copy, const struct guest_get *get, struct guest_copied *ret,
	      struct err *err) MUST_CHECK;
