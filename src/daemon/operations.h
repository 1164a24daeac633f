/* The table of operations in flight: for daemon.operations.*, and to know whether the daemon is
 * idle. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

struct operations;

struct operations *operations_new(void) MUST_CHECK;
void operations_free(struct operations *operations);

/*
 * Enters one; `method`, `cancel` and `vm` (may be NULL) are borrowed until operations_end(). The
 * number that comes back names it.
 */
uint64_t operations_begin(struct operations *operations, const char *method, const char *vm,
			  struct cancel *cancel) MUST_CHECK;
void operations_end(struct operations *operations, uint64_t id);

/* Its present stage; a copy is kept. */
void operations_stage(struct operations *operations, uint64_t id, const char *stage);

size_t operations_count(struct operations *operations);

/* [{"id","method","vm","stage","elapsed_ms"}], oldest first; owned by the caller. */
json_t *operations_json(struct operations *operations) MUST_CHECK;

/* ERR_NOT_FOUND when there is none (any more). */
int operations_cancel(struct operations *operations, uint64_t id, struct err *err) MUST_CHECK;
