/*
 * What a guest sees of the host's processor under KVM: `-cpu host`, and Firecracker without a CPU
 * template, pass its kind and features on. A machine that was captured on one goes on with what it
 * has found there, so it may not be loaded on another, nor on the same with fewer features (after a
 * change of microcode or of the kernel's command line).
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/*
 * Appends the lines of /proc/cpuinfo that say so of the first processor: neither what is of this
 * one alone (its number) nor what changes by itself (its rate). Pure. x86 and Arm; of another
 * there may be none.
 */
void processor_describe(struct span cpuinfo, struct buf *out);

/* The same of this host. */
int processor_read(struct buf *out, struct err *err) MUST_CHECK;
