#include "model/vm.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

static const char *const state_names[] = {
	[VM_CREATED] = "created", [VM_RUNNING] = "running", [VM_PAUSED] = "paused",
	[VM_STOPPED] = "stopped", [VM_ERROR] = "error",
};
_Static_assert(ARRAY_LEN(state_names) == VM_STATE_COUNT, "every state has a name");

static const char *const intent_names[] = {
	[VM_INTENT_NONE] = NULL,	   [VM_INTENT_CREATE] = "create",
	[VM_INTENT_START] = "start",	   [VM_INTENT_STOP] = "stop",
	[VM_INTENT_DELETE] = "delete",	   [VM_INTENT_SET] = "set",
	[VM_INTENT_SNAPSHOT] = "snapshot", [VM_INTENT_RESTORE] = "restore",
};
_Static_assert(ARRAY_LEN(intent_names) == VM_INTENT_COUNT, "every intent has a name");

void vm_set_text(char **slot, const char *text)
{
	char *copy = mem_strdup(text);

	mem_free(*slot);
	*slot = copy;
}

void vm_spec_init(struct vm_spec *spec)
{
	*spec = (struct vm_spec){ .vcpu = 0 };
}

void vm_spec_done(struct vm_spec *spec)
{
	if (!spec)
		return;

	mem_free(spec->image);
	mem_free(spec->kernel);
	vm_spec_init(spec);
}

void vm_spec_copy(struct vm_spec *to, const struct vm_spec *from)
{
	*to = *from;
	to->image = mem_strdup(from->image);
	to->kernel = mem_strdup(from->kernel);
}

void vm_init(struct vm *vm)
{
	*vm = (struct vm){ .state = VM_CREATED };
}

/* Every owned string of a VM outside its spec: lists for releasing and copying. */
static const size_t vm_texts[] = {
	offsetof(struct vm, name),	 offsetof(struct vm, intent_step),
	offsetof(struct vm, last_error), offsetof(struct vm, ip),
	offsetof(struct vm, boot_id),	 offsetof(struct vm, tap_name),
	offsetof(struct vm, dm_name),	 offsetof(struct vm, loop_names),
};

static const size_t workspace_texts[] = {
	offsetof(struct vm_workspace, guest_path), offsetof(struct vm_workspace, host_path),
	offsetof(struct vm_workspace, head),	   offsetof(struct vm_workspace, fingerprint),
	offsetof(struct vm_workspace, branch),	   offsetof(struct vm_workspace, from),
	offsetof(struct vm_workspace, mode),
};

static char **text_at(void *object, size_t offset)
{
	return (char **)(void *)((char *)object + offset);
}

void vm_workspace_done(struct vm_workspace *workspace)
{
	for (size_t i = 0; i < ARRAY_LEN(workspace_texts); i++)
		mem_free(*text_at(workspace, workspace_texts[i]));
	*workspace = (struct vm_workspace){ .guest_path = NULL };
}

void vm_workspace_copy(struct vm_workspace *to, const struct vm_workspace *from)
{
	struct vm_workspace copy = *from;

	for (size_t i = 0; i < ARRAY_LEN(workspace_texts); i++) {
		char **text = text_at(&copy, workspace_texts[i]);

		*text = mem_strdup(*text);
	}
	vm_workspace_done(to);
	*to = copy;
}

void vm_done(struct vm *vm)
{
	if (!vm)
		return;

	vm_spec_done(&vm->spec);
	for (size_t i = 0; i < ARRAY_LEN(vm_texts); i++)
		mem_free(*text_at(vm, vm_texts[i]));
	vm_workspace_done(&vm->workspace);
	vm_init(vm);
}

void vm_copy(struct vm *to, const struct vm *from)
{
	*to = *from;
	vm_spec_copy(&to->spec, &from->spec);
	to->workspace = (struct vm_workspace){ .guest_path = NULL };
	vm_workspace_copy(&to->workspace, &from->workspace);
	for (size_t i = 0; i < ARRAY_LEN(vm_texts); i++) {
		char **text = text_at(to, vm_texts[i]);

		*text = mem_strdup(*text);
	}
}

void vm_list_done(struct vm_list *list)
{
	if (!list)
		return;

	for (size_t i = 0; i < list->count; i++)
		vm_done(&list->items[i]);
	mem_free(list->items);
	*list = (struct vm_list){ .items = NULL };
}

struct vm *vm_list_add(struct vm_list *list)
{
	struct vm *vm;

	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}

	vm = &list->items[list->count++];
	vm_init(vm);
	return vm;
}

const char *vm_state_name(enum vm_state state)
{
	return state_names[state];
}

