/*
 * Whether a checkout is still what it was, for the price of looking at each file once: nothing is
 * read but the index and what the file system says of the files.
 */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "workspace/git.h"

#define FINGERPRINT_SIZE 17 /* sixteen hex digits and a terminator */

/*
 * Of all tracked files: the index's entry, and kind, permissions, size and time of the file.
 * Another text means that something has changed, or was touched.
 */
int fingerprint_checkout(const struct git *git, const struct cancel *cancel,
			 char ret[static FINGERPRINT_SIZE], struct err *err) MUST_CHECK;
