/* Secrets on the heap: wiped before they are freed. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* NULL is accepted. */
void secret_free(char *secret);

static inline void secret_freep(char **secret)
{
	secret_free(*secret);
	*secret = NULL;
}

#define AUTO_SECRET CLEANUP(secret_freep) char

void secret_buf_done(struct buf *buf);
#define AUTO_SECRET_BUF CLEANUP(secret_buf_done) struct buf

/* Whether it can stand in a header: visible ASCII, at least one byte. */
bool secret_is_header_text(const char *secret);
