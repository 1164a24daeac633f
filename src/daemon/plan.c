#include "daemon/plan.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

static const char *const kind_names[] = {
	[PLAN_UNDO] = "undo",
	[PLAN_FINISH] = "finish",
	[PLAN_ADOPT] = "adopt",
	[PLAN_SET_STATE] = "set-state",
	[PLAN_NOTE_END] = "note-end",
	[PLAN_NOTE_GONE] = "note-gone",
	[PLAN_CLEAN] = "clean",
	[PLAN_DELETE] = "delete",
	[PLAN_SET_ADDRESS] = "set-address",
	[PLAN_END] = "end",
	[PLAN_REMOVE] = "remove",
	[PLAN_RECORD] = "record",
	[PLAN_RESTORE] = "restore",
	[PLAN_LEAVE] = "leave",
};
_Static_assert(ARRAY_LEN(kind_names) == PLAN_KIND_COUNT, "each action needs its name");

const char *plan_kind_name(enum plan_kind kind)
{
	return kind_names[kind];
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		mem_free(plan->items[i].vm_name);
		mem_free(plan->items[i].object);
		mem_free(plan->items[i].reason);
	}
	mem_free(plan->items);
	*plan = (struct plan){ 0 };
}

void plan_add(struct plan *plan, enum plan_kind kind, const char *vm_id, const char *object,
	      const char *reason)
{
	struct plan_action *action;

	plan->items = mem_grow(plan->items, plan->count + 1, sizeof(*plan->items));
	action = &plan->items[plan->count++];
	*action = (struct plan_action){ .kind = kind,
					.object = mem_strdup(object),
					.reason = mem_strdup(reason) };
	if (vm_id)
		(void)snprintf(action->vm_id, sizeof(action->vm_id), "%s", vm_id);
}

void plan_add_vm(struct plan *plan, enum plan_kind kind, const struct vm *vm, const char *object,
		 const char *reason)
{
	plan_add(plan, kind, vm->id, object, reason);
	plan->items[plan->count - 1].vm_name = mem_strdup(vm->name);
}

void plan_put_json(const struct plan *plan, json_t *result)
{
	json_t *actions = json_new_array();
	json_t *left = json_new_array();

	for (size_t i = 0; i < plan->count; i++) {
		const struct plan_action *action = &plan->items[i];
		json_t *json = json_new_object();

		json_put_str(json, "action", plan_kind_name(action->kind));
		json_put_str(json, "vm", action->vm_id[0] ? action->vm_id : NULL);
		json_put_str(json, "name", action->vm_name);
		json_put_str(json, "object", action->object);
		json_put_str(json, "reason", action->reason);
		json_add(action->kind == PLAN_LEAVE ? left : actions, json);
	}
	json_put(result, "actions", actions);
	json_put(result, "left", left);
}

/* --- one VM --- */

enum rest { REST_NONE, REST_LEASE, REST_ALL };

/* What is to be done about each, and looked at beside this: of a VM that is gone nothing, of one
 * that has ended only for whom it lives. */
static const struct {
	enum plan_kind kind;
	enum rest rest;
	const char *reason; /* NULL: nothing is to be done */
} intents[VM_INTENT_COUNT] = {
	[VM_INTENT_NONE] = { .rest = REST_ALL },
	[VM_INTENT_CREATE] = { PLAN_UNDO, REST_NONE, "bangerd ended while it was made" },
	[VM_INTENT_START] = { PLAN_UNDO, REST_LEASE, "bangerd ended while it was started" },
	[VM_INTENT_STOP] = { PLAN_FINISH, REST_LEASE, "it was to stop" },
	[VM_INTENT_DELETE] = { PLAN_FINISH, REST_NONE, "it was to be deleted" },
	[VM_INTENT_SET] = { PLAN_FINISH, REST_ALL, "it was to be changed" },
	[VM_INTENT_SNAPSHOT] = { PLAN_FINISH, REST_ALL, "it stood still while it was copied" },
	[VM_INTENT_RESTORE] = { PLAN_FINISH, REST_LEASE, "it was to have a snapshot's disks" },
};

