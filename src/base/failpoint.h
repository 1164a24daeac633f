/*
 * Named steps at which a crash test kills the process: `BANGER_FAILPOINT=vm.start.spawned bangerd`.
 * Built only with -Dfailpoints=true; otherwise nothing. `name@N` is the N-th passing of that step;
 * `name:stop` and `name@N:stop` stop the process there, until somebody sends it SIGCONT.
 */
#pragma once

#ifdef BANGER_FAILPOINTS
/* Kills or stops this process when BANGER_FAILPOINT names this step. */
void failpoint(const char *name);
#else
static inline void failpoint(const char *name)
{
	(void)name;
}
#endif
