#include "kernel/sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define DIGITS	     (SHA256_TEXT_SIZE - 1)
#define SUM_NAME_MAX 255

void sums_done(struct sums *sums)
{
	for (size_t i = 0; i < sums->count; i++)
		mem_free(sums->items[i].name);
	mem_free(sums->items);
	*sums = (struct sums){ .items = NULL };
}

static bool is_digest(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!(text.ptr[i] >= '0' && text.ptr[i] <= '9') &&
		    !(text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))
			return false;
	return text.len == DIGITS;
}

static bool is_name(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] > '~')
			return false;
	return text.len > 0 && text.len <= SUM_NAME_MAX && text.ptr[0] != ' ' &&
	       text.ptr[text.len - 1] != ' ';
}

static bool read_line(struct span line, struct sum *ret)
{
	struct span digest;

	if (line.len < DIGITS)
		return false;
	digest = span_of(line.ptr, DIGITS);
	line = span_skip(line, DIGITS);
	if (!is_digest(digest) || !parse_literal(&line, "  ") || !is_name(line))
		return false;
	memcpy(ret->sha256, digest.ptr, DIGITS);
	ret->sha256[DIGITS] = '\0';
	ret->name = mem_strndup((const char *)line.ptr, line.len);
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct sum *left = a;
	const struct sum *right = b;

	return strcmp(left->name, right->name);
}

static int by_key(const void *name, const void *item)
{
	return strcmp(name, ((const struct sum *)item)->name);
}

int sums_parse(struct span text, size_t count_max, struct sums *ret, struct err *err)
{
	AUTO_SUMS sums = { .items = NULL };
	size_t cap = 0;
	struct span line;

	while (parse_until(&text, '\n', &line)) {
		if (sums.count == count_max)
			return err_set(err, ERR_LIMIT, "more than %zu lines", count_max);
		if (sums.count == cap) {
			cap = cap ? cap * 2 : 64;
			sums.items = mem_grow(sums.items, cap, sizeof(*sums.items));
		}
		sums.items[sums.count] = (struct sum){ .name = NULL };
		if (!read_line(line, &sums.items[sums.count]))
			return err_set(err, ERR_INVALID,
				       "line %zu is not of the form 'SHA256  NAME'",
				       sums.count + 1);
		sums.count++;
	}
	if (!parse_end(&text))
		return err_set(err, ERR_INVALID, "line %zu has no newline", sums.count + 1);
	if (sums.count > 0)
		qsort(sums.items, sums.count, sizeof(*sums.items), by_name);
	for (size_t i = 1; i < sums.count; i++)
		if (str_eq(sums.items[i - 1].name, sums.items[i].name))
			return err_set(err, ERR_INVALID, "'%s' is there twice", sums.items[i].name);
	ret->items = TAKE_PTR(sums.items);
	ret->count = sums.count;
	sums.count = 0;
	return 0;
}

struct sum *sums_find(const struct sums *sums, const char *name)
{
	if (sums->count == 0)
		return NULL;
	return bsearch(name, sums->items, sums->count, sizeof(*sums->items), by_key);
}
