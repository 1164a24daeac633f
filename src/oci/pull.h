/*
 * Pulling: from a reference to an image's config and its verified layers, in order, while later
 * ones are still being downloaded.
 *
 * oci_pull_begin() follows index, manifest and config, which is all that an image which is here
 * already costs. The first oci_pull_layer() starts the downloads of the layers: up to `parallel`
 * threads take them in order, so that the first is ready first. The caller asks for layer after
 * layer and works on each while the others arrive. Nothing that grows with a layer's size is held
 * in memory.
 *
 * The first failure of a download stops the others; layers that are ready stay so. A pull is used
 * by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"
#include "oci/blobs.h"
#include "oci/manifest.h"

struct oci_reference;
struct oci_registry_config;
struct oci_auth;

#define OCI_PARALLEL_DEFAULT 4
#define OCI_PARALLEL_MAX     16
#define OCI_LAYERS_DEFAULT   128 /* what overlayfs, and so every builder, can have */
#define OCI_INDEX_DEPTH_MAX \
	4 /* an index in an index; the specification has no use for more than 2 */

/* All borrowed until oci_pull_free(), as is `progress`. */
struct oci_pull_request {
	const struct oci_reference *reference;
	const struct oci_platform *platform; /* NULL: this host's */
	struct oci_blobs *blobs;
	const struct oci_registry_config *registry; /* of the reference's host; NULL: none */
	const struct oci_auth *auth;		    /* NULL: anonymous */
	unsigned int parallel;			    /* 0: OCI_PARALLEL_DEFAULT */
	uint64_t layer_bytes_max; /* of one layer as it is sent; 0: OCI_BLOB_BYTES_MAX */
	uint64_t layers_max;	  /* 0: OCI_LAYERS_DEFAULT */
};

struct oci_pull;

/*
 * Resolves the reference; no layer is asked for yet. ERR_NOT_FOUND: no such image, tag or platform;
 * ERR_UNSUPPORTED: not an image that can be pulled; ERR_LIMIT names its key of the configuration;
 * ERR_PROTOCOL: something sent is malformed or has not its digest.
 */
int oci_pull_begin(const struct oci_pull_request *request, const struct cancel *cancel,
		   const struct progress *progress, struct oci_pull **ret, struct err *err)
	MUST_CHECK;

/* Stops the downloads, waits for their threads, closes everything. NULL is accepted. */
void oci_pull_free(struct oci_pull *pull);
DEFINE_FREEP(oci_pull, oci_pull_free);

/* The manifest's digest; of a docker-archive, which has none, the config's. */
const struct oci_digest *oci_pull_digest(const struct oci_pull *pull);
const struct oci_config *oci_pull_config(const struct oci_pull *pull);

/* The config as it was sent: one JSON object. */
struct span oci_pull_config_json(const struct oci_pull *pull);

/* At least one, and as many as the config has diff_ids. */
size_t oci_pull_layer_count(const struct oci_pull *pull);
const struct oci_layer *oci_pull_layer_at(const struct oci_pull *pull, size_t index);

/* Of all layers, as they are sent. */
uint64_t oci_pull_bytes(const struct oci_pull *pull);

/*
 * Waits until layer `index` is there and verified; *ret_fd is a read-only descriptor at offset 0,
 * borrowed until oci_pull_free(). While it waits it reports progress.
 */
int oci_pull_layer(struct oci_pull *pull, size_t index, const struct cancel *cancel, int *ret_fd,
		   struct err *err) MUST_CHECK;

/*
 * Reports progress while the caller waits for something else: stage "download", bytes of all
 * layers. False when all of them are here. That they are is reported once, and nothing after it, so
 * that another stage may follow.
 */
bool oci_pull_report(struct oci_pull *pull);
