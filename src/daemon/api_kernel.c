/* kernel.* */
#include "daemon/api.h"

#include "base/json.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "kernel/catalog.h"
#include "kernel/import.h"
#include "kernel/kernel.h"
#include "model/names.h"

#define PATH_BYTES_MAX 4095

struct name_params {
	char *name;
};

struct list_params {
	bool available;
};

struct import_params {
	char *name;
	char *from;
};

#define FIELD_NAME(key)                                                           \
	{                                                                         \
		key, JSON_FIELD_STRING, true, offsetof(struct name_params, name), \
			ARTIFACT_NAME_MAX, "its name"                             \
	}

static const struct json_field kernel_fields[] = { FIELD_NAME("kernel") };
static const struct json_field pull_fields[] = { FIELD_NAME("name") };
static const struct json_field list_fields[] = {
	{ "available", JSON_FIELD_BOOL, false, offsetof(struct list_params, available), 0,
	  "also what could be pulled" },
};
static const struct json_field import_fields[] = {
	{ "name", JSON_FIELD_STRING, true, offsetof(struct import_params, name), ARTIFACT_NAME_MAX,
	  "of the new kernel" },
	{ "from", JSON_FIELD_STRING, true, offsetof(struct import_params, from), PATH_BYTES_MAX,
	  "a folder with vmlinux or vmlinuz, modules, initrd, or a metadata.json; absolute" },
};

static json_t *kernel_record_json(const struct kernel_record *kernel)
{
	json_t *json = json_new_object();
	json_t *formats = json_new_array();

	if (kernel->has_elf)
		json_add(formats, json_new_str("elf"));
	if (kernel->has_bzimage)
		json_add(formats, json_new_str("bzimage"));
	json_put_str(json, "name", kernel->name);
	json_put_str(json, "state", artifact_state_name(kernel->state));
	json_put_str(json, "kind", kernel->kind);
	json_put_str(json, "package", kernel->package);
	json_put_str(json, "version", kernel->version);
	json_put_str(json, "release", kernel->release);
	json_put(json, "formats", formats);
	json_put_u64(json, "modules", kernel->module_count);
	json_put_u64(json, "size_bytes", kernel->size_bytes);
	api_put_time(json, "pulled_at", kernel->pulled_at);
	json_put_u64(json, "in_use", kernel->in_use);
	json_put_bool(json, "present", kernel->state == ARTIFACT_READY);
	return json;
}

static void put_digest(json_t *json, const char *key, const char *sha256)
{
	json_put_str(json, key, sha256[0] != '\0' ? sha256 : NULL);
}

/* The same with what is in its folder; null where nothing can be read. */
static json_t *kernel_full_json(const struct daemon *daemon, const struct kernel_record *record)
{
	json_t *json = kernel_record_json(record);
	struct err ignored = ERR_INIT;
	AUTO_KERNEL kernel;

	kernel_init(&kernel);
	IGNORE_RESULT(kernel_load(daemon->kernels_dir, record->name, &kernel, &ignored));
	json_put_str(json, "source", kernel.source);
	json_put_bool(json, "has_initrd", kernel.initrd_sha256[0] != '\0');
	put_digest(json, "vmlinux_sha256", kernel.vmlinux_sha256);
	put_digest(json, "vmlinuz_sha256", kernel.vmlinuz_sha256);
	put_digest(json, "initrd_sha256", kernel.initrd_sha256);
	return json;
}

/* The kernel as kernel.show has it; the record is released. */
static void answer(const struct daemon *daemon, struct kernel_record *kernel, json_t *result)
{
	json_put(result, "kernel", kernel_full_json(daemon, kernel));
	kernel_record_done(kernel);
}

/* A kernel of the catalog that is not here. */
static json_t *source_json(const struct kernel_source *source)
{
	json_t *json = json_new_object();

	json_put_str(json, "name", source->name);
	json_put_str(json, "kind", kernel_source_kind_name(source->kind));
	json_put_str(json, "package", source->package);
	json_put_str(json, "url", source->url);
	json_put_str(json, "description", source->description);
	json_put_bool(json, "present", false);
	return json;
}

static bool is_listed(const struct kernel_record_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i].name, name))
			return true;
	}
	return false;
}

