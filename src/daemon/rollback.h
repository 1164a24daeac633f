/*
 * Undoing a half-done operation: each step that worked pushes what takes it back; a failure runs
 * them in reverse order, all of them, and adds what went wrong to the error that is reported.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

struct daemon;

#define ROLLBACK_STEPS_MAX 16

typedef int rollback_undo(struct daemon *daemon, const char *id, struct err *err);

struct rollback {
	struct daemon *daemon; /* borrowed */
	const char *id;	       /* borrowed: the VM's */
	rollback_undo *steps[ROLLBACK_STEPS_MAX];
	size_t count;
};

void rollback_push(struct rollback *rollback, rollback_undo *undo);

/* Runs all steps, newest first; their failures are appended to `err`. Whether all of them worked.
 */
bool rollback_run(struct rollback *rollback, struct err *err) MUST_CHECK;
