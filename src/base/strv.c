#include "base/strv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

void strv_done(struct strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		mem_free(list->items[i]);
	mem_free(list->items);
	*list = (struct strv){ 0 };
}

void strv_take(struct strv *list, char *text)
{
	if (list->count + 2 > list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}
	list->items[list->count++] = text;
	list->items[list->count] = NULL;
}

void strv_add(struct strv *list, const char *text)
{
	strv_take(list, mem_strdup(text));
}

void strv_addf(struct strv *list, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	strv_take(list, buf_detach(&text));
}

bool strv_has(const struct strv *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i], text))
			return true;
	}
	return false;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare);
}

char *const *strv_argv(struct strv *list)
{
	static char *const none[1] = { NULL };

	return list->items ? list->items : none;
}
