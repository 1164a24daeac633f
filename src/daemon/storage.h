/*
 * Where memory and disks of VMs are kept: they should be on this machine. On a file system of
 * another, all that a guest has in memory crosses the network when it is captured or cloned, in the
 * clear as a rule; locks may not hold, and it is slow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

struct daemon;

/* The kind of file system ("ext4") of a mount, by its number in the text of /proc/self/mountinfo;
 * whether it is there. Pure. */
bool storage_kind_of(struct span mountinfo, uint64_t mount_id, struct span *ret);

/* Whether another machine keeps the files of such a kind. Pure. */
bool storage_kind_is_remote(struct span kind);

/*
 * Whether the state folder, that of VMs or that of templates is remote; appends which, and what it
 * is on. Of none that is, it tells what the state folder is on, or nothing when that is unknown.
 */
bool storage_describe(const struct daemon *daemon, struct buf *out);

/* Logs it if one is. */
void storage_warn(const struct daemon *daemon);

#define STORAGE_HINT                                                                      \
	"the memory of VMs crosses the network, locks may not hold, and it is slow: set " \
	"BANGER_STATE_DIR to a folder of this machine"
