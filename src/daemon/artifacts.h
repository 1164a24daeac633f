/*
 * Images and kernels as the daemon sees them: files made by src/image and src/kernel, records in
 * the database, and the locks that let two requests for the same one share the work.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "model/artifact.h"

/* --- images; `ret` is uninitialised in all of this file --- */

/*
 * Loads the record of image `name` if it is ready; else makes it first, of what `text` means
 * (image_origin.h), but not in the background: then ERR_NOT_FOUND. Whoever comes second waits and
 * finds it done.
 */
int artifact_ensure_image(struct daemon *daemon, const char *name, const char *text,
			  const struct job *job, struct image_record *ret, struct err *err)
	MUST_CHECK;

/* All borrowed. */
struct artifact_image_pull {
	const char *text;    /* what it is to be made of: a catalog entry or an OCI reference */
	const char *name;    /* NULL: follows from the text */
	uint64_t size_bytes; /* 0: from the content */
};

/*
 * The same even when it is there: made anew and put in its place, unless the registry has the same
 * one still. ERR_BUSY while a VM uses the image.
 */
int artifact_pull_image(struct daemon *daemon, const struct artifact_image_pull *pull,
			const struct job *job, struct image_record *ret, struct err *err)
	MUST_CHECK;

/* All borrowed; paths are absolute. NULL for what was not given. */
struct kernel_import_request;
struct artifact_image_files {
	const char *name;
	const char *rootfs;
	const char *work_seed;
	const char *kernel;				/* by name */
	const struct kernel_import_request *own_kernel; /* instead; its name must be free */
};

/*
 * Records the user's files as an image. ERR_EXISTS. With a kernel of its own there are both
 * afterwards, or neither.
 */
int artifact_register_image(struct daemon *daemon, const struct artifact_image_files *files,
			    const struct job *job, struct image_record *ret, struct err *err)
	MUST_CHECK;

/* Copies a registered image's files in. */
int artifact_promote_image(struct daemon *daemon, const char *name, const struct job *job,
			   struct image_record *ret, struct err *err) MUST_CHECK;

/* The hint for an image that is not here: the nearest name that is. */
void artifact_hint_images(struct daemon *daemon, const char *name, struct err *err);

/* ERR_BUSY while a VM uses it. */
int artifact_delete_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct err *err) MUST_CHECK;

/* --- kernels, likewise --- */

int artifact_ensure_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct kernel_record *ret, struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND when it is neither here nor in the catalog. */
int artifact_check_kernel(struct daemon *daemon, const char *name, struct err *err) MUST_CHECK;

/* The hint for a kernel that is not here: the nearest name, of the catalog's, too. */
void artifact_hint_kernels(struct daemon *daemon, const char *name, struct err *err);

int artifact_pull_kernel(struct daemon *daemon, const char *name, const struct job *job,
			 struct kernel_record *ret, struct err *err) MUST_CHECK;

/* Copies a kernel of the user's in; one with that name is replaced. */
int artifact_import_kernel(const struct job *job, const struct kernel_import_request *request,
			   struct kernel_record *ret, struct err *err) MUST_CHECK;

/* The same in steps, for a kernel that comes with an image: takes the lock of a name that nothing
 * has (ERR_EXISTS); imports; and, when the image does not come about, removes it. */
int artifact_claim_new_kernel(const struct job *job, const char *name, struct keyhold *ret,
			      struct err *err) MUST_CHECK;
int artifact_import_claimed_kernel(const struct job *job,
				   const struct kernel_import_request *request,
				   struct kernel_record *ret, struct err *err) MUST_CHECK;

/*
 * 0 also when there is none, and when a VM uses it by now: then it stays. ERR_BUSY when it is not
 * held (`is_held`) and somebody else is at it. Does not wait.
 */
int artifact_discard_kernel(struct daemon *daemon, const char *name, bool is_held, struct err *err)
	MUST_CHECK;

int artifact_delete_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct err *err) MUST_CHECK;

/* --- both --- */

/*
 * Makes records and folders agree after a crash: staging is swept, records of what is not there go,
 * folders that are whole get their record. For the daemon's start, before it listens.
 */
int artifact_reconcile(struct daemon *daemon, struct err *err) MUST_CHECK;

/* The halves of that. */
int artifact_reconcile_images(struct daemon *daemon, struct err *err) MUST_CHECK;
int artifact_reconcile_kernels(struct daemon *daemon, struct err *err) MUST_CHECK;

/*
 * Puts right, each minute, what an operation left half done because it could not undo it. Waits for
 * nobody, logs what fails, and tries again the next time.
 */
void artifact_settle(struct daemon *daemon);

/* The halves of that. */
void artifact_settle_images(struct daemon *daemon);
void artifact_settle_kernels(struct daemon *daemon);

/* Adds what artifact_reconcile() would do (`is_start`), or artifact_settle(). */
struct plan;
int artifact_look(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
	MUST_CHECK;

/* Takes the key of one of them; says so when it has to be waited for (ret_waited may be NULL). */
int artifact_lock(const struct job *job, const char *kind, const char *name, struct keyhold *ret,
		  bool *ret_waited, struct err *err) MUST_CHECK;

/*
 * Of an error that says that VMs use an image or a kernel (the other is NULL): the one that a
 * template is being built with is in no list, so that is said in its place. Others are left alone.
 */
void artifact_explain_use(struct daemon *daemon, const char *image, const char *kernel,
			  struct err *err);
