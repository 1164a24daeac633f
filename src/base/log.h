/*
 * JSON lines on standard error (or the file given): time, level, message and keys from a fixed
 * list. Only mains and handlers log; libraries return errors. Thread safe. Text is escaped by the
 * JSON writer.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_COUNT
};

/* The fixed keys; NULL and 0 are left out. */
struct log_fields {
	const char *vm;	       /* id or name */
	const char *operation; /* RPC method or job */
	const char *stage;
	uint64_t elapsed_ms;
	const struct err *err;
};

/* `fd` is borrowed and must outlive the program's logging. */
void log_init(const char *program, int fd, enum log_level level);
void log_set_level(enum log_level level);
int log_level_parse(const char *name, enum log_level *ret) MUST_CHECK;
const char *log_level_name(enum log_level level);

void log_write(enum log_level level, const struct log_fields *fields, const char *format, ...)
	PRINTF_LIKE(3, 4);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
