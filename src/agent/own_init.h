/*
 * PID 1 of an image that has no init: reaps, starts the agent again should it ever die, and ends
 * the machine cleanly: SIGTERM, SIGINT (Ctrl-Alt-Del) and SIGRTMIN+4 switch it off, SIGRTMIN+5
 * restarts it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

#define OWN_INIT_GRACE_MS 5000 /* from SIGTERM to SIGKILL */

struct own_init {
	pid_t agent;			     /* the agent's pid; 0 when it has died */
	uint64_t restart_ns;		     /* when it is started again */
	pid_t (*start_agent)(void *context); /* starts it again: its pid, or < 0 */
	void *context;			     /* borrowed */
};

/*
 * Blocks the signals that own_init_run() waits for, so that none is lost: a signal that is neither
 * blocked nor handled does not reach PID 1. Before the agent is started, which may be asked to shut
 * down at once.
 */
void own_init_prepare(void);

NORETURN void own_init_run(struct own_init *init);