static enum rest plan_intent(const struct vm *vm, const struct vm_facts *facts, struct plan *plan)
{
	/* Nothing has been done to the VM yet. */
	if (vm->intent == VM_INTENT_RESTORE && !facts->is_decided) {
		plan_add_vm(plan, PLAN_UNDO, vm, vm_intent_name(vm->intent),
			    "bangerd ended before it was restored");
		return REST_ALL;
	}
	if (intents[vm->intent].reason)
		plan_add_vm(plan, intents[vm->intent].kind, vm, vm_intent_name(vm->intent),
			    intents[vm->intent].reason);
	return intents[vm->intent].rest;
}

static char *vmm_text(const struct vm_facts *facts)
{
	return mem_printf("VMM %d", (int)facts->handles.pid);
}

static void plan_adoption(const struct vm *vm, const struct vm_facts *facts, struct plan *plan)
{
	AUTO_FREE char *vmm = vmm_text(facts);

	plan_add_vm(plan, PLAN_ADOPT, vm, vmm,
		    facts->is_noted ? "it runs, and no daemon watches it"
				    : "it runs, and handles.json does not name it");
	/* What is wrong with it is not known: it is watched, not killed. */
	if (!facts->answers)
		plan_add_vm(plan, PLAN_LEAVE, vm, vmm, "it lives, but does not answer");
	/* One that stood still to be copied goes on by what was to be finished. */
	else if (facts->says != vm->state && vm->intent != VM_INTENT_SNAPSHOT)
		plan_add_vm(plan, PLAN_SET_STATE, vm, vm_state_name(facts->says),
			    "its VMM says so");
}

static void plan_cleaning(const struct vm *vm, const struct vm_facts *facts, struct plan *plan)
{
	static const struct {
		unsigned bit;
		const char *name;
	} things[] = { { VM_HAS_HANDLES, "handles.json" },
		       { VM_HAS_SOCKETS, "sockets" },
		       { VM_HAS_CGROUP, "cgroup" },
		       { VM_HAS_DEVICE, "TAP device" } };
	AUTO_BUF text = BUF_INIT;

	if ((facts->is_watched && !facts->has_ended) || facts->has_vmm)
		buf_addf(&text, "VMM %d", (int)facts->handles.pid);
	for (size_t i = 0; i < ARRAY_LEN(things); i++) {
		if ((facts->has & things[i].bit) != 0)
			buf_addf(&text, "%s%s", text.len > 0 ? ", " : "", things[i].name);
	}
	if (text.len > 0 || facts->is_watched)
		plan_add_vm(plan, PLAN_CLEAN, vm, text.len > 0 ? text.ptr : NULL,
			    "it does not run");
}

static void plan_process(const struct vm *vm, const struct vm_facts *facts, struct plan *plan)
{
	if (!vm_state_is_alive(vm->state)) {
		plan_cleaning(vm, facts, plan);
	} else if (facts->is_watched) {
		if (facts->has_ended)
			plan_add_vm(plan, PLAN_NOTE_END, vm, NULL, "its VMM has ended");
	} else if (facts->has_vmm) {
		plan_adoption(vm, facts, plan);
	} else {
		plan_add_vm(plan, PLAN_NOTE_GONE, vm, NULL,
			    facts->is_other_boot ? "the host was rebooted"
						 : "its VMM was gone when bangerd started");
	}
}

void plan_vm(const struct vm *vm, const struct vm_facts *facts, struct plan *plan)
{
	const enum rest rest = plan_intent(vm, facts, plan);

	if (rest == REST_ALL)
		plan_process(vm, facts, plan);
	if (rest != REST_NONE && vm->ephemeral && !facts->is_lease_held)
		plan_add_vm(plan, PLAN_DELETE, vm, NULL, "it was to live as long as its client");
}
