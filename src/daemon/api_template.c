/* template.* */
#include "daemon/api.h"

#include "base/json.h"
#include "base/mem.h"
#include "daemon/template_build.h"
#include "daemon/templates.h"
#include "model/names.h"

struct build_params {
	char *image;
	char *kernel;
	uint64_t vcpu;
	uint64_t memory_bytes;
};

struct delete_params {
	char *template;
};

static const struct json_field build_fields[] = {
	{ "image", JSON_FIELD_STRING, false, offsetof(struct build_params, image), 256,
	  "built first if the catalog has it; the configured default when absent" },
	{ "kernel", JSON_FIELD_STRING, false, offsetof(struct build_params, kernel), 256,
	  "the image's own when absent" },
	{ "vcpu", JSON_FIELD_POSITIVE, false, offsetof(struct build_params, vcpu), UINT32_MAX,
	  "1 to 32" },
	{ "memory_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct build_params, memory_bytes),
	  0, "RAM" },
};

static const struct json_field delete_fields[] = {
	{ "template", JSON_FIELD_STRING, true, offsetof(struct delete_params, template),
	  VM_ID_LENGTH, "id, or a unique prefix of it" },
};

static json_t *template_json(const struct template_record *record)
{
	json_t *json = json_new_object();

	json_put_str(json, "id", record->id);
	json_put_str(json, "image", record->image);
	json_put_str(json, "kernel", record->kernel);
	json_put_u64(json, "vcpu", record->vcpu);
	json_put_u64(json, "memory_bytes", record->memory_bytes);
	json_put_u64(json, "system_bytes", record->system_bytes);
	json_put_u64(json, "work_bytes", record->work_bytes);
	json_put_u64(json, "used_bytes", record->used_bytes);
	json_put_u64(json, "build_ms", record->build_ms);
	api_put_time(json, "created_at", record->created_at);
	api_put_time(json, "used_at", record->used_at);
	return json;
}

static int template_list_call(struct rpc_call *call, const void *params, json_t *result,
			      struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	json_t *templates = json_new_array();
	const int r = store_template_list(daemon->store, &list, err);

	(void)params;
	json_put(result, "templates", templates);
	for (size_t i = 0; i < list.count; i++)
		json_add(templates, template_json(&list.items[i]));
	return r;
}

static int template_build_call(struct rpc_call *call, const void *params, json_t *result,
			       struct err *err)
{
	const struct build_params *p = params;
	const struct job job = api_job(call);
	const struct template_request request = {
		.image = p->image,
		.kernel = p->kernel,
		.vcpu = p->vcpu,
		.memory_bytes = p->memory_bytes,
	};
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	bool is_new = false;
	const int r = template_build(&job, &request, &record, &is_new, err);

	if (r < 0)
		return r;
	json_put(result, "template", template_json(&record));
	json_put_bool(result, "built", is_new);
	return 0;
}

static int template_delete_call(struct rpc_call *call, const void *params, json_t *result,
				struct err *err)
{
	const struct delete_params *p = params;
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	const int r = templates_delete(rpc_call_context(call), p->template, &record, err);

	if (r < 0)
		return r;
	json_put(result, "template", template_json(&record));
	return 0;
}

static const struct rpc_result_field list_results[] = {
	{ "templates", "array", "those used last first" },
};
static const struct rpc_result_field build_results[] = {
	{ "template", "object", "the template" },
	{ "built", "boolean", "false: there was one already" },
};
static const struct rpc_result_field delete_results[] = {
	{ "template", "object", "what it was" },
};

const struct rpc_method api_template_methods[] = {
	{ .name = "template.list",
	  .summary = "the templates that there are",
	  .handler = template_list_call,
	  .results = list_results,
	  .result_count = ARRAY_LEN(list_results) },
	{ .name = "template.build",
	  .summary = "boots a machine and keeps it, at rest, for VMs to begin from",
	  .fields = build_fields,
	  .field_count = ARRAY_LEN(build_fields),
	  .params_size = sizeof(struct build_params),
	  .handler = template_build_call,
	  .results = build_results,
	  .result_count = ARRAY_LEN(build_results),
	  .flags = RPC_MUTATES },
	{ .name = "template.delete",
	  .summary = "deletes a template; VMs that began from it go on",
	  .fields = delete_fields,
	  .field_count = ARRAY_LEN(delete_fields),
	  .params_size = sizeof(struct delete_params),
	  .handler = template_delete_call,
	  .results = delete_results,
	  .result_count = ARRAY_LEN(delete_results),
	  .flags = RPC_MUTATES },
};
const size_t api_template_method_count = ARRAY_LEN(api_template_methods);
