#include "daemon/api.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/operations.h"

struct rpc_method *api_methods(size_t *ret_count)
{
	const struct {
		const struct rpc_method *rows;
		size_t count;
	} tables[] = {
		{ api_daemon_methods, api_daemon_method_count },
		{ api_vm_methods, api_vm_method_count },
		{ api_fork_methods, api_fork_method_count },
		{ api_snapshot_methods, api_snapshot_method_count },
		{ api_ssh_methods, api_ssh_method_count },
		{ api_workspace_methods, api_workspace_method_count },
		{ api_stats_methods, api_stats_method_count },
		{ api_image_methods, api_image_method_count },
		{ api_kernel_methods, api_kernel_method_count },
		{ api_template_methods, api_template_method_count },
	};
	struct rpc_method *all;
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		count += tables[i].count;
	all = mem_alloc(count, sizeof(*all));
	count = 0;
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		memcpy(all + count, tables[i].rows, tables[i].count * sizeof(*all));
		count += tables[i].count;
	}
	*ret_count = count;
	return all;
}

json_t *api_strings_json(const struct strv *list)
{
	json_t *json = json_new_array();

	for (size_t i = 0; i < list->count; i++)
		json_add(json, json_new_str(list->items[i]));
	return json;
}

void api_put_time(json_t *json, const char *key, int64_t wall_seconds)
{
	AUTO_BUF text = BUF_INIT;

	clock_format_utc(&text, wall_seconds);
	json_put_str(json, key, wall_seconds ? text.ptr : NULL);
}

struct job api_job(struct rpc_call *call)
{
	return (struct job){ .daemon = rpc_call_context(call),
			     .cancel = rpc_call_cancel(call),
			     .progress = rpc_call_progress(call) };
}

struct watched {
	struct daemon *daemon;
	uint64_t operation;
};

static void note_stage(void *context, const struct progress_event *event)
{
	const struct watched *watched = context;

	operations_stage(watched->daemon->operations, watched->operation, event->stage);
}

/* The VM or artifact that the parameters name first; every such method has it as its first field.
 */
static const char *subject_of(const struct rpc_method *method, const void *params)
{
	const struct json_field *field = method->field_count > 0 ? &method->fields[0] : NULL;

	if (!field || field->type != JSON_FIELD_STRING)
		return NULL;
	return *(char *const *)(const void *)((const char *)params + field->offset);
}

/* Whoever found the disk full does not know what can be done about it. */
static void hint_at_room(struct err *err)
{
	if ((err->errnum == ENOSPC || err->errnum == EDQUOT) && !err->hint[0])
		err_hint(err, "make room: 'banger image cache prune', or delete VMs or images; "
			      "'banger doctor' says how much is left");
}

int api_around(void *context, struct rpc_call *call, const struct rpc_method *method,
	       const void *params, json_t *result, struct err *err)
{
	struct daemon *daemon = context;
	const char *subject = subject_of(method, params);
	const uint64_t began_ns = clock_now_ns();
	struct watched watched = { .daemon = daemon };
	const struct progress observer = { .report = note_stage, .context = &watched };
	struct log_fields fields = { .vm = subject, .operation = method->name };
	int r;

	/* Reading is over before anybody could ask for it or wait for it. */
	if (!(method->flags & RPC_MUTATES))
		return method->handler(call, params, result, err);
	watched.operation =
		operations_begin(daemon->operations, method->name, subject, rpc_call_cancel(call));
	rpc_call_observe(call, &observer);
	r = method->handler(call, params, result, err);
	operations_end(daemon->operations, watched.operation);
	if (r < 0)
		hint_at_room(err);
	/* Kernels and initramfs pass through memory whole; an idle daemon should not keep their
	 * room. */
	(void)malloc_trim(0);

	fields.elapsed_ms = (clock_now_ns() - began_ns) / NSEC_PER_MSEC;
	fields.err = r < 0 ? err : NULL;
	log_write(r < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, &fields, r < 0 ? "failed" : "done");
	return r;
}
