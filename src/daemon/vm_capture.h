/*
 * A running machine in a folder, as it was at one instant: what templates, snapshots and forks are
 * made of, and what VMs go on from instead of booting.
 *
 *     memory              the guest's; VMs that go on from it map it copy-on-write
 *     state               of the devices, as the VMM wrote it
 *     system.*, work.*    the disks
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/private.h"
#include "model/vm.h"

#define VM_CAPTURE_MEMORY "memory"
#define VM_CAPTURE_STATE  "state"

/* Such a folder, for a VM that goes on from it. */
struct vm_origin {
	const char *folder;    /* borrowed, absolute */
	uint64_t system_bytes; /* how large the guest has seen its disks */
	uint64_t work_bytes;
	bool is_template; /* nothing of the user's is in it yet */
};

/* What a capture has cost. */
struct vm_captured {
	uint64_t pause_us;   /* how long the VM stood still; 0 for one that was paused */
	uint64_t used_bytes; /* what the folder occupies */
};

/*
 * Captures a running or paused VM whose lock is held into `folder`, which is empty. A running one
 * goes on in any case, its file systems are clean in the copies, and its open streams stay; in a
 * paused one's copies they are as after a power cut, but for what the memory has. Nothing is on
 * stable storage yet. The intent that is stored meanwhile lets a reconcile do what is left when
 * this process ends half way. On failure the folder is gone.
 * ERR_TIMEOUT when the guest does not come to rest.
 */
int vm_capture(const struct job *job, const struct vm *vm, const char *folder,
	       struct vm_captured *ret, struct err *err) MUST_CHECK;

/* Puts a captured folder on stable storage. */
int vm_capture_sync(const char *folder, struct err *err) MUST_CHECK;

/*
 * For reconcile: a VM that was left standing still, or its file systems, goes on, with the right
 * time. Where the VMM does not answer the intent stays, for another try.
 */
int vm_finish_capture(struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;
