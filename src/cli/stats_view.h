/* How the answers of vm.stats look to people. Pure but for the buffers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct stats_look {
	size_t width; /* columns; 0: no limit */
	size_t rows;  /* lines; 0: no limit; what does not fit is counted in a last line */
	bool has_colour;
	bool has_bars;
};

/* A table of the VMs, and a line about the host. */
void stats_view_table(const json_t *result, const struct stats_look *look, struct buf *out);

/* One line for each VM, each with the time: "TIME NAME STATE cpu=1.5% memory=..." */
void stats_view_lines(const json_t *result, struct buf *out);

/* "[====      ]" with `part` of `whole`; all of it when there is more. */
void stats_view_bar(uint64_t part, uint64_t whole, struct buf *out);
