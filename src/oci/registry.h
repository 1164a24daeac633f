/*
 * One registry, as the distribution specification has it: manifests and blobs, by GET only.
 *
 * The mirror, where there is one, is asked first; whatever it cannot give is asked of the registry
 * itself, a blob from where the mirror's stopped; when both fail, the message names both.
 * Credentials are looked up for each of the two by its own host. All functions may be called from
 * any thread at a time; a token is fetched once for all.
 *
 * https is spoken, always verified. Hosts on loopback are asked by http first, and by https if that
 * is what they speak; hosts marked insecure by unverified https first, then http. With a `ca_file`
 * it is https alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "fetch/fetch.h"
#include "oci/auth.h"
#include "oci/manifest.h"

struct oci_registry;

/* How to reach a registry, from its entry in the configuration. All borrowed by oci_registry_open()
 * only. */
struct oci_registry_config {
	const char *mirror;  /* URL, to which "/v2/..." is appended; NULL: none */
	const char *ca_file; /* absolute; NULL: the system's CAs alone */
	bool is_insecure;    /* the mirror, or without one this host, needs no verified TLS */
	const struct fetch_policy *policy; /* times and retries; NULL: FETCH_POLICY_INIT */
};

/*
 * Makes the object for "docker.io", "127.0.0.1:5000"; talks to nobody. `config` NULL: no entry;
 * `auth` NULL: anonymous, else borrowed until oci_registry_free(). ERR_INVALID for a bad host or
 * mirror; a mirror of plain HTTP must be on loopback or the entry insecure.
 */
int oci_registry_open(const char *host, const struct oci_registry_config *config,
		      const struct oci_auth *auth, struct oci_registry **ret, struct err *err)
	MUST_CHECK;

/* No call may be in flight. NULL is accepted. */
void oci_registry_free(struct oci_registry *registry);
DEFINE_FREEP(oci_registry, oci_registry_free);

struct oci_raw_manifest {
	struct buf bytes;
	char *media_type; /* owned; from Content-Type, lower case, without parameters; "" when it
			     says nothing of use, then the manifest's own field counts */
};

#define OCI_RAW_MANIFEST_INIT ((struct oci_raw_manifest){ .bytes = BUF_INIT })

void oci_raw_manifest_done(struct oci_raw_manifest *manifest);
#define AUTO_OCI_RAW_MANIFEST CLEANUP(oci_raw_manifest_done) struct oci_raw_manifest

/*
 * A manifest or index by tag or digest. `ret` is initialised by the caller. Bytes asked for by
 * digest are verified here, whoever sends them. ERR_NOT_FOUND, ERR_BAD_STATE (credentials are
 * missing or refused; with a hint), ERR_UNSUPPORTED for schema 1, ERR_LIMIT, and what fetch_get()
 * has.
 */
int oci_registry_manifest(struct oci_registry *registry, const char *repository, const char *wanted,
			  const struct cancel *cancel, struct oci_raw_manifest *ret,
			  struct err *err) MUST_CHECK;

struct oci_blob_request {
	const char *repository;
	const char *digest;  /* "sha256:<hex>"; not verified here: the sink's owner does */
	uint64_t size;	     /* exact */
	uint64_t offset;     /* the sink already has so many bytes */
	bool is_origin_only; /* the mirror is not asked */
	const char **mirror; /* set to the mirror's host when it gave any of the bytes, and is to
				blame, perhaps, when they are wrong; lives as long as the registry;
				may be NULL */
	const struct cancel *cancel;
};

/*
 * The bytes of a blob from `offset` to `size`, every one once and in order, whatever breaks on the
 * way. Success means that the sink has all.
 */
int oci_registry_blob(struct oci_registry *registry, const struct oci_blob_request *request,
		      const struct fetch_sink *sink, struct err *err) MUST_CHECK;
