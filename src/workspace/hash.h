/* The name that git gives to bytes: SHA-1 or SHA-256 of "blob SIZE\0" and the bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "workspace/git.h"

struct blob_hash {
	void *context; /* owned; OpenSSL's */
	bool is_sha256;
};

int blob_hash_begin(struct blob_hash *hash, bool is_sha256, uint64_t size, struct err *err)
	MUST_CHECK;

/* The same for an object of another type ("tree"); NULL: of bytes without a head. */
int object_hash_begin(struct blob_hash *hash, bool is_sha256, const char *type, uint64_t size,
		      struct err *err) MUST_CHECK;
void blob_hash_add(struct blob_hash *hash, struct span bytes);
/* The name in hex, terminated; the hash is done. */
void blob_hash_end(struct blob_hash *hash, char ret[static GIT_OID_HEX_MAX + 1]);
/* The same in bytes: 20, or 32 of SHA-256. */
size_t blob_hash_end_raw(struct blob_hash *hash, uint8_t ret[static GIT_OID_RAW_MAX]);
/* At most GIT_OID_RAW_MAX bytes as text. */
void git_oid_hex(struct span raw, char ret[static GIT_OID_HEX_MAX + 1]);
void blob_hash_done(struct blob_hash *hash);
#define AUTO_BLOB_HASH CLEANUP(blob_hash_done) struct blob_hash

/* All at once. */
int blob_hash_of(bool is_sha256, struct span bytes, char ret[static GIT_OID_HEX_MAX + 1],
		 struct err *err) MUST_CHECK;
