/*
 * A server that speaks the distribution specification: the registry itself, or its mirror. Knows by
 * which scheme it is asked, and as whom. Its state is behind its own lock, so that any thread may
 * ask; who needs a token that another thread is fetching waits for it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "fetch/fetch.h"
#include "oci/auth.h"

/* Where the user says how a registry is to be asked, in hints. */
#define OCI_REGISTRY_ENTRY "the registry's entry of the configuration"

struct endpoint {
	char *host;		     /* owned; what credentials are kept under */
	char *address;		     /* owned; host and port that are asked */
	char *ca_file;		     /* owned; NULL when none */
	const struct oci_auth *auth; /* borrowed; NULL: anonymous */
	struct fetch_policy policy;

	pthread_mutex_t lock;		    /* for all below */
	char *base;			    /* owned; "https://host:port"; NULL until known */
	char *repository;		    /* owned; that the rest is for; NULL: none yet */
	struct oci_credentials credentials; /* owned */
	bool has_looked;		    /* for credentials */
	struct oci_challenge challenge;	    /* owned; the latest */
	enum fetch_place place;		    /* of the server that made it */
	struct oci_token token;		    /* owned */
	uint64_t generation;		    /* of the authorization; 0: nothing has asked for one */
	bool is_down;			    /* could not be reached */
};

/* `base` NULL: the scheme is found out. `ca_file` may be NULL. */
void endpoint_init(struct endpoint *endpoint, const char *host, const char *address,
		   const char *base, const char *ca_file);
void endpoint_done(struct endpoint *endpoint);

/* One request of the API. */
struct endpoint_request {
	const char *repository;
	const char *path;	    /* below the repository: "manifests/latest" */
	const char *const *headers; /* NULL-terminated; may be NULL */
	uint64_t offset;	    /* as in fetch_request */
	uint64_t size;
	uint64_t size_max;
	const struct fetch_sink *sink; /* NULL: into `bytes` */
	uint64_t *taken;	       /* bytes that the sink got, added to; with a sink only */
	struct buf *bytes;
	const struct cancel *cancel;
};

/* Asks, answering challenges on the way; 0 for any answer, as fetch_get() has it. */
int endpoint_ask(struct endpoint *endpoint, const struct endpoint_request *request,
		 struct fetch_response *ret, struct err *err) MUST_CHECK;

/* What a message says of a 401 or 403. */
const char *endpoint_why_denied(struct endpoint *endpoint);

/* Whether it was found to be away; it is then not worth being asked again. */
bool endpoint_is_down(struct endpoint *endpoint);
