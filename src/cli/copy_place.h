/*
 * What `vm cp` is given: a path of the host, "VM:PATH" in a guest, or "-" for a tar on standard
 * input or output. A colon names a VM unless a slash stands before it, so "./a:b" is a file of the
 * host. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct copy_place {
	char *vm;   /* owned; NULL: on the host */
	char *path; /* owned; of a guest absolute, without "//", "." or a slash at the end but for
		     * "/" itself; of the host as it was given */
	bool is_stream;	 /* "-" */
	bool is_folder;	 /* a slash stood at its end: it must be a folder */
	bool is_content; /* "." or "/." stood at its end: what is in it, not itself */
};

/* ERR_INVALID. `ret` is uninitialised, ended with copy_place_done(). */
int copy_place_read(const char *text, struct copy_place *ret, struct err *err) MUST_CHECK;
void copy_place_done(struct copy_place *place);
#define AUTO_COPY_PLACE CLEANUP(copy_place_done) struct copy_place

/* The last component of a path, "" for one without; owned by the caller. */
char *copy_place_leaf(const char *path) MUST_CHECK;

/* What is above the last component: "/" or "." where there is nothing else; owned by the caller. */
char *copy_place_above(const char *path) MUST_CHECK;
