#include "base/clock.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

uint64_t clock_now_ns(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		abort(); /* the clock exists since Linux 2.6.39 */
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ms(void)
{
	return clock_now_ns() / NSEC_PER_MSEC;
}

uint64_t clock_awake_ms(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
		abort();
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NSEC_PER_MSEC;
}

int64_t clock_wall_seconds(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		abort();
	return now.tv_sec;
}

int clock_poll_ms(uint64_t deadline_ns)
{
	const uint64_t now = clock_now_ns();
	uint64_t left;

	if (deadline_ns == UINT64_MAX)
		return -1;
	if (deadline_ns <= now)
		return 0;
	/* Rounded up, so that waking early does not spin. */
	left = (deadline_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return left > INT_MAX ? INT_MAX : (int)left;
}

void clock_format_utc(struct buf *out, int64_t wall_seconds)
{
	const time_t seconds = (time_t)wall_seconds;
	struct tm parts;
	char text[64];

	if (!gmtime_r(&seconds, &parts) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
		buf_add_str(out, "1970-01-01T00:00:00Z");
		return;
	}
	buf_add_str(out, text);
}
