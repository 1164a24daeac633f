#include "model/snapshot.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

void snapshot_record_init(struct snapshot_record *record)
{
	*record = (struct snapshot_record){ .name = NULL };
}

void snapshot_record_done(struct snapshot_record *record)
{
	if (!record)
		return;

	mem_free(record->name);
	mem_free(record->machine_key);
	for (size_t i = 0; i < ARRAY_LEN(record->files); i++)
		mem_free(record->files[i].name);
	vm_workspace_done(&record->workspace);
	snapshot_record_init(record);
}

void snapshot_record_list_done(struct snapshot_record_list *list)
{
	if (!list)
		return;

	for (size_t i = 0; i < list->count; i++)
		snapshot_record_done(&list->items[i]);
	mem_free(list->items);
	*list = (struct snapshot_record_list){ .items = NULL };
}

struct snapshot_record *snapshot_record_list_add(struct snapshot_record_list *list)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}

	snapshot_record_init(&list->items[list->count]);
	return &list->items[list->count++];
}

static int not_found(const struct snapshot_record_list *list, const char *vm_name,
		     const char *reference, struct err *err)
{
	AUTO_FREE const char **names = mem_alloc(list->count + 1, sizeof(*names));
	const char *nearest;
	int r;

	for (size_t i = 0; i < list->count; i++)
		names[i] = list->items[i].name;
	nearest = text_nearest(reference, names, list->count);
	r = err_set(err, ERR_NOT_FOUND, "'%s' has no snapshot '%.64s'", vm_name, reference);
	if (nearest)
		err_hint(err, "did you mean '%s'?", nearest);
	else if (list->count > 0)
		err_hint(err, "'banger vm snapshot list %s' shows those that there are", vm_name);
	else
		err_hint(err, "'banger vm snapshot create %s' takes one", vm_name);
	return r;
}

int snapshot_resolve(const struct snapshot_record_list *list, const char *vm_name,
		     const char *reference, size_t *ret_index, struct err *err)
{
	size_t found = list->count;

	if (str_empty(reference))
		return err_set(err, ERR_INVALID,
			       "a snapshot must be named: its name, or the beginning of its id");
	for (size_t i = 0; i < list->count; i++) {
		if (!str_eq(list->items[i].name, reference) &&
		    !str_eq(list->items[i].id, reference))
			continue;
		*ret_index = i;
		return 0;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (!str_starts(list->items[i].id, reference))
			continue;
		if (found < list->count)
			return err_set(err, ERR_INVALID,
				       "'%.64s' is the beginning of more than one snapshot's id",
				       reference);
		found = i;
	}
	if (found == list->count)
		return not_found(list, vm_name, reference, err);
	*ret_index = found;
	return 0;
}

static bool is_taken(const struct snapshot_record_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i].name, name))
			return true;
	}
	return false;
}

int snapshot_choose_name(const struct snapshot_record_list *list, const char *vm_name,
			 const char *name, char **ret, struct err *err)
{
	char chosen[VM_NAME_SIZE];
	int r;

	r = name ? name_check_snapshot(name, err) : 0;
	if (r < 0)
		return r;
	if (list->count >= SNAPSHOTS_MAX) {
		r = err_set(err, ERR_LIMIT, "'%s' has %d snapshots, which is the limit", vm_name,
			    SNAPSHOTS_MAX);
		err_hint(err, "'banger vm snapshot delete %s SNAPSHOT' makes room", vm_name);
		return r;
	}
	if (name && is_taken(list, name)) {
		r = err_set(err, ERR_EXISTS, "'%s' has a snapshot named '%s' already", vm_name,
			    name);
		err_hint(err,
			 "choose another name, or delete it with 'banger vm snapshot delete %s %s'",
			 vm_name, name);
		return r;
	}
	/* One of as many names as there are snapshots, and one more, is free. */
	for (size_t i = 0; !name && i <= list->count; i++) {
		(void)snprintf(chosen, sizeof(chosen), "snap%zu", i);
		if (!is_taken(list, chosen))
			break;
	}
	*ret = mem_strdup(name ? name : chosen);
	return 0;
}

json_t *snapshot_to_json(const struct snapshot_record *record, const char *vm_name,
			 const char *directory)
{
	json_t *json = json_new_object();
	AUTO_BUF time = BUF_INIT;

	clock_format_utc(&time, record->created_at);
	json_put_str(json, "id", record->id);
	json_put_str(json, "name", record->name);
	json_put_str(json, "vm", record->vm_id);
	json_put_str(json, "vm_name", vm_name);
	json_put_u64(json, "vcpu", record->vcpu);
	json_put_u64(json, "memory_bytes", record->memory_bytes);
	json_put_u64(json, "disk_bytes", record->work_bytes);
	json_put_u64(json, "system_overlay_bytes", record->system_bytes);
	json_put_u64(json, "used_bytes", record->used_bytes);
	json_put_u64(json, "pause_us", record->pause_us);
	json_put_str(json, "created_at", time.ptr);
	json_put_str(json, "directory", directory);
	return json;
}
