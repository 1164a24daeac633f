/*
 * OCI image layouts, "oci:FOLDER[:TAG]": oci-layout, index.json, blobs/ALGORITHM/HEX. The folder
 * may come from anybody: each of its files is opened name by name without following a link, must be
 * a regular file, and is verified before it is used. Blobs are used where they are, not copied.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "oci/manifest.h"

struct oci_layout;

/* ERR_NOT_FOUND without the folder, ERR_INVALID when it is no layout. */
int oci_layout_open(const char *path, struct oci_layout **ret, struct err *err) MUST_CHECK;

/* NULL is accepted. */
void oci_layout_free(struct oci_layout *layout);
DEFINE_FREEP(oci_layout, oci_layout_free);

/*
 * The entry of index.json for a tag; without a tag (NULL) the only image, where one for several
 * platforms may have an entry for each. *ret is borrowed. ERR_NOT_FOUND and ERR_INVALID name the
 * tags there are.
 */
int oci_layout_find(const struct oci_layout *layout, const char *tag,
		    const struct oci_platform *platform, const struct oci_index_entry **ret,
		    struct err *err) MUST_CHECK;

/* Appends a whole small blob, verified; ERR_LIMIT beyond `size_max`. */
int oci_layout_read(const struct oci_layout *layout, const struct oci_descriptor *blob,
		    uint64_t size_max, struct buf *ret, struct err *err) MUST_CHECK;

/*
 * A read-only descriptor of a blob at offset 0, after all of it was read and verified; the caller
 * closes it. Progress: stage "verify", bytes of this blob. From any thread.
 */
int oci_layout_open_blob(const struct oci_layout *layout, const struct oci_descriptor *blob,
			 const struct cancel *cancel, const struct progress *progress, int *ret_fd,
			 struct err *err) MUST_CHECK;
