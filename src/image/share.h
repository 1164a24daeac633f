/* One image under two names: the files of the second share the blocks of the first. */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "model/artifact.h"

/* All borrowed. */
struct image_share_request {
	const char *images_dir; /* absolute */
	const char *from;	/* a managed image, which must stay while this runs */
	const char *digest;	/* that it must have */
	const char *name;	/* of the new image */
	const char *source; /* for its record: where it would have been pulled from; may be NULL */
	const char *kernel; /* for its record; may be NULL */
};

/*
 * Makes the image as image_build() does: whole or not at all. ERR_UNSUPPORTED, and nothing is made,
 * where the file system cannot share blocks (FICLONE, ioctl_ficlone(2)), and for an image whose
 * size was asked for: then one that is made anew has another.
 */
int image_share(const struct image_share_request *request, struct image_record *ret,
		struct err *err) MUST_CHECK;
