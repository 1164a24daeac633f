/*
 * Who we are to a registry: the credentials that docker, podman and their helpers keep, the
 * challenges of servers, and the tokens got for them.
 *
 * Files, in this order: $REGISTRY_AUTH_FILE (then nothing else),
 * $XDG_RUNTIME_DIR/containers/auth.json,
 * ${XDG_CONFIG_HOME:-~/.config}/containers/auth.json, ${DOCKER_CONFIG:-~/.docker}/config.json. In
 * each: the host's entry of "credHelpers", else the longest of "auths" that fits (host/name/space,
 * host, or docker's old URL forms of host), else "credsStore". A helper is docker-credential-NAME
 * on PATH, asked with `get` and the host on its stdin; it gets our environment, as from docker, and
 * 30 s.
 *
 * Secrets are in no message, log or argument, and what we hold of them is wiped when released.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "fetch/fetch.h"

#define OCI_CHALLENGE_BYTES_MAX 8192
#define OCI_TOKEN_BYTES_MAX	65536
#define OCI_AUTH_FILE_BYTES_MAX 1048576
#define OCI_HELPER_BYTES_MAX	65536

/*
 * Where credentials are looked for: in what a NULL-terminated vector like environ says (HOME and
 * the other variables above), which is also what helpers get. Borrowed.
 */
struct oci_auth {
	char *const *environment;
};

/* All owned. At most one of: user and password, identity token, registry token. */
struct oci_credentials {
	char *username; /* NULL: no user and password */
	char *password;
	char *identity_token; /* exchanged for tokens at the realm */
	char *registry_token; /* the bearer token itself */
};

#define OCI_CREDENTIALS_INIT ((struct oci_credentials){ .username = NULL })

void oci_credentials_done(struct oci_credentials *credentials);
#define AUTO_OCI_CREDENTIALS CLEANUP(oci_credentials_done) struct oci_credentials
bool oci_credentials_are_empty(const struct oci_credentials *credentials);

/* Whose credentials are wanted, and for what. All borrowed. */
struct oci_credentials_query {
	const struct oci_auth *auth;
	const char *host; /* "docker.io", "127.0.0.1:5000" */
	const char *repository;
	const struct cancel *cancel; /* may be NULL */
};

/*
 * Looks in all files. None found is success with empty `ret`; a broken file or helper is an error
 * that names it.
 */
int oci_credentials_find(const struct oci_credentials_query *query, struct oci_credentials *ret,
			 struct err *err) MUST_CHECK;

/* In one file's content; `file` is what messages call it. Helpers are run as above. */
int oci_credentials_read(const char *file, struct span text,
			 const struct oci_credentials_query *query, struct oci_credentials *ret,
			 struct err *err) MUST_CHECK;

enum oci_scheme {
	OCI_SCHEME_NONE, /* nothing that we can answer */
	OCI_SCHEME_BASIC,
	OCI_SCHEME_BEARER,
	OCI_SCHEME_COUNT,
};

/* All owned; NULL when absent. */
struct oci_challenge {
	enum oci_scheme scheme;
	char *realm; /* Bearer: the URL of the token server */
	char *service;
	char *scope;
};

#define OCI_CHALLENGE_INIT ((struct oci_challenge){ .scheme = OCI_SCHEME_NONE })

void oci_challenge_done(struct oci_challenge *challenge);
#define AUTO_OCI_CHALLENGE CLEANUP(oci_challenge_done) struct oci_challenge

/*
 * Reads one WWW-Authenticate header (RFC 9110, 11.6.1), which may have several challenges. The best
 * that can be answered is taken: Bearer with a realm, then Basic; `ret` is replaced only by a
 * better one, so that several headers are read one after another. False: it is malformed, `ret` is
 * untouched.
 */
bool oci_challenge_read(struct span header, struct oci_challenge *ret) MUST_CHECK;

/* The value of an Authorization header; wiped with oci_secret_free(). */
char *oci_basic_authorization(const struct oci_credentials *credentials) MUST_CHECK;
char *oci_bearer_authorization(const char *token) MUST_CHECK;
void oci_secret_free(char *secret);

/* A token and when it ends. */
struct oci_token {
	char *text; /* owned, a secret */
	uint64_t expires_ns;
};

void oci_token_done(struct oci_token *token);

/* Asking a token server. */
struct oci_token_request {
	const struct oci_challenge *challenge;	   /* with scheme BEARER */
	const struct oci_credentials *credentials; /* may be empty */
	const char *scope;			   /* used when the challenge names none */
	enum fetch_place led_from;		   /* the registry's */
	const struct fetch_policy *policy;
	const struct cancel *cancel;
};

/*
 * Gets a token from the challenge's realm: GET with Basic authorization, or POST for an identity
 * token. The realm must be https, or on loopback, or what the policy allows; else no credentials
 * leave and it is ERR_PROTOCOL.
 */
int oci_token_fetch(const struct oci_token_request *request, struct oci_token *ret, struct err *err)
	MUST_CHECK;
