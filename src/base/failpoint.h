/*
 * Named steps at which a crash test kills the process: `BANGER_FAILPOINT=vm.start.spawned bangerd`.
 * Built only with -Dfailpoints=true; otherwise nothing. `name@N` stops at the N-th passing of that
 * step.
 */
#pragma once

#ifdef BANGER_FAILPOINTS
/* Kills this process with SIGKILL when BANGER_FAILPOINT names this step. */
void failpoint(const char *name);
#else
static inline void failpoint(const char *name)
{
	(void)name;
}
#endif
