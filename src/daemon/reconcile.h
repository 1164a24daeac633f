/*
 * Making the world agree with the database (SPEC 4): at start for everything, every minute for what
 * may have changed by itself. Idempotent; what it does not understand it leaves alone and logs.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct daemon;

/*
 * For the start, before anybody is served: finishes or undoes what an earlier daemon had begun,
 * adopts the VMs that live, notes those that ended, removes what belongs to no VM.
 */
int reconcile_all(struct daemon *daemon, struct err *err) MUST_CHECK;

/* For every minute: VMs that are said to run and do not; ephemeral ones whose client is gone. */
void reconcile_pass(struct daemon *daemon);
