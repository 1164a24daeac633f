/* What reconcile decides about a VM, by what is known of it: every state and intent. */
#include "check.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/plan.h"

#define ID "00112233445566778899aabbccddeeff"

/* The names of the actions, with their objects in brackets. */
static void plan_text(const struct plan *plan, struct buf *out)
{
	for (size_t i = 0; i < plan->count; i++)
		buf_addf(out, "%s%s%s%s%s", i > 0 ? " " : "", plan_kind_name(plan->items[i].kind),
			 plan->items[i].object ? "(" : "",
			 plan->items[i].object ? plan->items[i].object : "",
			 plan->items[i].object ? ")" : "");
}

#define VMM              \
	{                \
		.pid = 7 \
	}

static const struct {
	enum vm_state state;
	enum vm_intent intent;
	bool ephemeral;
	struct vm_facts facts;
	const char *wanted;
} rows[] = {
	/* As they should be: nothing. */
	{ VM_CREATED, VM_INTENT_NONE, false, { .has = 0 }, "" },
	{ VM_STOPPED, VM_INTENT_NONE, false, { .is_other_boot = true }, "" },
	{ VM_ERROR, VM_INTENT_NONE, false, { .has = 0 }, "" },
	{ VM_RUNNING, VM_INTENT_NONE, false, { .is_watched = true, .handles = VMM }, "" },
	{ VM_PAUSED, VM_INTENT_NONE, false, { .is_watched = true, .handles = VMM }, "" },
	{ VM_RUNNING, VM_INTENT_NONE, true, { .is_watched = true, .is_lease_held = true }, "" },
	/* What was begun. */
	{ VM_CREATED, VM_INTENT_CREATE, false, { .has = 0 }, "undo(create)" },
	{ VM_STOPPED, VM_INTENT_START, false, { .has_vmm = true, .handles = VMM }, "undo(start)" },
	{ VM_RUNNING, VM_INTENT_STOP, false, { .has_vmm = true }, "finish(stop)" },
	{ VM_RUNNING, VM_INTENT_STOP, true, { .has_vmm = true }, "finish(stop) delete" },
	{ VM_STOPPED, VM_INTENT_START, true, { .is_lease_held = true }, "undo(start)" },
	{ VM_RUNNING, VM_INTENT_DELETE, true, { .has_vmm = true }, "finish(delete)" },
	{ VM_STOPPED, VM_INTENT_SET, false, { .has = 0 }, "finish(set)" },
	{ VM_RUNNING,
	  VM_INTENT_SET,
	  false,
	  { .has_vmm = true,
	    .is_noted = true,
	    .answers = true,
	    .says = VM_RUNNING,
	    .handles = VMM },
	  "finish(set) adopt(VMM 7)" },
	{ VM_RUNNING,
	  VM_INTENT_SNAPSHOT,
	  false,
	  { .has_vmm = true, .is_noted = true, .answers = true, .says = VM_PAUSED, .handles = VMM },
	  "finish(snapshot) adopt(VMM 7)" },
	{ VM_RUNNING, VM_INTENT_SNAPSHOT, false, { .has = 0 }, "finish(snapshot) note-gone" },
	/* A restore that was not decided has done nothing; one that was is finished. */
	{ VM_RUNNING,
	  VM_INTENT_RESTORE,
	  false,
	  { .has_vmm = true, .answers = true, .says = VM_RUNNING, .handles = VMM },
	  "undo(restore) adopt(VMM 7)" },
	{ VM_STOPPED, VM_INTENT_RESTORE, false, { .has = 0 }, "undo(restore)" },
	{ VM_RUNNING,
	  VM_INTENT_RESTORE,
	  false,
	  { .has_vmm = true, .is_decided = true, .handles = VMM },
	  "finish(restore)" },
	/* VMs that are to run. */
	{ VM_RUNNING,
	  VM_INTENT_NONE,
	  false,
	  { .is_watched = true, .has_ended = true },
	  "note-end" },
	{ VM_RUNNING, VM_INTENT_NONE, false, { .has = 0 }, "note-gone" },
	{ VM_PAUSED, VM_INTENT_NONE, false, { .is_other_boot = true }, "note-gone" },
	{ VM_RUNNING,
	  VM_INTENT_NONE,
	  false,
	  { .has_vmm = true, .answers = true, .says = VM_RUNNING, .handles = VMM },
	  "adopt(VMM 7)" },
	{ VM_RUNNING,
	  VM_INTENT_NONE,
	  false,
	  { .has_vmm = true, .answers = true, .says = VM_PAUSED, .handles = VMM },
	  "adopt(VMM 7) set-state(paused)" },
	{ VM_RUNNING,
	  VM_INTENT_NONE,
	  false,
	  { .has_vmm = true, .says = VM_RUNNING, .handles = VMM },
	  "adopt(VMM 7) leave(VMM 7)" },
	{ VM_RUNNING, VM_INTENT_NONE, true, { .is_watched = true }, "delete" },
	{ VM_RUNNING, VM_INTENT_NONE, true, { .has = 0 }, "note-gone delete" },
	/* VMs that are not to. */
	{ VM_STOPPED, VM_INTENT_NONE, false, { .has = VM_HAS_CGROUP }, "clean(cgroup)" },
	{ VM_ERROR,
	  VM_INTENT_NONE,
	  false,
	  { .has = VM_HAS_HANDLES | VM_HAS_SOCKETS | VM_HAS_DEVICE },
	  "clean(handles.json, sockets, TAP device)" },
	{ VM_CREATED,
	  VM_INTENT_NONE,
	  false,
	  { .has_vmm = true, .handles = VMM, .has = VM_HAS_SOCKETS },
	  "clean(VMM 7, sockets)" },
	{ VM_STOPPED,
	  VM_INTENT_NONE,
	  false,
	  { .is_watched = true, .has_ended = true, .handles = VMM },
	  "clean" },
	{ VM_STOPPED, VM_INTENT_NONE, true, { .has = 0 }, "delete" },
	{ VM_STOPPED, VM_INTENT_NONE, true, { .is_lease_held = true }, "" },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm vm = { .id = ID,
				 .name = mem_strdup("box"),
				 .state = rows[i].state,
				 .intent = rows[i].intent,
				 .ephemeral = rows[i].ephemeral };
		AUTO_PLAN plan = { 0 };
		AUTO_BUF text = BUF_INIT;

		plan_vm(&vm, &rows[i].facts, &plan);
		plan_text(&plan, &text);
		CHECK_STR(text.ptr, rows[i].wanted);
		for (size_t k = 0; k < plan.count; k++) {
			CHECK_STR(plan.items[k].vm_id, ID);
			CHECK_STR(plan.items[k].vm_name, "box");
			CHECK_ROW(i, plan.items[k].reason && plan.items[k].reason[0]);
		}
		mem_free(vm.name);
	}
}

/* What is left is no action. */
static void test_json(void **state)
{
	AUTO_JSON *result = json_new_object();
	AUTO_PLAN plan = { 0 };
	AUTO_BUF text = BUF_INIT;

	(void)state;
	plan_add(&plan, PLAN_REMOVE, NULL, "/x", "nobody's");
	plan_add(&plan, PLAN_LEAVE, ID, NULL, "no idea");
	plan_put_json(&plan, result);
	json_write(result, &text);
	CHECK_STR(
		text.ptr,
		"{\"actions\":[{\"action\":\"remove\",\"vm\":null,\"name\":null,\"object\":\"/x\","
		"\"reason\":\"nobody's\"}],\"left\":[{\"action\":\"leave\",\"vm\":\"" ID
		"\",\"name\":null,\"object\":null,\"reason\":\"no idea\"}]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
