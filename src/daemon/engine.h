/*
 * The engine that runs VMs on this host: looked for once, when it is first needed, and again
 * whenever `doctor` asks, so that a program installed meanwhile is found.
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "vmm/engine.h"

struct config;
struct engine;

/* `config` and `state_dir` are borrowed and outlive it. */
struct engine *engine_new(const struct config *config, const char *state_dir) MUST_CHECK;
void engine_free(struct engine *engine);

/* The decision, as a copy of the caller's own (vmm_decision_done()). */
int engine_get(struct engine *engine, const struct cancel *cancel, struct vmm_decision *ret,
	       struct err *err) MUST_CHECK;

/* Looks at the host anew; `ret` is the caller's (vmm_host_done()). */
int engine_look(struct engine *engine, const struct cancel *cancel, struct vmm_host *ret,
		struct err *err) MUST_CHECK;

/* The choice that the configuration made. */
enum vmm_choice engine_choice(const struct engine *engine);