bool vm_state_from_name(const char *name, enum vm_state *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
		if (!str_eq(name, state_names[i]))
			continue;
		*ret = (enum vm_state)i;
		return true;
	}
	return false;
}

const char *vm_intent_name(enum vm_intent intent)
{
	return intent_names[intent];
}

bool vm_intent_from_name(const char *name, enum vm_intent *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(intent_names); i++) {
		if (!str_eq(name, intent_names[i]))
			continue;
		*ret = (enum vm_intent)i;
		return true;
	}
	return false;
}

/* The time as RFC 3339, or null for 0. */
static void put_time(json_t *object, const char *key, int64_t seconds)
{
	AUTO_BUF text = BUF_INIT;

	if (seconds == 0) {
		json_put_str(object, key, NULL);
		return;
	}

	clock_format_utc(&text, seconds);
	json_put_str(object, key, text.ptr);
}

static json_t *workspace_to_json(const struct vm_workspace *workspace)
{
	json_t *object;

	if (!workspace->guest_path)
		return json_null();

	object = json_new_object();
	json_put_str(object, "guest_path", workspace->guest_path);
	json_put_str(object, "host_path", workspace->host_path);
	json_put_str(object, "head", workspace->head);
	json_put_str(object, "fingerprint", workspace->fingerprint);
	json_put_str(object, "branch", workspace->branch);
	json_put_str(object, "from", workspace->from);
	json_put_str(object, "mode", workspace->mode);
	json_put_bool(object, "include_untracked", workspace->has_untracked);
	json_put_bool(object, "pending", workspace->is_pending);
	return object;
}

static json_t *ports_to_json(const struct vm_spec *spec, uint64_t open)
{
	json_t *list = json_new_array();

	for (size_t i = 0; i < spec->port_count; i++) {
		const struct vm_port *port = &spec->ports[i];
		json_t *object = json_new_object();
		AUTO_BUF address = BUF_INIT;

		vm_address_format(&address, port->address);
		json_put_str(object, "address", address.ptr);
		json_put_u64(object, "host", port->host);
		json_put_u64(object, "guest", port->guest);
		json_put_bool(object, "open", (open >> i & 1) != 0);
		json_add(list, object);
	}
	return list;
}

static void put_snapshots(json_t *object, const struct strv *names)
{
	json_t *list;

	if (!names) {
		json_put_str(object, "snapshots", NULL);
		return;
	}
	list = json_new_array();
	for (size_t i = 0; i < names->count; i++)
		json_add(list, json_new_str(names->items[i]));
	json_put(object, "snapshots", list);
}

static void put_runtime(json_t *object, const struct vm_runtime *runtime)
{
	json_put_str(object, "engine", runtime->engine);
	json_put_str(object, "accelerator", runtime->accelerator);
	if (runtime->pid > 0)
		json_put_i64(object, "pid", runtime->pid);
	else
		json_put_str(object, "pid", NULL);
	if (runtime->has_disk_used)
		json_put_u64(object, "disk_used_bytes", runtime->disk_used_bytes);
	else
		json_put_str(object, "disk_used_bytes", NULL);
	put_snapshots(object, runtime->snapshots);
	json_put_str(object, "directory", runtime->directory);
	json_put_str(object, "console_log", runtime->console_log);
	json_put_str(object, "vmm_log", runtime->vmm_log);
}

json_t *vm_to_json(const struct vm *vm, const struct vm_runtime *runtime)
{
	static const struct vm_runtime none = { .engine = NULL };
	const struct vm_spec *spec = &vm->spec;
	json_t *object = json_new_object();

	json_put_str(object, "id", vm->id);
	json_put_str(object, "name", vm->name);
	json_put_str(object, "state", vm_state_name(vm->state));
	json_put_str(object, "image", spec->image);
	json_put_str(object, "kernel", spec->kernel);
	json_put_u64(object, "vcpu", spec->vcpu);
	json_put_u64(object, "memory_bytes", spec->memory_bytes);
	json_put_u64(object, "disk_bytes", spec->disk_bytes);
	json_put_u64(object, "system_overlay_bytes", spec->system_overlay_bytes);
	json_put_bool(object, "nat", spec->nat);
	json_put(object, "ports", ports_to_json(spec, runtime ? runtime->ports_open : 0));
	json_put_str(object, "ip", vm->ip);
	json_put_bool(object, "ephemeral", vm->ephemeral);
	put_time(object, "created_at", vm->created_at);
	put_time(object, "started_at", vm->started_at);
	json_put_str(object, "last_error",
		     runtime && runtime->trouble ? runtime->trouble : vm->last_error);
	json_put(object, "workspace", workspace_to_json(&vm->workspace));
	put_runtime(object, runtime ? runtime : &none);
	return object;
}
