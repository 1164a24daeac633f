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

/*
 * Loads the record of an image or kernel that is ready, building or pulling it first if the catalog
 * has it. Whoever comes second waits and finds it done. `ret` is uninitialised.
 */
int artifact_ensure_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct image_record *ret, struct err *err) MUST_CHECK;
int artifact_ensure_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct kernel_record *ret, struct err *err) MUST_CHECK;

/* The same even when it is there: made anew and put in its place. ERR_BUSY while a VM uses the
 * image. */
int artifact_pull_image(struct daemon *daemon, const char *name, const struct job *job,
			struct image_record *ret, struct err *err) MUST_CHECK;
int artifact_pull_kernel(struct daemon *daemon, const char *name, const struct job *job,
			 struct kernel_record *ret, struct err *err) MUST_CHECK;

/* ERR_BUSY while a VM uses it. */
int artifact_delete_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct err *err) MUST_CHECK;
int artifact_delete_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct err *err) MUST_CHECK;

/* The default kernel of an image that may not have been built yet; borrowed from the catalog or
 * `image`. */
const char *artifact_default_kernel(const char *image_name);

/*
 * Makes records and folders agree after a crash: staging is swept, records of what is not there go,
 * folders that are whole get their record. For the daemon's start, before it listens.
 */
int artifact_reconcile(struct daemon *daemon, struct err *err) MUST_CHECK;
