/* Inside src/image: the worker's confinement; see worker.h for its place in the order of things. */
#pragma once

#include "base/err.h"
#include "base/macros.h"

/*
 * Gives up the user, the parent's reach and all system calls that reading, writing and computing do
 * not need. There is no way back.
 */
int sandbox_enter(struct err *err) MUST_CHECK;
