/*
 * What init, the agent and its request processes know together: one page that they share across
 * fork(). Each member has one writer at a time; readers see a whole value.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define STATE_TOKEN_SIZE 257 /* a boot token and its terminator */

enum boot_stage {
	STAGE_ROOT,	/* the root file system is mounted */
	STAGE_WORK,	/* the work disk is at /root, or there is none */
	STAGE_IDENTITY, /* name, keys and network files are written */
	STAGE_INIT,	/* the image's init, or ours, has begun */
	STAGE_COUNT,
};

/* What agent_state.freeze says, modulo FREEZE_STEPS; it only grows. */
enum freeze_step {
	FREEZE_NONE,
	FREEZE_BEGUN,	   /* some may stand still already */
	FREEZE_CALLED_OFF, /* a thaw came meanwhile: whoever began lets all go on */
	FREEZE_HELD,
	FREEZE_ENDING,
	FREEZE_STEPS = 8
};

struct agent_state {
	bool is_booted;		 /* init started this agent: it may change and stop the machine */
	bool has_own_init;	 /* PID 1 is ours, because the image has none */
	bool has_work;		 /* a work disk is mounted at /root */
	_Atomic uint32_t stages; /* a bit for each stage that was reached */
	_Atomic uint32_t freeze; /* whether the file systems stand still: enum freeze_step */
	_Atomic uint32_t token_slot;
	char tokens[2][STATE_TOKEN_SIZE]; /* the one that token_slot names is read, the other
					     written */
};

/* A zeroed page, shared with every process that is forked from now on; NULL when there is no
 * memory. */
struct agent_state *state_new(void) MUST_CHECK;

void state_reach(struct agent_state *state, enum boot_stage stage);
bool state_has_reached(const struct agent_state *state, enum boot_stage stage);

/* The stable word of a stage ("root"). */
const char *state_stage_name(enum boot_stage stage);

/* `token` is cut to what fits. */
void state_set_token(struct agent_state *state, const char *token);
const char *state_token(const struct agent_state *state);
