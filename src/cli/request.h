/*
 * Requests to the daemon with their progress shown, one or many side by side: each has a connection
 * of its own, since the daemon answers a connection in order, and one poll loop waits for all.
 * Nothing is printed but progress.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

struct cli;

#define REQUESTS_AT_ONCE \
	32 /* connections: enough to hide all waiting, far below the daemon's 256 */

struct request {
	const char *method; /* borrowed */
	json_t *params;	    /* given to the request when it is sent */
	const char *label;  /* borrowed; shown with its progress, NULL for none */

	int r;		/* the outcome: 0, or negative and `err` is filled */
	json_t *result; /* owned by the request */
	struct err err;
};

void requests_done(struct request *requests, size_t count);

/*
 * Sends one and waits. `params` is given and may be NULL. *ret_fd (may be NULL) is the descriptor
 * that came with the reply. ERR_CANCELLED after a signal: the connection is closed then, which
 * makes the daemon undo what it had begun.
 */
int request_call(struct cli *cli, const char *method, json_t *params, int *ret_fd, json_t **ret,
		 struct err *err) MUST_CHECK;

/*
 * Runs all, at most REQUESTS_AT_ONCE at a time, and returns when each has its outcome. The
 * program's connection serves the first ones; the others get connections of their own.
 */
void requests_run(struct cli *cli, struct request *requests, size_t count);
