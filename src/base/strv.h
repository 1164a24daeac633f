/* A growing array of owned strings, always NULL-terminated, so `items` serves as argv or envp. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct strv {
	char **items; /* owned; NULL while empty and never added to */
	size_t count;
	size_t cap;
};

void strv_done(struct strv *list);
#define AUTO_STRV CLEANUP(strv_done) struct strv

void strv_add(struct strv *list, const char *text);
void strv_addf(struct strv *list, const char *format, ...) PRINTF_LIKE(2, 3);
void strv_take(struct strv *list, char *text); /* `text` is given */
bool strv_has(const struct strv *list, const char *text);
void strv_sort(struct strv *list);

/* The items for execve(); never NULL. */
char *const *strv_argv(struct strv *list);
