/*
 * What each verb needs and leads to: one table. Verbs that look into a VM (exec, shell, health) are
 * rows like those that change it, so that every refusal reads the same.
 */
#include "base/text.h"
#include "model/vm.h"

#define IN(state)  (1U << (state))
#define ANY_STATE  (IN(VM_STATE_COUNT) - 1U)
#define SAME_STATE VM_STATE_COUNT

struct verb_row {
	const char *name;
	const char *phrase;   /* "cannot PHRASE 'x'" */
	unsigned int allowed; /* bits of enum vm_state */
	enum vm_state result; /* or SAME_STATE */
};

static const struct verb_row verbs[] = {
	[VM_VERB_START] = { "start", "start", IN(VM_CREATED) | IN(VM_STOPPED) | IN(VM_ERROR),
			    VM_RUNNING },
	[VM_VERB_STOP] = { "stop", "stop", IN(VM_RUNNING) | IN(VM_PAUSED), VM_STOPPED },
	[VM_VERB_RESTART] = { "restart", "restart", ANY_STATE, VM_RUNNING },
	[VM_VERB_KILL] = { "kill", "kill", IN(VM_RUNNING) | IN(VM_PAUSED), VM_STOPPED },
	[VM_VERB_PAUSE] = { "pause", "pause", IN(VM_RUNNING), VM_PAUSED },
	[VM_VERB_RESUME] = { "resume", "resume", IN(VM_PAUSED), VM_RUNNING },
	[VM_VERB_DELETE] = { "delete", "delete", ANY_STATE, SAME_STATE },
	[VM_VERB_SET] = { "set", "change", IN(VM_CREATED) | IN(VM_STOPPED) | IN(VM_ERROR),
			  SAME_STATE },
	[VM_VERB_EXEC] = { "exec", "run a command in", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_SHELL] = { "shell", "open a shell in", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_SSH] = { "ssh", "ssh into", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_CP] = { "cp", "copy files of", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_PORTS] = { "ports", "list the ports of", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_PING] = { "ping", "ping", IN(VM_RUNNING), SAME_STATE },
	[VM_VERB_SNAPSHOT] = { "snapshot", "take a snapshot of", IN(VM_RUNNING) | IN(VM_PAUSED),
			       SAME_STATE },
	[VM_VERB_FORK] = { "fork", "fork", IN(VM_RUNNING) | IN(VM_PAUSED), SAME_STATE },
	[VM_VERB_HEALTH] = { "health", "ask the agent of", IN(VM_RUNNING), SAME_STATE },
};
_Static_assert(ARRAY_LEN(verbs) == VM_VERB_COUNT, "every verb has a row");

static const char *const state_reasons[] = {
	[VM_CREATED] = "it was never started", [VM_RUNNING] = "it is running",
	[VM_PAUSED] = "it is paused",	       [VM_STOPPED] = "it is stopped",
	[VM_ERROR] = "it is in error",
};
_Static_assert(ARRAY_LEN(state_reasons) == VM_STATE_COUNT, "every state has a reason");

const char *vm_verb_name(enum vm_verb verb)
{
	return verbs[verb].name;
}

bool vm_state_is_alive(enum vm_state state)
{
	return state == VM_RUNNING || state == VM_PAUSED;
}

bool vm_intent_lets_run(enum vm_intent intent)
{
	return intent == VM_INTENT_NONE || intent == VM_INTENT_SET || intent == VM_INTENT_SNAPSHOT;
}

bool vm_verb_allowed(enum vm_verb verb, enum vm_state state)
{
	return (verbs[verb].allowed & IN(state)) != 0;
}

enum vm_state vm_verb_result(enum vm_verb verb, enum vm_state before)
{
	return verbs[verb].result == SAME_STATE ? before : verbs[verb].result;
}

/* The one verb that brings the VM to where the refused verb would work. */
static void hint_cure(const struct vm *vm, enum vm_verb verb, struct err *err)
{
	const bool wants_running = (verbs[verb].allowed & IN(VM_RUNNING)) != 0;
	const bool ends_it = verb == VM_VERB_STOP || verb == VM_VERB_KILL;

	if (verb == VM_VERB_SET)
		err_hint(err, "'banger vm stop %s' stops it", vm->name);
	else if (vm->state == VM_PAUSED && (wants_running || verb == VM_VERB_START))
		err_hint(err, "'banger vm resume %s' lets it go on", vm->name);
	else if ((wants_running && !ends_it) || (verb == VM_VERB_RESUME && vm->state != VM_RUNNING))
		err_hint(err, "'banger vm start %s' starts it", vm->name);
}

int vm_check_verb(const struct vm *vm, enum vm_verb verb, struct err *err)
{
	int r;

	if (vm_verb_allowed(verb, vm->state))
		return 0;

	if (vm->state == VM_ERROR && !str_empty(vm->last_error))
		r = err_set(err, ERR_BAD_STATE, "cannot %s '%s': %s (%.200s)", verbs[verb].phrase,
			    vm->name, state_reasons[vm->state], vm->last_error);
	else
		r = err_set(err, ERR_BAD_STATE, "cannot %s '%s': %s", verbs[verb].phrase, vm->name,
			    state_reasons[vm->state]);
	hint_cure(vm, verb, err);
	return r;
}
