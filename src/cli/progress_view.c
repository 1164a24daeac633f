#include "cli/progress_view.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/width.h"

#define REDRAW_MS     100  /* faster is only flicker */
#define SAMPLE_MS     500  /* of the rate */
#define LEAVE_LINE_MS 1000 /* a stage that took longer leaves its line on the terminal */
#define DETAIL_BYTES  200
#define BAR_CELLS     20
#define BAR_WIDTH_MIN 72 /* narrower terminals go without a bar */

static bool shows_bytes(uint64_t total)
{
	return total >= PROGRESS_BYTES_FROM;
}

static void add_amount(struct buf *out, uint64_t amount, uint64_t total)
{
	if (shows_bytes(total))
		text_size(out, amount);
	else
		buf_addf(out, "%llu", (unsigned long long)amount);
}

/* Whole seconds: tenths that change ten times a second only draw the eye. */
static void add_seconds(struct buf *out, uint64_t seconds)
{
	if (seconds < 60)
		buf_addf(out, "%llu s", (unsigned long long)seconds);
	else
		text_duration(out, seconds * 1000);
}

static void add_bar(struct buf *out, uint64_t done, uint64_t total)
{
	/* Divided before it is multiplied: both may be near the largest number. */
	uint64_t full = total < BAR_CELLS ? done * BAR_CELLS / total : done / (total / BAR_CELLS);

	if (done >= total || full > BAR_CELLS)
		full = BAR_CELLS;

	buf_add_str(out, " [");
	for (uint64_t i = 0; i < BAR_CELLS; i++)
		buf_add_byte(out, i < full ? '=' : i == full ? '>' : ' ');
	buf_add_byte(out, ']');
}

static void add_amounts(struct buf *out, const struct progress_line *line, bool has_bar)
{
	if (has_bar)
		add_bar(out, line->done, line->total);
	buf_add_byte(out, ' ');
	add_amount(out, line->done, line->total);
	buf_add_byte(out, '/');
	add_amount(out, line->total, line->total);
	if (line->rate == 0)
		return;
	if (shows_bytes(line->total)) {
		buf_add_str(out, ", ");
		text_size(out, line->rate);
		buf_add_str(out, "/s");
	}
	if (line->done < line->total) {
		const uint64_t left_s = (line->total - line->done) / line->rate;

		buf_add_str(out, ", ");
		add_seconds(out, left_s);
		buf_add_str(out, " left");
	}
}

static void cut_to_width(struct buf *text, size_t width)
{
	buf_truncate(text, width_prefix(buf_span(text), width, NULL));
}

void progress_line_render(const struct progress_line *line, size_t width, struct buf *out)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF elapsed = BUF_INIT;

	if (line->label) {
		text_escape(&text, span_str(line->label), DETAIL_BYTES);
		buf_add_str(&text, ": ");
	}
	text_escape(&text, span_str(line->stage), DETAIL_BYTES);
	if (!str_empty(line->detail)) {
		buf_add_str(&text, ": ");
		text_escape(&text, span_str(line->detail), DETAIL_BYTES);
	}
	if (line->total > 0)
		add_amounts(&text, line, width == 0 || width >= BAR_WIDTH_MIN);

	add_seconds(&elapsed, line->elapsed_ms / 1000);
	if (width > elapsed.len + 2)
		cut_to_width(&text, width - elapsed.len - 2);
	buf_addf(&text, "  %s", elapsed.ptr);
	if (width > 0)
		cut_to_width(&text, width);
	buf_add(out, buf_span(&text));
}

static bool is_silent(const struct progress_view *view)
{
	return view->out->is_quiet || view->out->is_json;
}

static void draw(struct progress_view *view)
{
	const uint64_t now_ms = clock_now_ms();
	const struct progress_line line = {
		.label = view->label,
		.stage = view->stage,
		.detail = view->detail,
		.done = view->done,
		.total = view->total,
		.rate = view->rate,
		.elapsed_ms = now_ms - view->stage_started_ms,
	};
	AUTO_BUF text = BUF_INIT;

	/* One column is left free: some terminals wrap when the last one is written. */
	progress_line_render(&line, out_terminal_width(view->out->err_fd) - 1, &text);
	out_say(view->out, buf_span(&text));
	view->out->has_live_line = true;
	view->drawn_ms = now_ms;
}

