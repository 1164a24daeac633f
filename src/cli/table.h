/*
 * Tables for people: columns as wide as they must be, in as many as the terminal has. Where it is
 * too narrow, columns that say nothing go first, then those worth least, as long as the rest would
 * be cut to less than is readable; what remains shrinks, the widest first, and ends in "…". A pipe
 * gets everything, uncut. Cells are escaped, so names made by somebody else cannot drive the
 * terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cli/out.h"

#define TABLE_COLUMNS_MAX 16

struct table_column {
	const char *title;
	bool is_right; /* numbers */
	bool may_shrink;
	bool may_go;	/* may be left out altogether */
	unsigned worth; /* of those that may go, what is worth least goes first; among equals the
			   rightmost */
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t column_count;
	char **cells;	      /* owned; row after row */
	enum colour *colours; /* owned; one a cell */
	size_t cell_count;
	size_t cell_cap;
};

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_done(struct table *table);
#define AUTO_TABLE CLEANUP(table_done) struct table

/* Appends one cell; rows fill from left to right. NULL and "" become "-". */
void table_add(struct table *table, const char *text);
void table_add_colour(struct table *table, const char *text, enum colour colour);
void table_addf(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void table_add_size(struct table *table, uint64_t bytes);

/* Lays it out in `width` columns (0: no limit). An empty table is its title line. */
void table_render(const struct table *table, size_t width, bool has_colour, struct buf *out);
