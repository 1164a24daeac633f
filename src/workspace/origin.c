#include "workspace/origin.h"

#include <string.h>

#include "base/parse.h"
#include "base/text.h"

static const struct {
	const char *scheme;
	bool keeps_user; /* "git@": a name, not a secret */
} schemes[] = {
	{ "https://", false }, { "http://", false },   { "git://", false },
	{ "ssh://", true },    { "git+ssh://", true }, { "ssh+git://", true },
};

static bool has_bad_bytes(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
			return true;
	return !text_is_utf8(text);
}

static const uint8_t *find(struct span text, char byte)
{
	return text.len ? memchr(text.ptr, byte, text.len) : NULL;
}

/* The part before `byte`, all of it without. */
static struct span until(struct span text, char byte)
{
	const uint8_t *at = find(text, byte);

	return at ? span_of(text.ptr, (size_t)(at - text.ptr)) : text;
}

/* Splits "user:secret@host" at the last '@'; the host must not look like an option. */
static bool split_user(struct span authority, struct span *ret_user, struct span *ret_host)
{
	const uint8_t *at = authority.len ? memrchr(authority.ptr, '@', authority.len) : NULL;

	*ret_user = span_of(authority.ptr, 0);
	*ret_host = authority;
	if (at) {
		*ret_user = until(span_of(authority.ptr, (size_t)(at - authority.ptr)), ':');
		*ret_host = span_skip(authority, (size_t)(at - authority.ptr) + 1);
	}
	return ret_host->len > 0 && ret_host->ptr[0] != '-' &&
	       (ret_user->len == 0 || ret_user->ptr[0] != '-');
}

static void add_clean(struct span user, struct span host, struct buf *out)
{
	if (user.len > 0) {
		buf_add(out, user);
		buf_add_byte(out, '@');
	}
	buf_add(out, host);
}

static bool has_query(struct span text)
{
	return find(text, '?') || find(text, '#');
}

static bool clean_url(const char *scheme, bool keeps_user, struct span rest, struct buf *out)
{
	const struct span authority = until(rest, '/');
	struct span user, host, path = span_skip(rest, authority.len);

	/* Part of a secret could pass for a host or a path there. */
	if (has_query(authority) && find(authority, '@'))
		return false;
	if (has_query(authority))
		path.len = 0;
	if (!split_user(until(until(authority, '?'), '#'), &user, &host))
		return false;
	/* Some put a token into the user's place. */
	if (!keeps_user)
		user.len = 0;
	buf_add_str(out, scheme);
	add_clean(user, host, out);
	buf_add(out, until(until(path, '?'), '#'));
	return true;
}

/* "user@host:path", which is no path: a colon before any slash. */
static bool clean_scp(struct span url, struct buf *out)
{
	const uint8_t *colon = find(url, ':');
	struct span user, host, path;

	if (!colon || find(until(url, ':'), '/') || colon == url.ptr)
		return false;
	path = span_skip(url, (size_t)(colon - url.ptr));
	/* "ext::sh -c ...": a helper's name. */
	if (path.len < 2 || path.ptr[1] == ':' || path.ptr[1] == '-')
		return false;
	if (!split_user(until(url, ':'), &user, &host))
		return false;
	/* "user:secret@host" has its first colon elsewhere. */
	if (find(path, '@'))
		return false;
	add_clean(user, host, out);
	buf_add(out, path);
	return true;
}

bool origin_clean(struct span url, struct buf *out)
{
	if (url.len == 0 || url.len > ORIGIN_MAX || url.ptr[0] == '-' || has_bad_bytes(url))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		struct span rest = url;

		if (parse_literal(&rest, schemes[i].scheme))
			return clean_url(schemes[i].scheme, schemes[i].keeps_user, rest, out);
	}
	for (size_t i = 0; i + 2 < url.len; i++)
		if (memcmp(url.ptr + i, "://", 3) == 0)
			return false;
	return clean_scp(url, out);
}
