/*
 * Showing long work on standard error. On a terminal one live line: stage, what is being done, a
 * bar with bytes, rate and time left where the total is known, and the elapsed time. Elsewhere
 * plain lines: one when a stage begins, one when it ends. Nothing with --quiet or --json.
 *
 * Totals come without a unit. Below a MiB they are shown as plain counts, since so small a download
 * is over before anybody reads it; from there on as bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/progress.h"
#include "cli/out.h"

#define PROGRESS_BYTES_FROM (1ULL << 20)

/* What one line shows; strings are borrowed, NULL for none. */
struct progress_line {
	const char *label; /* which of several VMs */
	const char *stage;
	const char *detail;
	uint64_t done;
	uint64_t total;
	uint64_t rate; /* units a second, 0 when unknown */
	uint64_t elapsed_ms;
};

/* One line without newline or control characters, at most `width` columns (0: no limit). */
void progress_line_render(const struct progress_line *line, size_t width, struct buf *out);

struct progress_view {
	struct out *out;   /* borrowed */
	const char *label; /* borrowed; NULL for none */
	bool is_hidden;	   /* another view has the live line at the moment */
	char *stage;	   /* owned; NULL before the first */
	char *detail;	   /* owned */
	uint64_t done;
	uint64_t total;
	uint64_t rate;
	uint64_t stage_started_ms;
	uint64_t sample_ms; /* when the rate was measured last, and what `done` was */
	uint64_t sample_done;
	uint64_t drawn_ms;
};

/* `label` tells VMs side by side apart; NULL when there is only one. */
void progress_view_init(struct progress_view *view, struct out *out, const char *label);

/* Ends the last stage: erases the live line. `is_good` says whether the work succeeded. */
void progress_view_finish(struct progress_view *view, bool is_good);
/* Finishes as failed if that was not done, and releases. */
void progress_view_done(struct progress_view *view);
#define AUTO_PROGRESS_VIEW CLEANUP(progress_view_done) struct progress_view

void progress_view_report(struct progress_view *view, const struct progress_event *event);

/* Draws the live line again when it is due: call it a few times a second while waiting. */
void progress_view_tick(struct progress_view *view);

/* The view as what functions report to. Borrows it. */
struct progress progress_view_sink(struct progress_view *view);
