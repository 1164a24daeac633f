/*
 * Whether what a VM was started with is what is here now: copies of it (snapshots, forks) are
 * loaded by that, and it loads only what it could have written. So a VM remembers its key
 * (machine_key.h) in its handles.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "daemon/machine_key.h"
#include "daemon/private.h"
#include "model/vm.h"

struct vmm_decision;

/* Of a VM that is started so. */
int vm_machine_key(const struct daemon *daemon, const struct vm *vm,
		   const struct vmm_decision *decision, bool has_network,
		   char ret[static MACHINE_KEY_SIZE], struct err *err) MUST_CHECK;

/* Of one that were started now. */
int vm_machine_key_now(const struct job *job, const struct vm *vm,
		       char ret[static MACHINE_KEY_SIZE], struct err *err) MUST_CHECK;

/*
 * Of one that runs, if a copy of it could be loaded now; ERR_BAD_STATE says what is not the same.
 * The VM is not touched.
 */
int vm_machine_check(const struct job *job, const struct vm *vm, char ret[static MACHINE_KEY_SIZE],
		     struct err *err) MUST_CHECK;
