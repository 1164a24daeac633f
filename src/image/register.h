/*
 * Images whose files are the user's: recorded, used where they are, never written. images/NAME has
 *
 *     image.json         the record, kind "registered"
 *     registered.json    path, size, time of change and inode number of each file
 *     work-seed.ext4     an empty one, when no seed was given
 *
 * A file is the one that was recorded as long as all of these are equal, and that is checked
 * whenever a path is asked for: a VM's disk is a layer over the file, so another file under it
 * would be damage. Of a file, one kilobyte is read: its superblock (superblock.h). It may have been
 * written by a guest, so only a confined worker looks for an init in it (inspect.h), and nothing
 * mounts it.
 */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "model/artifact.h"

#define IMAGE_KIND_REGISTERED  "registered"
#define IMAGE_KIND_MANAGED     "managed"
#define IMAGE_REGISTERED_FILE  "registered.json"
#define IMAGE_REGISTERED_PATHS 4095 /* bytes of a path */

/* Paths are absolute. */
struct image_register_request {
	const char *images_dir;
	const char *name;
	const char
		*rootfs; /* a regular file with an ext2, ext3 or ext4 file system, nothing else */
	const char *work_seed; /* the same; NULL: an empty one is made */
	const char *kernel; /* default kernel by name; NULL: none, the daemon's default is used */
	const char *worker_program; /* answers to "--worker inspect"; NULL: the running program */
};

/*
 * ERR_EXISTS when there is an image with that name (whether it may go is the caller's business:
 * call image_remove() first). ERR_INVALID says what a file is instead of a file system, or why it
 * cannot be used.
 */
int image_register(const struct image_register_request *request, const struct cancel *cancel,
		   struct image_record *ret, struct err *err) MUST_CHECK;

/* Strings are borrowed; the folder is absolute. */
struct image_promote_request {
	const char *images_dir;
	const char *name;
	const char *worker_program; /* as for registering */
	/* Is called with what the image is about to become, at most once and last of all that can
	 * be refused: when it fails, so does the promotion. NULL: nobody wants to know. */
	int (*begin)(void *context, const struct image_record *image, struct err *err);
	void *context;
};

/*
 * Copies a registered image's files in, sharing their content where the file system can, and makes
 * it "managed". The user's files are not needed any more, and not touched. ERR_BAD_STATE when it is
 * managed already. After a failure it is what it was.
 */
int image_promote(const struct image_promote_request *request, const struct cancel *cancel,
		  const struct progress *progress, struct image_record *ret, struct err *err)
	MUST_CHECK;

struct image_paths {
	char *root; /* owned, absolute, as the next */
	char *seed;
};

void image_paths_done(struct image_paths *paths);
#define AUTO_IMAGE_PATHS CLEANUP(image_paths_done) struct image_paths

/*
 * Where the files of an image are, managed or registered. ERR_BAD_STATE, with a hint, when a
 * registered file is gone or is not the one that was recorded. For each place that opens them.
 */
int image_locate(const char *images_dir, const char *name, struct image_paths *ret, struct err *err)
	MUST_CHECK;
