/* image.* and kernel.*. */
#include "daemon/api.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "image/image.h"
#include "kernel/kernel.h"
#include "model/names.h"

struct artifact_params {
	char *name;
	bool available;
};

#define FIELD_NAME(key)                                                               \
	{                                                                             \
		key, JSON_FIELD_STRING, true, offsetof(struct artifact_params, name), \
			ARTIFACT_NAME_MAX, "its name"                                 \
	}

static const struct json_field image_fields[] = { FIELD_NAME("image") };
static const struct json_field kernel_fields[] = { FIELD_NAME("kernel") };
static const struct json_field pull_fields[] = { FIELD_NAME("name") };
static const struct json_field kernel_list_fields[] = {
	{ "available", JSON_FIELD_BOOL, false, offsetof(struct artifact_params, available), 0,
	  "also what could be pulled" },
};

static void put_time(json_t *json, const char *key, int64_t wall_seconds)
{
	AUTO_BUF text = BUF_INIT;

	clock_format_utc(&text, wall_seconds);
	json_put_str(json, key, wall_seconds ? text.ptr : NULL);
}

static json_t *image_json(const struct image_record *image)
{
	json_t *json = json_new_object();

	json_put_str(json, "name", image->name);
	json_put_str(json, "state", artifact_state_name(image->state));
	json_put_str(json, "kind", image->kind);
	json_put_str(json, "recipe", image->recipe);
	json_put_str(json, "kernel", image->kernel);
	json_put_u64(json, "size_bytes", image->size_bytes);
	json_put_u64(json, "used_bytes", image->used_bytes);
	json_put_bool(json, "has_init", image->has_init);
	json_put_str(json, "source", image->source);
	json_put_str(json, "digest", image->digest);
	put_time(json, "built_at", image->built_at);
	json_put_u64(json, "in_use", image->in_use);
	return json;
}

static int image_list_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	AUTO_IMAGE_RECORD_LIST list = { 0 };
	json_t *images = json_new_array();
	int r;

	(void)params;
	json_put(result, "images", images);
	r = store_image_list(daemon->store, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++)
		json_add(images, image_json(&list.items[i]));
	return r;
}

static int image_show_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct artifact_params *p = params;
	struct image_record image = { 0 };
	int r;

	r = store_image_get(daemon->store, p->name, &image, err);
	if (r < 0) {
		err_hint(err, "'banger image list' shows what is here");
		return r;
	}
	json_put(result, "image", image_json(&image));
	image_record_done(&image);
	return 0;
}

static int image_pull_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	const struct artifact_params *p = params;
	const struct job job = api_job(call);
	struct image_record image = { 0 };
	int r;

	r = name_check_image(p->name, err);
	if (r == 0)
		r = artifact_pull_image(rpc_call_context(call), p->name, &job, &image, err);
	if (r < 0)
		return r;
	json_put(result, "image", image_json(&image));
	image_record_done(&image);
	return 0;
}

static int image_delete_call(struct rpc_call *call, const void *params, json_t *result,
			     struct err *err)
{
	const struct artifact_params *p = params;
	const struct job job = api_job(call);
	const int r = artifact_delete_image(rpc_call_context(call), p->name, &job, err);

	if (r == 0)
		json_put_str(result, "name", p->name);
	return r;
}

static int image_catalog_call(struct rpc_call *call, const void *params, json_t *result,
			      struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	AUTO_IMAGE_RECORD_LIST list = { 0 };
	json_t *entries = json_new_array();
	size_t count = 0;
	const struct image_recipe *recipes = image_recipes(&count);
	int r;

	(void)params;
	json_put(result, "entries", entries);
	r = store_image_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		json_t *entry = json_new_object();
		bool is_present = false;

		for (size_t k = 0; k < list.count; k++)
			is_present = is_present || (str_eq(list.items[k].name, recipes[i].name) &&
						    list.items[k].state == ARTIFACT_READY);
		json_put_str(entry, "name", recipes[i].name);
		json_put_str(entry, "kind", "recipe");
		json_put_str(entry, "description", recipes[i].description);
		json_put_bool(entry, "default",
			      str_eq(recipes[i].name, daemon->config.default_image_name));
		json_put_bool(entry, "present", is_present);
		json_add(entries, entry);
	}
	return 0;
}

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
	put_time(json, "pulled_at", kernel->pulled_at);
	json_put_u64(json, "in_use", kernel->in_use);
	json_put_bool(json, "present", kernel->state == ARTIFACT_READY);
	return json;
}

