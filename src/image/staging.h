/* Inside src/image: an image in the making, from its staging folder to its place (image.h). */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "ext4/ext4.h"
#include "image/folder.h"
#include "image/image.h"

struct staging {
	const char *images_dir; /* borrowed, as the next */
	const char *name;	/* the image's */
	int images_fd;		/* owned, as the next three */
	int dir_fd;
	int root_fd; /* the two files: empty, to be written */
	int seed_fd;
	char *path;   /* owned: of the staging folder */
	char *folder; /* owned: its name while it has to be removed */
};

#define STAGING_INIT \
	((struct staging){ .images_fd = -1, .dir_fd = -1, .root_fd = -1, .seed_fd = -1 })

/* Makes the folder and the files in it. */
int staging_begin(struct staging *staging, const char *images_dir, const char *name,
		  struct err *err) MUST_CHECK;

/* Removes what was not put into its place. For CLEANUP(). */
void staging_done(struct staging *staging);

/* SOURCE_DATE_EPOCH of our environment, into the options of a file system. */
int staging_read_epoch(struct ext4_options *options, struct err *err) MUST_CHECK;

/* Looks for an init in the root file system as somebody else made it (inspect.h). */
int staging_find_init(const struct staging *staging, const char *worker_program,
		      const struct cancel *cancel, bool *ret, struct err *err) MUST_CHECK;

/* What the files themselves tell: state, name, kind, sizes, init and time. */
int staging_describe(const struct staging *staging, const struct ext4_summary *summary,
		     struct image_record *image, struct err *err) MUST_CHECK;

/* Writes the record, syncs, and puts the folder into its place; what was there before is removed.
 */
int staging_publish(struct staging *staging, const struct image_record *image,
		    const struct ext4_summary *summary, const struct image_config *config,
		    struct err *err) MUST_CHECK;
