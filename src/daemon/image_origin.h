/*
 * Where an image is to come from: an entry of the catalog (a recipe, an OCI reference or a bundle),
 * or an OCI reference as the user typed it; and making it from there.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "image/catalog.h"
#include "model/artifact.h"
#include "oci/reference.h"

/* Ended by image_origin_done(). */
struct image_origin {
	char *name;	    /* owned: the image's */
	char *source;	    /* owned: what the record says it is from; NULL for a recipe */
	const char *kernel; /* borrowed: its default kernel */
	struct image_catalog catalog;
	const struct image_source *entry; /* in `catalog`; NULL: `reference` alone */
	struct oci_reference reference;	  /* when it is from a registry, a layout or an archive */
};

void image_origin_done(struct image_origin *origin);
#define AUTO_IMAGE_ORIGIN CLEANUP(image_origin_done) struct image_origin
#define IMAGE_ORIGIN_INIT ((struct image_origin){ .name = NULL })

/*
 * Finds out what `text` means. `name` is what the image shall be called, NULL for what follows from
 * the text. `ret` is initialised by the caller. ERR_NOT_FOUND: neither in the catalog nor a
 * reference, with a hint; ERR_INVALID: a reference that is malformed, whose path is relative, or
 * from which no name follows.
 */
int image_origin_find(const struct daemon *daemon, const char *text, const char *name,
		      struct image_origin *ret, struct err *err) MUST_CHECK;

/* The name of the image that `text` means when the user gives none. The caller frees it. */
int image_origin_name(const char *text, char **ret, struct err *err) MUST_CHECK;

/* What is to be made of it, and what is there. All borrowed. */
struct image_make_request {
	const struct image_origin *origin;
	uint64_t size_bytes;		    /* 0: from the content */
	const struct image_record *present; /* a whole image with that name; NULL: none */
	/* Is called before anything that replaces what is there, at most once. */
	int (*begin)(void *context, struct err *err);
	void *context;
};

/*
 * Makes the image. When an OCI image with the same digest is present and no size was asked for,
 * nothing is made: then `begin` has not been called, and `ret` is left alone with *ret_is_made
 * false.
 */
int image_origin_make(struct daemon *daemon, const struct image_make_request *request,
		      const struct job *job, bool *ret_is_made, struct image_record *ret,
		      struct err *err) MUST_CHECK;
