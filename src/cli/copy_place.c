#include "cli/copy_place.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define GUEST_HOME "/root" /* root's, as everywhere */

void copy_place_done(struct copy_place *place)
{
	if (!place)
		return;
	mem_free(place->vm);
	mem_free(place->path);
	*place = (struct copy_place){ .vm = NULL };
}

/* Components joined by single slashes. ".." stays: only the guest knows where links lead. */
static char *clean(const char *path)
{
	AUTO_BUF out = BUF_INIT;

	while (*path) {
		const size_t len = strcspn(path, "/");

		if (len > 0 && !(len == 1 && path[0] == '.')) {
			buf_add_byte(&out, '/');
			buf_add(&out, span_of(path, len));
		}
		path += len;
		path += *path == '/' ? 1 : 0;
	}
	if (out.len == 0)
		buf_add_byte(&out, '/');
	return buf_detach(&out);
}

static char *guest_path(const char *text)
{
	AUTO_FREE char *whole = NULL;

	if (text[0] == '/')
		return clean(text);
	if (text[0] == '~' && (text[1] == '/' || text[1] == '\0'))
		text++;
	whole = mem_printf(GUEST_HOME "/%s", text);
	return clean(whole);
}

int copy_place_read(const char *text, struct copy_place *ret, struct err *err)
{
	const size_t before = strcspn(text, ":/");
	const char *path = text;
	struct copy_place place = { .vm = NULL };

	if (str_empty(text))
		return err_set(err, ERR_INVALID, "an empty path names nothing");
	if (str_eq(text, "-")) {
		*ret = (struct copy_place){ .is_stream = true };
		return 0;
	}
	if (text[before] == ':' && before == 0)
		return err_set(err, ERR_INVALID, "'%s' names no VM before its colon", text);
	if (text[before] == ':') {
		place.vm = mem_strndup(text, before);
		path = text + before + 1;
	}
	place.is_content = str_eq(path, ".") || str_eq(path, "./") || str_ends(path, "/.") ||
			   str_ends(path, "/./");
	place.is_folder = str_ends(path, "/") || place.is_content;
	place.path = place.vm ? guest_path(path) : mem_strdup(path);
	*ret = place;
	return 0;
}

/* Without the slashes at its end. */
static size_t trimmed(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}

static size_t leaf_at(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len;
}

char *copy_place_leaf(const char *path)
{
	const size_t len = trimmed(path);
	const size_t at = leaf_at(path, len);

	return mem_strndup(path + at, len - at);
}

char *copy_place_above(const char *path)
{
	const size_t at = leaf_at(path, trimmed(path));
	AUTO_FREE char *above = mem_strndup(path, at);

	if (at == 0)
		return mem_strdup(".");
	above[trimmed(above)] = '\0';
	return TAKE_PTR(above);
}
