/* Time: nanoseconds on CLOCK_BOOTTIME; wall-clock time only for what people read. */
#pragma once

#include <stdint.h>

#include "base/buf.h"

#define NSEC_PER_SEC  1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL

uint64_t clock_now_ns(void);
uint64_t clock_now_ms(void);

/*
 * CLOCK_MONOTONIC: milliseconds since the host's boot without those for which it was suspended.
 * Only for how long something lay unused: a night's sleep of the host is no use and no disuse.
 */
uint64_t clock_awake_ms(void);

/* Seconds since 1970, UTC. */
int64_t clock_wall_seconds(void);

/* Milliseconds left until `deadline_ns`, 0 when it has passed, capped for poll(). */
int clock_poll_ms(uint64_t deadline_ns);

/* RFC 3339 with seconds, in UTC: "2026-11-22T03:00:00Z". */
void clock_format_utc(struct buf *out, int64_t wall_seconds);
