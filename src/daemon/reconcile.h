/*
 * Making the world agree with the database (SPEC 4): at start for everything, every minute for what
 * may have changed by itself. First it looks (look.h), which makes a plan (plan.h); then it does
 * that. Idempotent; what it does not understand it leaves alone and logs.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct daemon;
struct vm;

/*
 * For the start, before anybody is served: finishes or undoes what an earlier daemon had begun,
 * adopts the VMs that live, notes those that ended, removes what belongs to no VM.
 */
int reconcile_all(struct daemon *daemon, struct err *err) MUST_CHECK;

/*
 * Puts one VM right whose lock is held, as plan_vm() has it: finishes or undoes what was left half
 * done, adopts its VMM or notes that it has ended, removes what only a running VM has, and erases
 * one that was to live as long as a client that is gone. `vm` is its row.
 */
int reconcile_vm(struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;

/* For every minute: the same for each VM that nobody is at, and what belongs to no VM. */
void reconcile_pass(struct daemon *daemon);
