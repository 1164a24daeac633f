/*
 * What reconcile is to do and why, before it is done: actions of a closed list. Looking makes them
 * (look.h), `doctor --plan` prints them, reconcile does them. A world that is as it should be has
 * an empty plan, so one that was just put right has, too.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "daemon/handles.h"
#include "model/vm.h"

enum plan_kind {
	PLAN_UNDO,	  /* create, start, restore: an operation that was begun */
	PLAN_FINISH,	  /* stop, delete, set, snapshot, restore: likewise */
	PLAN_ADOPT,	  /* a VMM that lives, of a VM that is to run */
	PLAN_SET_STATE,	  /* the row gets the state that the VMM says */
	PLAN_NOTE_END,	  /* a VMM that this daemon watched has ended */
	PLAN_NOTE_GONE,	  /* a VMM that nobody watched is gone */
	PLAN_CLEAN,	  /* what only a running VM has, of one that does not run */
	PLAN_DELETE,	  /* an ephemeral VM without its client */
	PLAN_SET_ADDRESS, /* the row gets the address that the VM has */
	PLAN_END,	  /* a VMM of no VM */
	PLAN_REMOVE,	  /* another thing that belongs to no VM */
	PLAN_RECORD,	  /* images and kernels: the record is made to agree with the files */
	PLAN_RESTORE,	  /* bridge and rules of VMs that run */
	PLAN_LEAVE,	  /* what cannot be put right, or is not understood: nothing is done */
	PLAN_KIND_COUNT,
};

/* "undo", "set-state". */
const char *plan_kind_name(enum plan_kind kind);

struct plan_action {
	enum plan_kind kind;
	char vm_id[VM_ID_SIZE]; /* "" when it is about no VM */
	char *vm_name;		/* owned; NULL: no row has that id */
	char *object;		/* owned: what it is done to: a path, a process, a device */
	char *reason;		/* owned */
};

struct plan {
	struct plan_action *items; /* owned */
	size_t count;
};

void plan_done(struct plan *plan);
#define AUTO_PLAN CLEANUP(plan_done) struct plan

/* About a VM: its row, or only an id. `object` may be NULL. All is copied. */
void plan_add_vm(struct plan *plan, enum plan_kind kind, const struct vm *vm, const char *object,
		 const char *reason);
void plan_add(struct plan *plan, enum plan_kind kind, const char *vm_id, const char *object,
	      const char *reason);

/* {"actions": [{"action", "vm", "name", "object", "reason"}], "left": [the same]}: PLAN_LEAVE is
 * no action. Puts both into `result`. */
void plan_put_json(const struct plan *plan, json_t *result);

/* --- what is known of one VM --- */

/* What only a running VM has; bits. */
#define VM_HAS_HANDLES 1U
#define VM_HAS_SOCKETS 2U
#define VM_HAS_CGROUP  4U
#define VM_HAS_DEVICE  8U

struct vm_facts {
	bool is_watched;    /* this daemon has its VMM's process, as `handles` say */
	bool has_ended;	    /* and that has ended */
	bool has_vmm;	    /* else: its VMM lives, as `handles` say */
	bool is_noted;	    /* and handles.json says so */
	bool answers;	    /* and it said that it is this VM's */
	enum vm_state says; /* then: the state that it said */
	struct handles handles;
	bool is_lease_held;
	bool is_decided;    /* VM_INTENT_RESTORE has come so far that it is to be finished */
	bool is_other_boot; /* the row was last started in another boot of this host */
	unsigned has;	    /* VM_HAS_* */
};

/* Adds what is to be done about one VM, in the order in which to do it. Pure. */
void plan_vm(const struct vm *vm, const struct vm_facts *facts, struct plan *plan);