static void add_stage_line(const struct progress_view *view, struct buf *text, const char *what)
{
	if (view->label) {
		text_escape(text, span_str(view->label), DETAIL_BYTES);
		buf_add_str(text, ": ");
	}
	text_escape(text, span_str(view->stage), DETAIL_BYTES);
	buf_addf(text, ": %s", what);
}

static void end_stage(struct progress_view *view, bool is_good)
{
	const uint64_t elapsed_ms = clock_now_ms() - view->stage_started_ms;
	AUTO_BUF text = BUF_INIT;

	if (!view->stage)
		return;
	if (!is_silent(view)) {
		if (!view->out->err_is_terminal || elapsed_ms >= LEAVE_LINE_MS) {
			add_stage_line(view, &text, is_good ? "done in " : "given up after ");
			text_duration(&text, elapsed_ms);
			buf_add_byte(&text, '\n');
		}
		out_say(view->out, buf_span(&text));
	}
	mem_free(view->stage);
	mem_free(view->detail);
	view->stage = NULL;
	view->detail = NULL;
}

static void begin_stage(struct progress_view *view, const struct progress_event *event)
{
	AUTO_BUF text = BUF_INIT;

	view->stage = mem_strdup(event->stage);
	view->stage_started_ms = clock_now_ms();
	view->rate = 0;
	view->sample_ms = view->stage_started_ms;
	view->sample_done = event->done;
	if (is_silent(view) || view->out->err_is_terminal)
		return;
	add_stage_line(view, &text, "");
	if (str_empty(event->detail))
		buf_add_str(&text, "begun");
	else
		text_escape(&text, span_str(event->detail), DETAIL_BYTES);
	buf_add_byte(&text, '\n');
	out_say(view->out, buf_span(&text));
}

static void measure(struct progress_view *view)
{
	const uint64_t now_ms = clock_now_ms();
	const uint64_t passed_ms = now_ms - view->sample_ms;
	uint64_t rate;

	if (view->done < view->sample_done) { /* the next file of the same stage */
		view->sample_done = view->done;
		view->sample_ms = now_ms;
		view->rate = 0;
		return;
	}
	if (passed_ms < SAMPLE_MS)
		return;
	rate = (view->done - view->sample_done) * 1000 / passed_ms;
	/* Half old, half new: steady enough to read, quick enough to be true. */
	view->rate = view->rate ? (view->rate + rate) / 2 : rate;
	view->sample_ms = now_ms;
	view->sample_done = view->done;
}

void progress_view_init(struct progress_view *view, struct out *out, const char *label)
{
	*view = (struct progress_view){ .out = out, .label = label };
}

void progress_view_finish(struct progress_view *view, bool is_good)
{
	end_stage(view, is_good);
}

void progress_view_done(struct progress_view *view)
{
	end_stage(view, false);
}

void progress_view_report(struct progress_view *view, const struct progress_event *event)
{
	if (!view->stage || !str_eq(view->stage, event->stage)) {
		end_stage(view, true);
		begin_stage(view, event);
	}
	mem_free(view->detail);
	view->detail = mem_strdup(event->detail);
	view->done = event->done;
	view->total = event->total;
	measure(view);
	progress_view_tick(view);
}

void progress_view_tick(struct progress_view *view)
{
	if (!view->stage || view->is_hidden || is_silent(view) || !view->out->err_is_terminal)
		return;
	if (!view->out->has_live_line || clock_now_ms() - view->drawn_ms >= REDRAW_MS)
		draw(view);
}

static void sink_report(void *context, const struct progress_event *event)
{
	progress_view_report(context, event);
}

struct progress progress_view_sink(struct progress_view *view)
{
	return (struct progress){ .report = sink_report, .context = view };
}
