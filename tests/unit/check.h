/* cmocka with its prerequisites, and comparisons that print both values and the row of a table
 * test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

/* Says which row of a table failed before the assertion that follows ends the test. */
#define CHECK_ROW(row, condition)                                                               \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			print_error("row %zu (%s): %s\n", (size_t)(row), __func__, #condition); \
			fail();                                                                 \
		}                                                                               \
	} while (0)

#define CHECK_STR(got, wanted)                                                                \
	do {                                                                                  \
		const char *got_ = (got), *wanted_ = (wanted);                                \
		if (!got_ || !wanted_ || strcmp(got_, wanted_) != 0) {                        \
			print_error("%s:%d: got \"%s\", wanted \"%s\"\n", __FILE__, __LINE__, \
				    got_ ? got_ : "(null)", wanted_ ? wanted_ : "(null)");    \
			fail();                                                               \
		}                                                                             \
	} while (0)

#define CHECK_HAS(text, part)                                                                   \
	do {                                                                                    \
		const char *text_ = (text), *part_ = (part);                                    \
		if (!text_ || !strstr(text_, part_)) {                                          \
			print_error("%s:%d: \"%s\" does not have \"%s\"\n", __FILE__, __LINE__, \
				    text_ ? text_ : "(null)", part_);                           \
			fail();                                                                 \
		}                                                                               \
	} while (0)

#define CHECK_INT(got, wanted)                                                                    \
	do {                                                                                      \
		const long long got_ = (long long)(got), wanted_ = (long long)(wanted);           \
		if (got_ != wanted_) {                                                            \
			print_error("%s:%d: %s is %lld, wanted %lld\n", __FILE__, __LINE__, #got, \
				    got_, wanted_);                                               \
			fail();                                                                   \
		}                                                                                 \
	} while (0)
