#include "cli/out.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/wrap.h"

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     20 /* below this a table is no use anyhow */

static const char *const colour_codes[] = {
	[COLOUR_NONE] = "",	     [COLOUR_RED] = "\x1b[31m",
	[COLOUR_GREEN] = "\x1b[32m", [COLOUR_MAGENTA] = "\x1b[35m",
	[COLOUR_BOLD] = "\x1b[1m",
};

/* no-color.org: any value but the empty one; and terminals that say they cannot. */
static bool colour_is_wanted(void)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
	const char *no_colour = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	/* NOLINTEND(concurrency-mt-unsafe) */

	return str_empty(no_colour) && !str_empty(term) && !str_eq(term, "dumb");
}

size_t out_terminal_width(int fd)
{
	struct winsize size = { 0 };

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}

void out_init(struct out *out, int out_fd, int err_fd)
{
	const bool has_colour = colour_is_wanted();

	*out = (struct out){ .out_fd = out_fd, .err_fd = err_fd, .pending = BUF_INIT };
	out->out_is_terminal = isatty(out_fd);
	out->err_is_terminal = isatty(err_fd);
	out->out_has_colour = out->out_is_terminal && has_colour;
	out->err_has_colour = out->err_is_terminal && has_colour;
	out->out_width = out->out_is_terminal ? out_terminal_width(out_fd) : 0;
}

void out_done(struct out *out)
{
	buf_done(&out->pending);
}

void out_addf(struct out *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vaddf(&out->pending, format, args);
	va_end(args);
}

void out_json(struct out *out, const json_t *json)
{
	json_write(json, &out->pending);
	buf_add_byte(&out->pending, '\n');
}

void out_say(struct out *out, struct span text)
{
	int r = 0;

	if (out->has_live_line)
		r = fd_write_all(out->err_fd, span_str("\r\x1b[K"));
	out->has_live_line = false;
	if (r == 0)
		r = fd_write_all(out->err_fd, text);
	(void)r; /* when standard error is gone there is nobody to be told */
}

int out_write_failed(struct out *out, int r)
{
	struct err err = ERR_INIT;

	if (r == -EPIPE)
		return EXIT_BROKEN_PIPE;
	(void)err_sys(&err, r, "write standard output");
	out_error(out, &err);
	return EXIT_FAILED;
}

int out_flush(struct out *out, int status)
{
	int r;

	if (out->pending.len == 0)
		return status;
	r = fd_write_all(out->out_fd, buf_span(&out->pending));
	buf_clear(&out->pending);
	return r < 0 ? out_write_failed(out, r) : status;
}

json_t *out_error_json(const struct err *err)
{
	json_t *json = json_new_object();

	json_put_str(json, "kind", err_kind_name(err->kind));
	json_put_str(json, "message", err->message);
	json_put_str(json, "hint", err->hint[0] ? err->hint : NULL);
	return json;
}

/*
 * What goes on in a line of standard error that has `used` columns. A terminal gets lines that fit,
 * for it would break them in the middle of words; anything else gets one.
 */
static void add_prose(const struct out *out, struct buf *into, size_t used, const char *text)
{
	wrap_hanging(into, text, used, out->err_is_terminal ? out_terminal_width(out->err_fd) : 0);
}

static void add_labelled(const struct out *out, struct buf *into, enum colour colour,
			 const char *label, const char *text)
{
	out_colour(into, out->err_has_colour, colour, label);
	buf_add_byte(into, ' ');
	add_prose(out, into, strlen(label) + 1, text);
}

void out_error(struct out *out, const struct err *err)
{
	AUTO_BUF text = BUF_INIT;

	if (out->is_json) {
		AUTO_JSON *json = json_new_object();

		json_put(json, "error", out_error_json(err));
		json_write(json, &text);
		buf_add_byte(&text, '\n');
		out_say(out, buf_span(&text));
		return;
	}
	add_labelled(out, &text, COLOUR_RED, "banger:", err->message);
	if (err->hint[0])
		add_labelled(out, &text, COLOUR_BOLD, "hint:", err->hint);
	out_say(out, buf_span(&text));
}

int out_fail(struct out *out, const struct err *err)
{
	out_error(out, err);
	return EXIT_FAILED;
}

void out_note(struct out *out, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF lines = BUF_INIT;
	va_list args;

	if (out->is_quiet)
		return;
	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	add_prose(out, &lines, 0, text.ptr);
	out_say(out, buf_span(&lines));
}

void out_colour(struct buf *into, bool enabled, enum colour colour, const char *text)
{
	if (!enabled || colour == COLOUR_NONE) {
		buf_add_str(into, text);
		return;
	}
	buf_add_str(into, colour_codes[colour]);
	buf_add_str(into, text);
	buf_add_str(into, "\x1b[0m");
}
