/*
 * Looking: what the rows say beside what the system has, made into a plan. Nothing is changed. The
 * rule that keeps looking safe while others work: what the system has is listed before the rows
 * are, since a row is there before the first of its things and goes after the last.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "daemon/plan.h"
#include "daemon/vmm_search.h"

struct daemon;

/*
 * What is known of one VM whose lock is held. `found` are VMMs as vmm_search() has them; NULL: they
 * are looked for if need be.
 */
int look_at_vm(struct daemon *daemon, const struct vm *vm, const struct vmm_sightings *found,
	       struct vm_facts *ret, struct err *err) MUST_CHECK;

/* The names of things that are each called after a VM, whether there is such a VM or not. */
struct look_names {
	struct strv folders; /* of the folder of VMs */
	struct strv sockets; /* of the runtime folder's: the beginnings of ids */
	struct strv cgroups;
};

int look_for_names(struct daemon *daemon, struct look_names *ret, struct err *err) MUST_CHECK;
void look_names_done(struct look_names *names);
#define AUTO_LOOK_NAMES CLEANUP(look_names_done) struct look_names

/* Adds what belongs to no VM of those, which were read after the names: PLAN_END for VMMs,
 * PLAN_REMOVE with the path or the cgroup's VM as its object, PLAN_LEAVE. */
void look_for_strays(struct daemon *daemon, const struct vmm_sightings *found,
		     const struct look_names *names, const struct vm_list *vms, struct plan *plan);

/*
 * The whole plan, for doctor. `is_start`: what a daemon that starts now would do; else what the
 * next pass of this one would do, VMs that somebody is at left out.
 */
int look_at_all(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
	MUST_CHECK;

/* The VM with that id, or NULL. */
const struct vm *look_find_vm(const struct vm_list *vms, const char *id) MUST_CHECK;
