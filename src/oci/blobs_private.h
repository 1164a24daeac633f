/* What blobs.c and blobs_prune.c share. */
#pragma once

#include "base/keylock.h"
#include "oci/blobs.h"

#define BLOBS_FOLDER	"blobs"
#define PARTIAL_FOLDER	"partial"
#define BLOBS_OLD_BEGIN ".old-blobs-" /* what a prune renamed aside */

struct oci_blobs {
	char *dir;	       /* owned; absolute */
	struct keylock *locks; /* owned; keys are digests */
};
