/*
 * Scripts in a guest, each over a stream of its own: what they read is given, what they say is
 * bounded, and a status other than 0 is an error that quotes it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"
#include "base/span.h"

/* How a guest is reached. */
struct workspace_way {
	/* A new stream to its agent, for one request; the descriptor is the caller's. */
	int (*open)(void *context, int *ret_fd, struct err *err);
	/* Before the first change of a workspace that is there; may be called again. May be NULL.
	 */
	int (*begins)(void *context, struct err *err);
	void *context;			 /* borrowed, as the next two */
	const struct cancel *cancel;	 /* may be NULL */
	const struct progress *progress; /* may be NULL */
};

#define GUEST_SAID_MAX (256UL << 20) /* a manifest of two million files */

struct guest_script {
	const char *text;	 /* for sh */
	const char *const *args; /* $1 and so on; NULL-terminated */
	const char *what;	 /* "look at the workspace": for messages */
	const char *stage;	 /* of the progress of its input; NULL: none */

	/* Its standard input: a descriptor, bytes, or a function as in guest_exec_io. */
	int input_fd; /* -1: one of the others */
	struct span input;
	ssize_t (*read)(void *context, void *into, size_t size, struct err *err);
	void *context; /* borrowed */

	size_t output_max; /* 0: GUEST_SAID_MAX */
	int *ret_status;   /* NULL: another status than 0 is an error */
	int other_status;  /* with ret_status: the one that is none */
};

/* The line of what git has said that says why it failed: its own word for it, or the last. Pure. */
struct span guest_git_reason(struct span said);

/*
 * Starts a script that says nothing and waits for the end of its input: the guest ends it with
 * SIGHUP when *ret_fd, the caller's, is closed or this program is gone.
 */
int guest_script_hold(const struct workspace_way *way, const struct guest_script *script,
		      int *ret_fd, struct err *err) MUST_CHECK;

/* `ret` may be NULL: what it prints is dropped. */
int guest_script_run(const struct workspace_way *way, const struct guest_script *script,
		     struct buf *ret, struct err *err) MUST_CHECK;
