/*
 * The only door to the heap. Small allocations end the process when memory is gone: the daemon is
 * crash-only and reconciles when it starts. An allocation whose size comes from a peer uses
 * mem_try_alloc() after a limit check.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

/* The exit status of a process that has ended so, for whoever started it. */
#define MEM_EXIT_STATUS 112

/* Returns zeroed memory for `count` elements of `size` bytes; ends on overflow or exhaustion. */
void *mem_alloc(size_t count, size_t size) MUST_CHECK;

/* The same, but NULL when it cannot be had. */
void *mem_try_alloc(size_t count, size_t size) MUST_CHECK;

/* Grows an array; what was there is kept, the rest is not initialised. Ends on failure. */
void *mem_grow(void *ptr, size_t count, size_t size) MUST_CHECK;

/* For libraries' allocations that failed: ends as the others do. */
NORETURN void mem_exhausted(void);

/* NULL is accepted. */
void mem_free(void *ptr);

/* NULL gives NULL. */
char *mem_strdup(const char *text) MUST_CHECK;
char *mem_strndup(const char *text, size_t len) MUST_CHECK;
char *mem_printf(const char *format, ...) MUST_CHECK PRINTF_LIKE(1, 2);

static inline void mem_freep(void *pointer_to_pointer)
{
	void **p = pointer_to_pointer;

	mem_free(*p);
	*p = NULL;
}

#define AUTO_FREE CLEANUP(mem_freep)
