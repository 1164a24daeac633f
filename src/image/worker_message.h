/* Inside src/image: the two lines between the daemon and its image worker. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "ext4/ext4.h"

void worker_write_orders(const struct ext4_options *options, bool has_seed, struct buf *out);
int worker_read_orders(struct span line, struct ext4_options *ret, bool *ret_has_seed,
		       struct err *err) MUST_CHECK;

/* `r` < 0: the answer is `failure`, else `summary`. */
void worker_write_answer(int r, const struct ext4_summary *summary, const struct err *failure,
			 struct buf *out);
/* The worker's error becomes ours. ERR_PROTOCOL for anything that is no answer. */
int worker_read_answer(struct span line, struct ext4_summary *ret, struct err *err) MUST_CHECK;
