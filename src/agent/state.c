#include "agent/state.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

struct agent_state *state_new(void)
{
	void *page = mmap(NULL, sizeof(struct agent_state), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

void state_reach(struct agent_state *state, enum boot_stage stage)
{
	atomic_fetch_or(&state->stages, 1U << stage);
}

bool state_has_reached(const struct agent_state *state, enum boot_stage stage)
{
	return (atomic_load(&state->stages) & 1U << stage) != 0;
}

const char *state_stage_name(enum boot_stage stage)
{
	static const char *const names[STAGE_COUNT] = {
		[STAGE_ROOT] = "root",
		[STAGE_WORK] = "work",
		[STAGE_IDENTITY] = "identity",
		[STAGE_INIT] = "init",
	};

	assert((size_t)stage < STAGE_COUNT);
	return names[stage];
}

void state_set_token(struct agent_state *state, const char *token)
{
	const uint32_t next = 1 - (atomic_load(&state->token_slot) & 1);
	const size_t len = strnlen(token, STATE_TOKEN_SIZE - 1);

	memcpy(state->tokens[next], token, len);
	state->tokens[next][len] = '\0';
	atomic_store(&state->token_slot, next);
}

const char *state_token(const struct agent_state *state)
{
	return state->tokens[atomic_load(&state->token_slot) & 1];
}
