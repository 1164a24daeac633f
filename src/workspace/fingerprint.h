/*
 * Whether a checkout is still what it was, for the price of looking at each file once: nothing is
 * read but the index and what the file system says of the files. No link is followed.
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "workspace/git.h"

#define FINGERPRINT_SIZE 17 /* sixteen hex digits and a terminator */

struct fingerprint_wish {
	bool includes_untracked; /* also what is neither tracked nor ignored */
	bool is_full;		 /* also submodules, each with its HEAD */
	const char *from;	 /* also the commit that this is; NULL: none */
};

/*
 * Of all tracked files: the index's entry, and kind, permissions, size and time of the file, and
 * what is wished for besides. Another text means that something has changed, or was touched.
 */
int fingerprint_checkout(const struct git *git, const struct fingerprint_wish *wish,
			 const struct cancel *cancel, char ret[static FINGERPRINT_SIZE],
			 struct err *err) MUST_CHECK;
