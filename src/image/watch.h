/*
 * Inside src/image: cancels what waits for a download when the process that it is for has ended, or
 * when the caller cancels. A thread of its own, because the wait is somebody else's function.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

struct watch {
	struct cancel fired;	    /* for those who wait */
	struct cancel stop;	    /* for the thread */
	const struct cancel *outer; /* borrowed; NULL: nobody */
	int pidfd;		    /* borrowed until watch_stop() */
	pthread_t thread;
	bool is_running;
};

#define WATCH_INIT ((struct watch){ .fired = CANCEL_INIT, .stop = CANCEL_INIT, .pidfd = -1 })

/* `watch` must not move until it is stopped. */
int watch_start(struct watch *watch, const struct cancel *outer, int pidfd, struct err *err)
	MUST_CHECK;

/* Ends the thread, if it runs; `fired` stays as it is. */
void watch_stop(struct watch *watch);
void watch_done(struct watch *watch);
