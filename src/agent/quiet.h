/*
 * The `quiet` request: whether the guest has come to rest after its start, so that a copy of its
 * memory is not one of a machine that is still busy. systemd must have finished and have nothing in
 * its queue; and for a moment the processors must idle, nobody wait for a disk, and no disk work.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/bus.h"
#include "agent/conn.h"
#include "agent/request.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define QUIET_WINDOW_MS	    300 /* how long it is watched */
#define QUIET_BUSY_PERMILLE 50	/* of all processors in that time; a look costs some itself */

/* What is counted from the boot on. */
struct quiet_sample {
	uint64_t busy_ticks;
	uint64_t all_ticks;
	uint64_t blocked;   /* processes that wait for a disk now */
	uint64_t transfers; /* reads and writes that disks have ended */
	uint64_t in_flight; /* those that they are at now */
};

/* Adds what /proc/stat and /proc/diskstats say; false: it is neither. Pure. */
bool quiet_parse_stat(struct span text, struct quiet_sample *sample) MUST_CHECK;
bool quiet_parse_disks(struct span text, struct quiet_sample *sample) MUST_CHECK;

/* Appends why the guest was busy from one to the other; nothing when it was not. Pure. */
void quiet_compare(const struct quiet_sample *first, const struct quiet_sample *second,
		   struct buf *why);

/* The same from the answers of systemd about its state and its queue. Pure. */
void quiet_judge_systemd(const struct bus_value *system_state, const struct bus_value *jobs,
			 struct buf *why);

int quiet_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
