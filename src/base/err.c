#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

static const struct {
	const char *name;
	int errnum;
} kinds[] = {
	[ERR_NONE] = { "none", EIO },
	[ERR_SYSTEM] = { "system", EIO },
	[ERR_INVALID] = { "invalid", EINVAL },
	[ERR_NOT_FOUND] = { "not_found", ENOENT },
	[ERR_EXISTS] = { "exists", EEXIST },
	[ERR_BAD_STATE] = { "state", ENOTSUP },
	[ERR_BUSY] = { "busy", EBUSY },
	[ERR_LIMIT] = { "limit", EOVERFLOW },
	[ERR_PROTOCOL] = { "protocol", EPROTO },
	[ERR_TIMEOUT] = { "timeout", ETIMEDOUT },
	[ERR_CANCELLED] = { "cancelled", ECANCELED },
	[ERR_UNSUPPORTED] = { "unsupported", EOPNOTSUPP },
};
_Static_assert(ARRAY_LEN(kinds) == ERR_KIND_COUNT, "each kind of error needs its row");

/* Copies what fits and never cuts an escape sequence or a UTF-8 character in two. */
static void store_text(char *into, size_t size, const char *text)
{
	AUTO_BUF escaped = BUF_INIT;
	size_t len;

	text_escape(&escaped, span_str(text), size - 1);
	len = escaped.len < size ? escaped.len : size - 1;
	while (len > 0 && len < escaped.len && ((uint8_t)escaped.ptr[len] & 0xC0) == 0x80)
		len--;
	memcpy(into, escaped.ptr, len);
	into[len] = '\0';
}

/* glibc text without a buffer and without a locale; never NULL. */
static const char *errno_text(int errnum)
{
	const char *text = strerrordesc_np(errnum);

	return text ? text : "unknown error";
}

int err_fill(struct err *err, enum err_kind kind, int r, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	assert(err);
	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	if (kind == ERR_SYSTEM && r < 0)
		buf_addf(&text, ": %s", errno_text(-r));
	if (r == -ECANCELED)
		kind = ERR_CANCELLED;
	if (r == -ETIMEDOUT)
		kind = ERR_TIMEOUT;

	*err = (struct err){ .kind = kind, .errnum = r < 0 ? -r : 0 };
	store_text(err->message, sizeof(err->message), text.ptr);
	return r < 0 ? r : -kinds[kind].errnum;
}

int err_prefix(struct err *err, int r, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	assert(err);
	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	buf_addf(&text, ": %s", err->message);
	if (err->kind == ERR_NONE)
		err->kind = ERR_SYSTEM;
	store_text(err->message, sizeof(err->message), text.ptr);
	return r;
}

void err_hint(struct err *err, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	store_text(err->hint, sizeof(err->hint), text.ptr);
}

void err_append(struct err *err, const struct err *other)
{
	AUTO_BUF text = BUF_INIT;

	if (other->kind == ERR_NONE)
		return;
	if (err->kind == ERR_NONE) {
		*err = *other;
		return;
	}
	buf_addf(&text, "%s; then: %s", err->message, other->message);
	store_text(err->message, sizeof(err->message), text.ptr);
}

const char *err_kind_name(enum err_kind kind)
{
	assert((size_t)kind < ARRAY_LEN(kinds));
	return kinds[kind].name;
}

enum err_kind err_kind_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (str_eq(kinds[i].name, name))
			return (enum err_kind)i;
	}
	return ERR_SYSTEM;
}
