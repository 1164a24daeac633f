#include "vmmshim/journal.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/sink.h"

/* The log sink is one of the few globals that the style allows. */
static struct {
	struct sink sink;
	enum journal_level level;
	bool shows_level;
	bool shows_origin;
	char *module; /* owned; NULL: all */
	const char *id;
} journal = { .sink = { .fd = -1 }, .level = JOURNAL_INFO, .id = "" };

static const struct {
	const char *word;
	enum journal_level level;
} level_words[] = {
	{ "Off", JOURNAL_OFF },	     { "Error", JOURNAL_ERROR }, { "Warn", JOURNAL_WARN },
	{ "Warning", JOURNAL_WARN }, { "Info", JOURNAL_INFO },	 { "Debug", JOURNAL_DEBUG },
	{ "Trace", JOURNAL_TRACE },
};

bool journal_level_parse(const char *word, enum journal_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_words); i++) {
		if (strcasecmp(level_words[i].word, word) == 0) {
			*ret = level_words[i].level;
			return true;
		}
	}
	return false;
}

void journal_init(const char *id)
{
	journal.id = id;
	sink_borrow(&journal.sink, STDERR_FILENO);
}

int journal_configure(const struct journal_settings *settings, struct err *err)
{
	enum journal_level level = JOURNAL_INFO;
	struct sink sink = SINK_INIT;
	if (settings->level && !journal_level_parse(settings->level, &level))
		return err_set(err, ERR_INVALID,
			       "unknown variant `%s`, expected one of `Off`, `Trace`, `Debug`, "
			       "`Info`, `Warn`, `Error`",
			       settings->level);
	if (settings->path) {
		const int r = sink_open(settings->path, &sink);

		if (r < 0)
			return err_set(err, ERR_SYSTEM, "%s (os error %d)", strerrordesc_np(-r),
				       -r);
		sink_done(&journal.sink);
		journal.sink = sink;
	}
	journal.level = level;
	if (settings->show_level)
		journal.shows_level = *settings->show_level;
	if (settings->show_origin)
		journal.shows_origin = *settings->show_origin;
	if (settings->module) {
		mem_free(journal.module);
		journal.module = mem_strdup(settings->module);
	}
	return 0;
}

void journal_done(void)
{
	sink_done(&journal.sink);
	mem_free(journal.module);
	journal.module = NULL;
}

static const char *level_name(enum journal_level level)
{
	static const char *const names[] = { "OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

	return names[level];
}

static void add_time(struct buf *out)
{
	struct timespec now = { 0 };
	struct tm parts;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &parts))
		return;
	buf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%09ld", parts.tm_year + 1900, parts.tm_mon + 1,
		 parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec);
}

void journal_write(enum journal_level level, const char *file, int line, const char *format, ...)
{
	const char *slash = strrchr(file, '/');
	const char *name = slash ? slash + 1 : file;
	AUTO_BUF text = BUF_INIT;
	va_list args;

	if (level > journal.level || (journal.module && !str_starts(name, journal.module)))
		return;
	add_time(&text);
	buf_addf(&text, " [%s:main", journal.id);
	if (journal.shows_level)
		buf_addf(&text, ":%s", level_name(level));
	if (journal.shows_origin)
		buf_addf(&text, ":%s:%d", name, line);
	buf_add_str(&text, "] ");
	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	buf_add_byte(&text, '\n');
	sink_write(&journal.sink, buf_span(&text));
}
