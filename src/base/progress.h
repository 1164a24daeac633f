/* How long work tells its caller where it is. Called from the worker's thread; must not block for
 * long. */
#pragma once

#include <stdint.h>

struct progress_event {
	const char *stage;  /* stable word: "image", "kernel", "boot", ... */
	const char *detail; /* for people; may be NULL */
	uint64_t done;	    /* in bytes or items; 0 with total 0 when unknown */
	uint64_t total;
};

struct progress {
	void (*report)(void *context, const struct progress_event *event);
	void *context; /* borrowed */
};

/* `progress` may be NULL: then nobody listens. */
static inline void progress_report(const struct progress *progress, const char *stage,
				   const char *detail, uint64_t done, uint64_t total)
{
	const struct progress_event event = {
		.stage = stage, .detail = detail, .done = done, .total = total
	};

	if (progress && progress->report)
		progress->report(progress->context, &event);
}
