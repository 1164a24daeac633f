/*
 * The `freeze` and `thaw` requests: the file systems that lie on disks stand still, with all that
 * was written on the disk, so that a copy of it taken now is clean. Whoever writes meanwhile waits.
 *
 * A host that dies must not leave a guest that waits for ever: the process that froze stays, and
 * thaws at its deadline. A clone of the guest's memory has a copy of that process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/conn.h"
#include "agent/request.h"
#include "agent/state.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define FREEZE_TIMEOUT_MS     10000 /* unless the request says otherwise */
#define FREEZE_TIMEOUT_MAX_MS 60000
#define FREEZE_MOUNTS_MAX     64

struct freeze_mount {
	uint64_t id;
	uint64_t major;
	uint64_t minor;
	struct buf path; /* owned: where it is mounted */
};

/*
 * A line of /proc/self/mountinfo without its newline, if it is a file system that can be written
 * and lies on a device. False, with `ret` untouched, for all others. Pure.
 */
bool freeze_parse_mount(struct span line, struct freeze_mount *ret) MUST_CHECK;

int freeze_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
int thaw_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;

/*
 * Thaws if they stand still; *ret_held says whether they did. A freeze that is on its way fails,
 * and lets go on what it has stopped. 0 or < 0.
 */
int freeze_end(struct agent_state *state, bool *ret_held, struct err *err) MUST_CHECK;
