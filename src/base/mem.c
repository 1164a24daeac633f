#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

NORETURN void mem_exhausted(void)
{
	static const char text[] = "out of memory\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	_exit(MEM_EXIT_STATUS);
}

void *mem_try_alloc(size_t count, size_t size)
{
	/* calloc(0) may be NULL, which callers would take for exhaustion. */
	return calloc(count ? count : 1, size ? size : 1);
}

void *mem_alloc(size_t count, size_t size)
{
	void *ptr = mem_try_alloc(count, size);

	if (!ptr)
		mem_exhausted();
	return ptr;
}

void *mem_grow(void *ptr, size_t count, size_t size)
{
	void *grown;

	grown = reallocarray(ptr, count ? count : 1, size);
	if (!grown)
		mem_exhausted();
	return grown;
}

void mem_free(void *ptr)
{
	free(ptr);
}

char *mem_strndup(const char *text, size_t len)
{
	char *copy;

	if (!text)
		return NULL;
	copy = mem_alloc(len + 1, 1);
	memcpy(copy, text, len);
	return copy;
}

char *mem_strdup(const char *text)
{
	return text ? mem_strndup(text, strlen(text)) : NULL;
}

char *mem_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		mem_exhausted();
	return text;
}
