#include "cli/table.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/width.h"

#define COLUMN_GAP     2
#define READABLE       16 /* less of a name is hard to tell from another's */
#define SHRINK_MIN     8  /* a column is not cut below this */
#define CELL_BYTES_MAX 256

void table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
	assert(column_count <= TABLE_COLUMNS_MAX);
	*table = (struct table){ .columns = columns, .column_count = column_count };
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		mem_free(table->cells[i]);
	mem_free(table->cells);
	mem_free(table->colours);
	*table = (struct table){ .columns = NULL };
}

void table_add_colour(struct table *table, const char *text, enum colour colour)
{
	AUTO_BUF cell = BUF_INIT;

	if (str_empty(text))
		buf_add_byte(&cell, '-');
	else
		text_escape(&cell, span_str(text), CELL_BYTES_MAX);

	if (table->cell_count == table->cell_cap) {
		table->cell_cap = table->cell_cap ? table->cell_cap * 2 : 64;
		table->cells = mem_grow(table->cells, table->cell_cap, sizeof(*table->cells));
		table->colours = mem_grow(table->colours, table->cell_cap, sizeof(*table->colours));
	}
	table->cells[table->cell_count] = buf_detach(&cell);
	table->colours[table->cell_count] = colour;
	table->cell_count++;
}

void table_add(struct table *table, const char *text)
{
	table_add_colour(table, text, COLOUR_NONE);
}

void table_addf(struct table *table, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	table_add(table, text.ptr);
}

void table_add_size(struct table *table, uint64_t bytes)
{
	AUTO_BUF text = BUF_INIT;

	text_size(&text, bytes);
	table_add(table, text.ptr);
}

static void measure(const struct table *table, size_t widths[static TABLE_COLUMNS_MAX])
{
	for (size_t c = 0; c < table->column_count; c++)
		widths[c] = width_of_text(table->columns[c].title);
	for (size_t i = 0; i < table->cell_count; i++) {
		const size_t width = width_of_text(table->cells[i]);
		const size_t c = i % table->column_count;

		if (width > widths[c])
			widths[c] = width;
	}
}

/* A width of 0 is a column left out. */
static size_t total_width(const struct table *table, const size_t widths[static TABLE_COLUMNS_MAX])
{
	size_t total = 0;

	for (size_t c = 0; c < table->column_count; c++)
		total += widths[c] ? widths[c] + COLUMN_GAP : 0;
	return total ? total - COLUMN_GAP : 0;
}

/* The widest column that may still shrink, or column_count. */
static size_t widest_to_shrink(const struct table *table,
			       const size_t widths[static TABLE_COLUMNS_MAX])
{
	size_t widest = table->column_count;

	for (size_t c = 0; c < table->column_count; c++) {
		if (!table->columns[c].may_shrink || widths[c] <= SHRINK_MIN)
			continue;
		if (widest == table->column_count || widths[c] > widths[widest])
			widest = c;
	}
	return widest;
}

/* No row has anything in this column. */
static bool is_empty(const struct table *table, size_t column)
{
	for (size_t i = column; i < table->cell_count; i += table->column_count) {
		if (!str_eq(table->cells[i], "-"))
			return false;
	}
	return true;
}

/* How wide it would be if everything that may shrink did so, but stayed readable. */
static size_t readable_width(const struct table *table,
			     const size_t widths[static TABLE_COLUMNS_MAX])
{
	size_t total = total_width(table, widths);

	for (size_t c = 0; c < table->column_count; c++) {
		if (table->columns[c].may_shrink && widths[c] > READABLE)
			total -= widths[c] - READABLE;
	}
	return total;
}

/* The column to do without, or column_count when all that are left must stay. */
static size_t next_to_go(const struct table *table, const size_t widths[static TABLE_COLUMNS_MAX])
{
	size_t least = table->column_count;

	for (size_t c = 0; c < table->column_count; c++) {
		if (widths[c] == 0 || !table->columns[c].may_go)
			continue;
		if (least == table->column_count ||
		    table->columns[c].worth <= table->columns[least].worth)
			least = c;
	}
	return least;
}

static void fit(const struct table *table, size_t limit, size_t widths[static TABLE_COLUMNS_MAX])
{
	for (size_t c = table->column_count; c-- > 0 && readable_width(table, widths) > limit;) {
		if (table->columns[c].may_go && is_empty(table, c))
			widths[c] = 0;
	}
	while (readable_width(table, widths) > limit) {
		const size_t least = next_to_go(table, widths);

		if (least == table->column_count)
			break;
		widths[least] = 0;
	}
	while (total_width(table, widths) > limit) {
		const size_t widest = widest_to_shrink(table, widths);

		if (widest == table->column_count)
			break;
		widths[widest]--;
	}
}

/* Appends the first `width` columns of the text, the last one as "…" when it is cut. */
static void add_cut(struct buf *out, const char *text, size_t width)
{
	if (width_of_text(text) <= width) {
		buf_add_str(out, text);
		return;
	}
	buf_add(out, span_of(text, width_prefix(span_str(text), width - 1, NULL)));
	buf_add_str(out, "…");
}

static void add_spaces(struct buf *out, size_t count)
{
	while (count-- > 0)
		buf_add_byte(out, ' ');
}

static void render_row(const struct table *table, const size_t widths[static TABLE_COLUMNS_MAX],
		       char *const *cells, const enum colour *colours, struct buf *out)
{
	size_t pending = 0; /* spaces that are only written before more text */

	for (size_t c = 0; c < table->column_count; c++) {
		const char *text = cells ? cells[c] : table->columns[c].title;
		AUTO_BUF cut = BUF_INIT;
		size_t blank;

		if (widths[c] == 0)
			continue;
		add_cut(&cut, text, widths[c]);
		blank = widths[c] - width_of_text(cut.ptr);
		add_spaces(out, pending + (table->columns[c].is_right ? blank : 0));
		out_colour(out, colours != NULL, colours ? colours[c] : COLOUR_NONE, cut.ptr);
		pending = COLUMN_GAP + (table->columns[c].is_right ? 0 : blank);
	}
	buf_add_byte(out, '\n');
}

void table_render(const struct table *table, size_t width, bool has_colour, struct buf *out)
{
	size_t widths[TABLE_COLUMNS_MAX];

	assert(table->column_count > 0 && table->cell_count % table->column_count == 0);
	measure(table, widths);
	if (width > 0)
		fit(table, width, widths);

	render_row(table, widths, NULL, NULL, out);
	for (size_t i = 0; i < table->cell_count; i += table->column_count)
		render_row(table, widths, &table->cells[i], has_colour ? &table->colours[i] : NULL,
			   out);
}
