/*
 * Digests of content, "sha256:HEX" or "sha512:HEX", and checking bytes against one while they
 * stream. Lower case and full length only: a digest has exactly one spelling, so it can be a file
 * name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

enum oci_algorithm { OCI_SHA256, OCI_SHA512, OCI_ALGORITHM_COUNT };

#define OCI_DIGEST_TEXT_SIZE 136 /* "sha512:", 128 digits, and the terminator */

struct oci_digest {
	enum oci_algorithm algorithm;
	char text[OCI_DIGEST_TEXT_SIZE]; /* "" when there is none */
};

bool oci_digest_parse(struct span text, struct oci_digest *ret) MUST_CHECK;

/* The same for text of a peer; `what` is the field that the error (ERR_PROTOCOL) names. */
int oci_digest_read(const char *text, const char *what, struct oci_digest *ret, struct err *err)
	MUST_CHECK;

/* "sha256" */
const char *oci_algorithm_name(enum oci_algorithm algorithm);

/* The digits after the colon; points into `digest`. */
const char *oci_digest_hex(const struct oci_digest *digest);

bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b);

/* The digest of bytes in memory. */
int oci_digest_of(enum oci_algorithm algorithm, struct span bytes, struct oci_digest *ret,
		  struct err *err) MUST_CHECK;

/* The digest of a stream. */
struct oci_hasher {
	enum oci_algorithm algorithm;
	struct evp_md_ctx_st *ctx; /* owned; OpenSSL's EVP_MD_CTX */
};

#define OCI_HASHER_INIT ((struct oci_hasher){ .ctx = NULL })

/* Begins; may be called again to start over. */
int oci_hasher_begin(struct oci_hasher *hasher, enum oci_algorithm algorithm, struct err *err)
	MUST_CHECK;
int oci_hasher_add(struct oci_hasher *hasher, struct span bytes, struct err *err) MUST_CHECK;
int oci_hasher_finish(struct oci_hasher *hasher, struct oci_digest *ret, struct err *err)
	MUST_CHECK;
void oci_hasher_done(struct oci_hasher *hasher);
#define AUTO_OCI_HASHER CLEANUP(oci_hasher_done) struct oci_hasher

/* 0 when the bytes have that digest, else ERR_PROTOCOL with both digests. */
int oci_digest_check(const struct oci_digest *digest, struct span bytes, struct err *err)
	MUST_CHECK;

/* Checks a stream of bytes against a digest and a size. Holds nothing of the stream. */
struct oci_verifier {
	struct oci_digest digest;
	uint64_t size;
	uint64_t taken; /* bytes so far */
	struct oci_hasher hasher;
};

#define OCI_VERIFIER_INIT ((struct oci_verifier){ .hasher = OCI_HASHER_INIT })

/* Begins; may be called again to start over. */
int oci_verifier_begin(struct oci_verifier *verifier, const struct oci_digest *digest,
		       uint64_t size, struct err *err) MUST_CHECK;

/* Takes the next bytes; ERR_PROTOCOL as soon as there are more than `size` in all. */
int oci_verifier_take(struct oci_verifier *verifier, struct span bytes, struct err *err) MUST_CHECK;

/* 0 when all `size` bytes came and have the digest, else ERR_PROTOCOL saying which is wrong. */
int oci_verifier_finish(struct oci_verifier *verifier, struct err *err) MUST_CHECK;

void oci_verifier_done(struct oci_verifier *verifier);
#define AUTO_OCI_VERIFIER CLEANUP(oci_verifier_done) struct oci_verifier
