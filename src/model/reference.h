/* What a user types to mean a VM: its name, its id, or a unique prefix of either. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

struct reference_target {
	const char *id;	  /* borrowed */
	const char *name; /* borrowed */
};

/*
 * Finds the target that `reference` means: an exact name or id first, then a prefix of names and
 * ids. ERR_INVALID when it is empty or could mean several (some are listed), ERR_NOT_FOUND when
 * none, with the nearest name as hint.
 */
int reference_resolve(const char *reference, const struct reference_target *targets, size_t count,
		      size_t *ret_index, struct err *err) MUST_CHECK;
