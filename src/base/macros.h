/* The few language extensions that the whole code base uses. */
#pragma once

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
/* For the rare result that changes nothing; gcc does not take a cast to void for an answer. */
#define IGNORE_RESULT(call)                         \
	do {                                        \
		__typeof__(call) ignored_ = (call); \
		(void)ignored_;                     \
	} while (0)
#define PRINTF_LIKE(format_index, first_index) \
	__attribute__((format(printf, format_index, first_index)))
#define NORETURN __attribute__((noreturn))

/* Runs `function(&variable)` when the variable goes out of scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Tells gcc's analyser which function frees what a constructor returns; clang 14 rejects it. */
#if defined(__GNUC__) && !defined(__clang__)
#define OWNED_BY(release) __attribute__((malloc, malloc(release, 1)))
#else
#define OWNED_BY(release)
#endif

/* Gives an owned pointer away: yields it and leaves NULL behind. */
#define TAKE_PTR(pointer)                              \
	__extension__({                                \
		__typeof__(pointer) take_ = (pointer); \
		(pointer) = NULL;                      \
		take_;                                 \
	})

/* Gives an owned descriptor away: yields it and leaves -1 behind. */
#define TAKE_FD(fd)               \
	__extension__({           \
		int take_ = (fd); \
		(fd) = -1;        \
		take_;            \
	})

/* Defines `x_freep` for CLEANUP() from an `x_free(struct TYPE *)`. Ends in what wants a semicolon.
 */
#define DEFINE_FREEP(type, release)                          \
	static inline void release##p(struct type **pointer) \
	{                                                    \
		release(*pointer);                           \
		*pointer = NULL;                             \
	}                                                    \
	struct type
