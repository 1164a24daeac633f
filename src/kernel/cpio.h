/*
 * An archive in the kernel's initramfs format ("newc" cpio), through libarchive, in memory. Owner
 * root, time 0, inode numbers counted up, so the same members give the same bytes.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct cpio;

/* Begins an archive that is appended to `out`, which must live until cpio_free(). */
int cpio_new(struct buf *out, struct cpio **ret, struct err *err) MUST_CHECK;
void cpio_free(struct cpio *cpio);
DEFINE_FREEP(cpio, cpio_free);

/* `path` has no leading slash; its folders come first. */
int cpio_add_dir(struct cpio *cpio, const char *path, mode_t mode, struct err *err) MUST_CHECK;
int cpio_add_file(struct cpio *cpio, const char *path, mode_t mode, struct span content,
		  struct err *err) MUST_CHECK;

/* Writes the trailer and zeros up to a multiple of 512 bytes. */
int cpio_finish(struct cpio *cpio, struct err *err) MUST_CHECK;
