/* SHA-256 of bytes and files, through libcrypto. */
#pragma once

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define SHA256_TEXT_SIZE 65 /* hexadecimal, and its terminator */

int digest_bytes(struct span bytes, char ret[static SHA256_TEXT_SIZE], struct err *err) MUST_CHECK;

/* Of a whole file, from its start; the offset of `fd` does not move. */
int digest_file(int fd, const struct cancel *cancel, char ret[static SHA256_TEXT_SIZE],
		struct err *err) MUST_CHECK;

/* Of bytes that come piece by piece. */
struct digest;

int digest_new(struct digest **ret, struct err *err) MUST_CHECK;
void digest_free(struct digest *digest);
DEFINE_FREEP(digest, digest_free);

int digest_add(struct digest *digest, struct span bytes, struct err *err) MUST_CHECK;
/* Once, at the end. */
int digest_finish(struct digest *digest, char ret[static SHA256_TEXT_SIZE], struct err *err)
	MUST_CHECK;
