#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"

/* The one mutable global of the code base: where log lines go. Set once by main, before any thread.
 */
static struct {
	const char *program;
	int fd;
	_Atomic int level;
} sink = { .program = "banger", .fd = STDERR_FILENO, .level = LOG_LEVEL_INFO };

static const char *const level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};
_Static_assert(ARRAY_LEN(level_names) == LOG_LEVEL_COUNT, "each level needs its name");

void log_init(const char *program, int fd, enum log_level level)
{
	sink.program = program;
	sink.fd = fd;
	atomic_store(&sink.level, (int)level);
}

void log_set_level(enum log_level level)
{
	atomic_store(&sink.level, (int)level);
}

int log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (str_eq(name, level_names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	assert((size_t)level < ARRAY_LEN(level_names));
	return level_names[level];
}

static void add_time(json_t *line)
{
	AUTO_BUF text = BUF_INIT;
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return;
	clock_format_utc(&text, now.tv_sec);
	/* Milliseconds before the final Z. */
	buf_truncate(&text, text.len - 1);
	buf_addf(&text, ".%03dZ", (int)(now.tv_nsec / (long)NSEC_PER_MSEC));
	json_put_str(line, "time", text.ptr);
}

static void add_fields(json_t *line, const struct log_fields *fields)
{
	if (fields->vm)
		json_put_str(line, "vm", fields->vm);
	if (fields->operation)
		json_put_str(line, "operation", fields->operation);
	if (fields->stage)
		json_put_str(line, "stage", fields->stage);
	if (fields->elapsed_ms)
		json_put_u64(line, "elapsed_ms", fields->elapsed_ms);
	if (fields->err) {
		json_put_str(line, "error", fields->err->message);
		json_put_str(line, "kind", err_kind_name(fields->err->kind));
	}
}

void log_write(enum log_level level, const struct log_fields *fields, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF out = BUF_INIT;
	AUTO_JSON *line = NULL;
	va_list args;

	if ((int)level < atomic_load(&sink.level))
		return;
	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);

	line = json_new_object();
	add_time(line);
	json_put_str(line, "level", log_level_name(level));
	json_put_str(line, "program", sink.program);
	json_put_str(line, "message", text.ptr);
	if (fields)
		add_fields(line, fields);
	json_write(line, &out);
	buf_add_byte(&out, '\n');
	/* One write a line keeps the lines of several threads apart; a full disk must not stop the
	 * work. */
	IGNORE_RESULT(fd_write_some(sink.fd, buf_span(&out)));
}
