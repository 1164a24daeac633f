/* Files with known content. */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "oci/manifest.h"

/*
 * Reads the file from offset 0 to its end: 0 when it has the blob's size and digest, ERR_PROTOCOL
 * when not. The offset is 0 again afterwards. Progress: `stage`, bytes of this blob.
 */
int oci_verify_file(int fd, const struct oci_descriptor *blob, const char *stage,
		    const struct cancel *cancel, const struct progress *progress, struct err *err)
	MUST_CHECK;
