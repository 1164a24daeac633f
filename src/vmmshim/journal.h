/*
 * banger-vmm's log, in Firecracker's form: one human line per message,
 *
 *	2026-11-22T03:00:00.123456789 [ID:main:LEVEL:file.c:42] text
 *
 * with level and origin only where asked for. It goes to standard error until --log-path or PUT
 * /logger name a file or FIFO, never blocks, and a file is bounded (sink.h). Text from outside is
 * escaped by the callers that quote it (err_fill() does) or with text_escape().
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

enum journal_level {
	JOURNAL_OFF,
	JOURNAL_ERROR,
	JOURNAL_WARN,
	JOURNAL_INFO,
	JOURNAL_DEBUG,
	JOURNAL_TRACE,
};

struct journal_settings {
	const char *path;	/* NULL: leave the target as it is */
	const char *level;	/* a word as in Firecracker, any case; NULL: Info */
	const bool *show_level; /* NULL: as it is */
	const bool *show_origin;
	const char
		*module; /* only lines of the source files whose name begins so; NULL: as it is */
};

/* To standard error, level Info. `id` must outlive the journal. */
void journal_init(const char *id);

/* All or nothing. ERR_INVALID for a bad level, ERR_SYSTEM when the file cannot be opened. */
int journal_configure(const struct journal_settings *settings, struct err *err) MUST_CHECK;
void journal_done(void);

/* Whether `word` is a level; any case. */
bool journal_level_parse(const char *word, enum journal_level *ret) MUST_CHECK;

void journal_write(enum journal_level level, const char *file, int line, const char *format, ...)
	PRINTF_LIKE(4, 5);

#define journal_error(...) journal_write(JOURNAL_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define journal_warn(...)  journal_write(JOURNAL_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define journal_info(...)  journal_write(JOURNAL_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define journal_debug(...) journal_write(JOURNAL_DEBUG, __FILE__, __LINE__, __VA_ARGS__)
