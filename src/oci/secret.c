#include "oci/secret.h"

#include <string.h>

#include "base/mem.h"

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	mem_free(secret);
}

void secret_buf_done(struct buf *buf)
{
	if (buf->cap > 0)
		explicit_bzero(buf->ptr, buf->cap);
	buf_done(buf);
}

bool secret_is_header_text(const char *secret)
{
	for (const char *at = secret; *at; at++)
		if (*at <= ' ' || *at >= 0x7f)
			return false;
	return *secret != '\0';
}
