/* VMs that continue from another one's present state. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "daemon/private.h"
#include "daemon/vm_capture.h"
#include "model/vm.h"

#define VM_FORK_MAX 100 /* at once: all of them are made, or none */

struct vm_fork_request {
	const char *name; /* of the new VM; of several NAME-1, NAME-2, ...; NULL: made up */
	uint64_t count;	  /* 1 to VM_FORK_MAX */
};

/* What came of it: the new VMs, and what it has cost the old one. */
struct vm_forks {
	struct vm_list vms; /* owned */
	struct vm_captured captured;
	struct strv warnings; /* owned, for the user */
};

void vm_forks_done(struct vm_forks *forks);
#define AUTO_VM_FORKS CLEANUP(vm_forks_done) struct vm_forks

/*
 * Makes `request->count` VMs that run on from where a running or paused VM is now, each with its
 * own memory, disks and identity; the source goes on at once. They have its sizes, NAT and record
 * of a workspace, but publish no ports. When one cannot be made none stays; one that was made when
 * this process ends is whole. `ret` is empty.
 */
int vm_fork(const struct job *job, const char *reference, const struct vm_fork_request *request,
	    struct vm_forks *ret, struct err *err) MUST_CHECK;
