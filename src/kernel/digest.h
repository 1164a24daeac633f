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
