/* What the making of images shares: pulled, built, registered, promoted. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/keylock.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "model/artifact.h"

/* An image in the making, under its lock; strings are borrowed. */
struct image_making {
	struct daemon *daemon;
	const char *name;
	const char *kernel; /* one that is made along with it, and goes with it; NULL: none */
	struct keyhold kernel_hold; /* that kernel's; nothing when it is not held */
	bool is_begun;		    /* its intent may have been stored */
};

#define IMAGE_MAKING(daemon_, name_)                         \
	((struct image_making){ .daemon = (daemon_),         \
				.name = (name_),             \
				.kernel = NULL,              \
				.kernel_hold = KEYHOLD_INIT, \
				.is_begun = false })

/*
 * The record says PULLING before the first file is made, and which kernel comes with it. ERR_BUSY
 * while a VM uses the image, whose overlays lie over the old file. `context` is the making.
 */
int image_making_begin(void *context, struct err *err) MUST_CHECK;

/*
 * The other end: stores what was made or, when that failed (`made` < 0), undoes what there is of
 * it. `ret` is released then.
 */
int image_making_finish(struct image_making *making, int made, struct image_record *ret,
			struct err *err) MUST_CHECK;

/*
 * After something that did not end well: what is in the image's place, an older one perhaps, is
 * whole, and the record says what there is.
 */
int image_making_settle(struct image_making *making, struct err *err) MUST_CHECK;

/* 1 when there is a record that is ready and has its files, 0 when there is none (worth the name).
 */
int artifact_load_image(struct daemon *daemon, const char *name, struct image_record *ret,
			struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND, with the hint of artifact_hint_images(). */
int artifact_no_image(struct daemon *daemon, const char *name, struct err *err);
