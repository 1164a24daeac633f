/*
 * Cancellation: an eventfd that becomes readable once, for ever. Every blocking call of the daemon
 * takes one, so that a client that leaves stops its work. Any thread may fire it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct cancel {
	int fd; /* owned eventfd */
};

#define CANCEL_INIT ((struct cancel){ .fd = -1 })

int cancel_init(struct cancel *cancel) MUST_CHECK;
void cancel_done(struct cancel *cancel);
void cancel_fire(struct cancel *cancel);

/* NULL is never cancelled. */
bool cancel_is_fired(const struct cancel *cancel);

/* 0, or ERR_CANCELLED in `err`. */
int cancel_check(const struct cancel *cancel, struct err *err) MUST_CHECK;

/*
 * Waits until `fd` has one of `events` (poll bits; fd -1 only waits), the deadline passes
 * (CLOCK_BOOTTIME, UINT64_MAX for none) or `cancel` (may be NULL) fires. Returns revents > 0,
 * -ETIMEDOUT, -ECANCELED or another -errno.
 */
int cancel_poll(const struct cancel *cancel, int fd, short events, uint64_t deadline_ns) MUST_CHECK;
