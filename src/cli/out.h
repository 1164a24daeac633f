/*
 * What the program says. Standard output is data: it is gathered and written at the end, in one go,
 * so that a failure half way leaves nothing half said. Standard error is for people: errors, hints,
 * notes and progress. A reader that goes away (EPIPE) ends the program silently with status 141, as
 * if by SIGPIPE.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define EXIT_FAILED	 1
#define EXIT_USAGE	 2
#define EXIT_BROKEN_PIPE 141 /* 128 + SIGPIPE */
#define EXIT_SIGNAL	 128 /* plus the signal's number */

/* Those that can be read on white and on black: not yellow, blue, cyan or dim. None says what the
 * words beside it do not. */
enum colour {
	COLOUR_NONE,
	COLOUR_RED,
	COLOUR_GREEN,
	COLOUR_MAGENTA,
	COLOUR_BOLD,
};

struct out {
	int out_fd; /* borrowed */
	int err_fd; /* borrowed */
	bool is_json;
	bool is_quiet;
	bool out_is_terminal;
	bool err_is_terminal;
	bool out_has_colour;
	bool err_has_colour;
	size_t out_width;   /* columns; 0 when it is no terminal */
	struct buf pending; /* data for standard output, written by out_flush() */
	bool has_live_line; /* standard error's last line is a progress line that is to be erased */
};

/* Looks at the two descriptors and at NO_COLOR and TERM. */
void out_init(struct out *out, int out_fd, int err_fd);
void out_done(struct out *out);

/* The terminal's width, 80 when it will not say. */
size_t out_terminal_width(int fd);

/* Appends to the pending data. */
void out_addf(struct out *out, const char *format, ...) PRINTF_LIKE(2, 3);
/* Appends the compact form and a newline. */
void out_json(struct out *out, const json_t *json);

/* Writes what is pending: `status`, or another one when writing failed. */
int out_flush(struct out *out, int status) MUST_CHECK;

/* The exit status for a failed write of data, after saying so unless the reader just left. */
int out_write_failed(struct out *out, int r) MUST_CHECK;

/* One error, as two lines or, with --json, as one JSON object. */
void out_error(struct out *out, const struct err *err);

/* The same, and EXIT_FAILED (or 130 when it was cancelled) for the caller to return. */
int out_fail(struct out *out, const struct err *err) MUST_CHECK;

/* The error's object: {"kind","message","hint"}. */
json_t *out_error_json(const struct err *err) MUST_CHECK;

/* Writes to standard error, in place of the live line if there is one. Failures are ignored. */
void out_say(struct out *out, struct span text);

/* A line on standard error unless --quiet. */
void out_note(struct out *out, const char *format, ...) PRINTF_LIKE(2, 3);

/* Wraps text in a colour when `enabled`. */
void out_colour(struct buf *into, bool enabled, enum colour colour, const char *text);