static int add_available(const struct daemon *daemon, const struct kernel_record_list *list,
			 json_t *kernels, struct err *err)
{
	AUTO_KERNEL_CATALOG catalog = { 0 };
	int r;

	r = kernel_catalog_load(daemon->paths.config_dir, &catalog, err);
	for (size_t i = 0; i < catalog.count && r == 0; i++) {
		if (!is_listed(list, catalog.items[i].name))
			json_add(kernels, source_json(&catalog.items[i]));
	}
	return r;
}

static int kernel_list_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct list_params *p = params;
	AUTO_KERNEL_RECORD_LIST list = { 0 };
	json_t *kernels = json_new_array();
	int r;

	json_put(result, "kernels", kernels);
	r = store_kernel_list(daemon->store, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++)
		json_add(kernels, kernel_record_json(&list.items[i]));
	return r == 0 && p->available ? add_available(daemon, &list, kernels, err) : r;
}

static int kernel_show_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct name_params *p = params;
	struct kernel_record kernel = { 0 };
	int r;

	r = store_kernel_get(daemon->store, p->name, &kernel, err);
	if (r < 0) {
		if (err->kind == ERR_NOT_FOUND)
			artifact_hint_kernels(daemon, p->name, err);
		return r;
	}
	answer(daemon, &kernel, result);
	return 0;
}

static int kernel_pull_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct name_params *p = params;
	const struct job job = api_job(call);
	struct kernel_record kernel = { 0 };
	int r;

	r = name_check_kernel(p->name, err);
	if (r == 0)
		r = artifact_pull_kernel(daemon, p->name, &job, &kernel, err);
	if (r < 0)
		return r;
	answer(daemon, &kernel, result);
	return 0;
}

static int kernel_import_call(struct rpc_call *call, const void *params, json_t *result,
			      struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct import_params *p = params;
	const struct job job = api_job(call);
	const struct kernel_import_request request = {
		.kernels_dir = daemon->kernels_dir,
		.name = p->name,
		.from = p->from,
	};
	struct kernel_record kernel = { 0 };
	int r;

	if (p->from[0] != '/')
		return err_set(err, ERR_INVALID, "the path '%s' is not absolute", p->from);
	r = artifact_import_kernel(&job, &request, &kernel, err);
	if (r < 0)
		return r;
	answer(daemon, &kernel, result);
	return 0;
}

static int kernel_rm_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct name_params *p = params;
	const struct job job = api_job(call);
	const int r = artifact_delete_kernel(rpc_call_context(call), p->name, &job, err);

	if (r == 0)
		json_put_str(result, "name", p->name);
	return r;
}

static const struct rpc_result_field kernel_results[] = { { "kernel", "object", "the kernel" } };
static const struct rpc_result_field kernels_results[] = { { "kernels", "array",
							     "sorted by name" } };
static const struct rpc_result_field name_results[] = { { "name", "string", "of what is gone" } };

#define METHOD(method_name, text, type, table, call, result_table, method_flags)     \
	{                                                                            \
		.name = (method_name), .summary = (text), .fields = (table),         \
		.field_count = ARRAY_LEN(table), .params_size = sizeof(struct type), \
		.handler = (call), .results = (result_table),                        \
		.result_count = ARRAY_LEN(result_table), .flags = (method_flags)     \
	}

const struct rpc_method api_kernel_methods[] = {
	METHOD("kernel.list", "the kernels that are here", list_params, list_fields,
	       kernel_list_call, kernels_results, 0),
	METHOD("kernel.show", "one kernel", name_params, kernel_fields, kernel_show_call,
	       kernel_results, 0),
	METHOD("kernel.pull", "fetches a kernel of the catalog", name_params, pull_fields,
	       kernel_pull_call, kernel_results, RPC_MUTATES),
	METHOD("kernel.import", "copies a kernel of the user's in", import_params, import_fields,
	       kernel_import_call, kernel_results, RPC_MUTATES),
	METHOD("kernel.rm", "removes a kernel that no VM uses", name_params, kernel_fields,
	       kernel_rm_call, name_results, RPC_MUTATES),
};
const size_t api_kernel_method_count = ARRAY_LEN(api_kernel_methods);