/* A kernel of the catalog that is not here. */
static json_t *kernel_source_json(const struct kernel_source *source)
{
	json_t *json = json_new_object();

	json_put_str(json, "name", source->name);
	json_put_str(json, "kind", "package");
	json_put_str(json, "package", source->package);
	json_put_str(json, "description", source->description);
	json_put_bool(json, "present", false);
	return json;
}

static int kernel_list_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct artifact_params *p = params;
	AUTO_KERNEL_RECORD_LIST list = { 0 };
	json_t *kernels = json_new_array();
	size_t count = 0;
	const struct kernel_source *sources = kernel_sources(&count);
	int r;

	json_put(result, "kernels", kernels);
	r = store_kernel_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		json_add(kernels, kernel_record_json(&list.items[i]));
	for (size_t i = 0; i < count && p->available; i++) {
		bool is_listed = false;

		for (size_t k = 0; k < list.count; k++)
			is_listed = is_listed || str_eq(list.items[k].name, sources[i].name);
		if (!is_listed)
			json_add(kernels, kernel_source_json(&sources[i]));
	}
	return 0;
}

static int kernel_show_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct artifact_params *p = params;
	struct kernel_record kernel = { 0 };
	int r;

	r = store_kernel_get(daemon->store, p->name, &kernel, err);
	if (r < 0) {
		err_hint(err, "'banger kernel list' shows what is here");
		return r;
	}
	json_put(result, "kernel", kernel_record_json(&kernel));
	kernel_record_done(&kernel);
	return 0;
}

static int kernel_pull_call(struct rpc_call *call, const void *params, json_t *result,
			    struct err *err)
{
	const struct artifact_params *p = params;
	const struct job job = api_job(call);
	struct kernel_record kernel = { 0 };
	int r;

	r = name_check_kernel(p->name, err);
	if (r == 0)
		r = artifact_pull_kernel(rpc_call_context(call), p->name, &job, &kernel, err);
	if (r < 0)
		return r;
	json_put(result, "kernel", kernel_record_json(&kernel));
	kernel_record_done(&kernel);
	return 0;
}

static int kernel_rm_call(struct rpc_call *call, const void *params, json_t *result,
			  struct err *err)
{
	const struct artifact_params *p = params;
	const struct job job = api_job(call);
	const int r = artifact_delete_kernel(rpc_call_context(call), p->name, &job, err);

	if (r == 0)
		json_put_str(result, "name", p->name);
	return r;
}

static const struct rpc_result_field image_results[] = { { "image", "object", "the image" } };
static const struct rpc_result_field images_results[] = { { "images", "array", "sorted by name" } };
static const struct rpc_result_field catalog_results[] = {
	{ "entries", "array", "name, kind, description, default, present" },
};
static const struct rpc_result_field kernel_results[] = { { "kernel", "object", "the kernel" } };
static const struct rpc_result_field kernels_results[] = { { "kernels", "array",
							     "sorted by name" } };
static const struct rpc_result_field name_results[] = { { "name", "string", "of what is gone" } };

#define METHOD(method_name, text, table, call, result_table, method_flags)                      \
	{                                                                                       \
		.name = (method_name), .summary = (text), .fields = (table),                    \
		.field_count = ARRAY_LEN(table), .params_size = sizeof(struct artifact_params), \
		.handler = (call), .results = (result_table),                                   \
		.result_count = ARRAY_LEN(result_table), .flags = (method_flags)                \
	}

const struct rpc_method api_artifact_methods[] = {
	{ .name = "image.list",
	  .summary = "the images that are here",
	  .handler = image_list_call,
	  .results = images_results,
	  .result_count = ARRAY_LEN(images_results) },
	METHOD("image.show", "one image", image_fields, image_show_call, image_results, 0),
	METHOD("image.pull", "builds an image of the catalog", pull_fields, image_pull_call,
	       image_results, RPC_MUTATES),
	METHOD("image.delete", "removes an image that no VM uses", image_fields, image_delete_call,
	       name_results, RPC_MUTATES),
	{ .name = "image.catalog",
	  .summary = "the images that can be pulled by name",
	  .handler = image_catalog_call,
	  .results = catalog_results,
	  .result_count = ARRAY_LEN(catalog_results) },
	METHOD("kernel.list", "the kernels that are here", kernel_list_fields, kernel_list_call,
	       kernels_results, 0),
	METHOD("kernel.show", "one kernel", kernel_fields, kernel_show_call, kernel_results, 0),
	METHOD("kernel.pull", "fetches a kernel of the catalog", pull_fields, kernel_pull_call,
	       kernel_results, RPC_MUTATES),
	METHOD("kernel.rm", "removes a kernel that no VM uses", kernel_fields, kernel_rm_call,
	       name_results, RPC_MUTATES),
};
const size_t api_artifact_method_count = ARRAY_LEN(api_artifact_methods);
