/*
 * A VM's disks: copy-on-write layers over an image's file, by the best way that the file system and
 * the engine allow: reflink  FICLONE: a raw file that shares its blocks with the image; any engine
 *   qcow2    an empty qcow2 file over the image; only QEMU, and banger names the chain (the file
 * carries no backing name, so nothing a guest writes can make QEMU open another file) copy     a
 * sparse copy, raw; any engine Which it is is stated and stored, never probed from content. The
 * host never changes what is inside: a disk that is larger than its image is grown by the guest.
 * Sizes never shrink.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

enum disk_kind { DISK_REFLINK, DISK_QCOW2, DISK_COPY, DISK_KIND_COUNT };

/* What will open the disk. */
enum disk_engine { DISK_ENGINE_QEMU, DISK_ENGINE_FIRECRACKER };

/* Stable words: "reflink", "qcow2", "copy". */
const char *disk_kind_name(enum disk_kind kind);

/* Whether the engine gets the file as raw (everything but qcow2). */
bool disk_kind_is_raw(enum disk_kind kind);

/* "qcow2" or "raw": the ending of the file's name (system.raw, work.qcow2). */
const char *disk_kind_suffix(enum disk_kind kind);

/* One disk as it was made. Strings are owned. */
struct disk_overlay {
	enum disk_kind kind;
	char *path; /* absolute */
	char *base; /* absolute: what a qcow2 lies over; only where it came from for the raw kinds
		     */
	uint64_t size_bytes; /* what the guest sees */
};

void disk_overlay_done(struct disk_overlay *overlay);
#define AUTO_DISK_OVERLAY CLEANUP(disk_overlay_done) struct disk_overlay

/*
 * Chooses the way for disks in `folder` (absolute) over images in `image_folder`, trying a real
 * FICLONE with files of no name. `ret_reason` (at least DISK_REASON_SIZE) says in one line why, for
 * doctor.
 */
#define DISK_REASON_SIZE 256
int disk_choose(const char *folder, const char *image_folder, enum disk_engine engine,
		enum disk_kind *ret, char ret_reason[static DISK_REASON_SIZE], struct err *err)
	MUST_CHECK;

struct disk_request {
	enum disk_kind kind; /* from disk_choose() */
	const char *folder;  /* absolute: the VM's folder */
	const char *stem;    /* "system" or "work": the file is stem.suffix */
	const char *base;    /* absolute: root.ext4 or work-seed.ext4 of the image, raw */
	/* NULL, or absolute: a disk over the same base, of the same kind as to raw or not, that
	 * nobody writes to meanwhile: the new one begins with its content. */
	const char *source;
	uint64_t size_bytes;  /* at least this; the base's size when that is larger */
	bool is_synced_later; /* the caller sees to stable storage, once there is time */
};

/*
 * Makes the disk: complete and, unless `is_synced_later`, on stable storage when it returns 0.
 * Built as ".new-NAME" and renamed; on failure nothing is left. ERR_EXISTS when the file is there
 * already; an error for a full disk names the file. A reflink that the file system refuses after
 * all becomes a copy (see ret->kind). ERR_INVALID when the source is larger, ERR_UNSUPPORTED when
 * it is a qcow2 that cannot become as large as that (qcow2.h).
 */
int disk_create(const struct disk_request *request, const struct cancel *cancel,
		const struct progress *progress, struct disk_overlay *ret, struct err *err)
	MUST_CHECK;

/*
 * Grows it to `size_bytes`; the VM must not run. A smaller size is ERR_INVALID. Nothing happens
 * when the size is the same.
 */
int disk_grow(struct disk_overlay *overlay, uint64_t size_bytes, const struct cancel *cancel,
	      struct err *err) MUST_CHECK;

/*
 * Bytes that the files of a VM's folder really occupy (one level); 0 for a missing folder. Blocks
 * that reflinks share count in each file.
 */
int disk_used_bytes(const char *folder, uint64_t *ret, struct err *err) MUST_CHECK;
