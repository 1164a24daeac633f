/*
 * Image recipes, and images in the file system: images/NAME/ with
 *
 *     root.ext4       the root file system, sparse
 *     work-seed.ext4  what a new VM's work disk (/root) is cloned from
 *     image.json      the record below, as JSON
 *
 * An image is made in a staging folder ".new-NAME-..." beside its place, synced, and renamed there
 * when whole; one that is there already changes places with it. Deletion renames to ".old-..." in
 * the same way. Both kinds are removed by image_sweep(), so a kill at any step leaves a whole image
 * or none.
 *
 * The package manager's tar stream goes through this process unread, into a worker: this program
 * executed again as "--worker image", which has nothing but the stream, the two files and a socket
 * (worker.h).
 *
 * Whether an image is in use is the caller's business. Calls for the same name must not run at the
 * same time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/strv.h"
#include "model/artifact.h"

#define IMAGE_ROOT_FILE	  "root.ext4"
#define IMAGE_SEED_FILE	  "work-seed.ext4"
#define IMAGE_RECORD_FILE "image.json"

/* What can be built. */
struct image_recipe {
	const char *name;	     /* "debian-bookworm" */
	const char *description;     /* one line for people */
	const char *suite;	     /* "bookworm" */
	const char *variant;	     /* mmdebstrap's: "minbase" */
	const char *kernel;	     /* default kernel: "debian-cloud" */
	const char *const *packages; /* NULL-terminated */
	bool has_init;		     /* whether systemd is among them, and must have come out */
	bool is_default;
};

/* The catalog; never empty. */
const struct image_recipe *image_recipes(size_t *ret_count);
const struct image_recipe *image_recipe_find(const char *name);

/* Of images in the making. Each error names the key of [limits] that sets it. */
struct image_limits {
	/* 0: the writer's default (ext4.h) */
	uint64_t entries;
	uint64_t image_bytes;
	uint64_t layer_bytes;
	uint64_t name_bytes;
	uint64_t xattr_bytes;
	/* 0: the default below */
	uint64_t layers;
	/* Of each worker process (worker.h). 0: the defaults of worker_process.h, and below. */
	uint64_t worker_memory_bytes;
	uint64_t worker_cpu_ms;	  /* counted in whole seconds */
	uint64_t worker_stall_ms; /* without progress for so long, it is ended */
};

#define IMAGE_LAYERS_DEFAULT   128U    /* as docker's; more have no other reason than to hurt */
#define IMAGE_STALL_MS_DEFAULT 600000U /* also a sync of much to a slow disk takes no longer */

struct image_build_request {
	const char *images_dir; /* absolute */
	const char *recipe;	/* of the catalog */
	const char *name;	/* of the image; NULL: the recipe's */
	uint64_t size_bytes;	/* 0: content times 1.5, at least 1 GiB */
	struct image_limits limits;
	const char *worker_program; /* answers to "--worker image"; NULL: the running program */
};

/*
 * Builds an image; one with that name is replaced when the new one is whole, and only then. Stages
 * of progress: those of the package manager, with the bytes that have been written so far.
 * ERR_NOT_FOUND for a name that is not in the catalog; a missing mmdebstrap comes with a hint.
 * Cancelling ends all processes and leaves nothing.
 */
int image_build(const struct image_build_request *request, const struct cancel *cancel,
		const struct progress *progress, struct image_record *ret, struct err *err)
	MUST_CHECK;

/*
 * What an OCI image says about running it: data for the guest, never acted upon by the host.
 * Strings are owned; lists may be empty, the two texts NULL.
 */
struct image_config {
	struct strv entrypoint;
	struct strv cmd;
	struct strv env; /* "NAME=VALUE", as the image has it */
	char *user;
	char *working_dir;
};

#define IMAGE_CONFIG_INIT      ((struct image_config){ .user = NULL })
#define IMAGE_CONFIG_ITEMS_MAX 4096U /* of each list */
#define IMAGE_CONFIG_BYTES_MAX \
	(1U << 20) /* of all texts together: what an exec in the guest takes */

void image_config_done(struct image_config *config);
#define AUTO_IMAGE_CONFIG CLEANUP(image_config_done) struct image_config

/* For listings; a new reference. */
json_t *image_config_json(const struct image_config *config) MUST_CHECK;

/* From image.json; empty for an image that has none. Errors as image_load(). */
int image_config_load(const char *images_dir, const char *name, struct image_config *ret,
		      struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND when there is none; ERR_INVALID when its record or files are damaged or missing. */
int image_load(const char *images_dir, const char *name, struct image_record *ret, struct err *err)
	MUST_CHECK;

/* All that are whole, sorted by name; image_load() tells what is wrong with the others. */
int image_load_all(const char *images_dir, struct image_record_list *ret, struct err *err)
	MUST_CHECK;

/* ERR_NOT_FOUND when there is none. */
int image_remove(const char *images_dir, const char *name, struct err *err) MUST_CHECK;

/* Removes what interrupted builds and removals left and ends their processes. For the daemon's
 * start. */
int image_sweep(const char *images_dir, struct err *err) MUST_CHECK;
