/* image.* */
#include "daemon/api.h"

#include "base/json.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "image/catalog.h"
#include "image/image.h"
#include "kernel/import.h"
#include "model/names.h"
#include "oci/blobs.h"
#include "oci/reference.h"

#define PATH_BYTES_MAX 4095

struct name_params {
	char *name;
};

static const struct json_field image_fields[] = {
	{ "image", JSON_FIELD_STRING, true, offsetof(struct name_params, name), ARTIFACT_NAME_MAX,
	  "its name" },
};

struct pull_params {
	char *reference;
	char *name;
	uint64_t size_bytes;
};

static const struct json_field pull_fields[] = {
	{ "reference", JSON_FIELD_STRING, true, offsetof(struct pull_params, reference),
	  OCI_REFERENCE_BYTES_MAX,
	  "an entry of the catalog, an OCI reference, oci:DIR[:TAG] or docker-archive:FILE; paths "
	  "absolute" },
	{ "name", JSON_FIELD_STRING, false, offsetof(struct pull_params, name), ARTIFACT_NAME_MAX,
	  "of the image; follows from the reference when absent" },
	{ "size_bytes", JSON_FIELD_POSITIVE, false, offsetof(struct pull_params, size_bytes), 0,
	  "of its file system; from the content when absent" },
};

struct register_params {
	char *name;
	char *rootfs;
	char *work_seed;
	char *kernel;
	char *kernel_file;
	char *initrd_file;
	char *modules_dir;
};

static const struct json_field register_fields[] = {
	{ "name", JSON_FIELD_STRING, true, offsetof(struct register_params, name),
	  ARTIFACT_NAME_MAX, "of the image" },
	{ "rootfs", JSON_FIELD_STRING, true, offsetof(struct register_params, rootfs),
	  PATH_BYTES_MAX, "an ext4 file system; absolute, as the next" },
	{ "work_seed", JSON_FIELD_STRING, false, offsetof(struct register_params, work_seed),
	  PATH_BYTES_MAX, "what work disks begin as; empty when absent" },
	{ "kernel", JSON_FIELD_STRING, false, offsetof(struct register_params, kernel),
	  ARTIFACT_NAME_MAX, "its kernel; debian-cloud when absent" },
	{ "kernel_file", JSON_FIELD_STRING, false, offsetof(struct register_params, kernel_file),
	  PATH_BYTES_MAX, "a kernel to import under the image's name; instead of kernel" },
	{ "initrd_file", JSON_FIELD_STRING, false, offsetof(struct register_params, initrd_file),
	  PATH_BYTES_MAX, "kept with kernel_file" },
	{ "modules_dir", JSON_FIELD_STRING, false, offsetof(struct register_params, modules_dir),
	  PATH_BYTES_MAX, "the modules of kernel_file" },
};

struct prune_params {
	bool dry_run;
};

static const struct json_field prune_fields[] = {
	{ "dry_run", JSON_FIELD_BOOL, false, offsetof(struct prune_params, dry_run), 0,
	  "only say what would be freed" },
};

/* What the image says about running it; null when it says nothing that can be read. */
static json_t *config_json(const struct daemon *daemon, const char *name)
{
	AUTO_IMAGE_CONFIG config = IMAGE_CONFIG_INIT;
	struct err ignored = ERR_INIT;

	if (image_config_load(daemon->images_dir, name, &config, &ignored) < 0)
		return json_null();
	return image_config_json(&config);
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
	api_put_time(json, "built_at", image->built_at);
	json_put_u64(json, "in_use", image->in_use);
	return json;
}

/* The image as image.show has it; the record is released. */
static int answer(const struct daemon *daemon, int r, struct image_record *image, json_t *result)
{
	json_t *json;

	if (r < 0)
		return r;
	json = image_json(image);
	json_put(json, "config", config_json(daemon, image->name));
	json_put(result, "image", json);
	image_record_done(image);
	return 0;
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
	const struct name_params *p = params;
	struct image_record image = { 0 };
	const int r = store_image_get(daemon->store, p->name, &image, err);

	if (r < 0 && err->kind == ERR_NOT_FOUND)
		artifact_hint_images(daemon, p->name, err);
	return answer(daemon, r, &image, result);
}

static int image_pull_call(struct rpc_call *call, const void *params, json_t *result,
			   struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct pull_params *p = params;
	const struct job job = api_job(call);
	const struct artifact_image_pull pull = { .text = p->reference,
						  .name = p->name,
						  .size_bytes = p->size_bytes };
	struct image_record image = { 0 };
	const int r = artifact_pull_image(daemon, &pull, &job, &image, err);

	return answer(daemon, r, &image, result);
}

static int check_paths(const struct register_params *p, struct err *err)
{
	const char *const paths[] = { p->rootfs, p->work_seed, p->kernel_file, p->initrd_file,
				      p->modules_dir };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (paths[i] && paths[i][0] != '/')
			return err_set(err, ERR_INVALID, "the path '%s' is not absolute", paths[i]);
	}
	if (p->kernel && p->kernel_file)
		return err_set(err, ERR_INVALID, "'kernel' and 'kernel_file' exclude each other");
	if (!p->kernel_file && (p->initrd_file || p->modules_dir))
		return err_set(err, ERR_INVALID,
			       "'initrd_file' and 'modules_dir' belong to 'kernel_file'");
	return 0;
}

static int image_register_call(struct rpc_call *call, const void *params, json_t *result,
			       struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct register_params *p = params;
	const struct job job = api_job(call);
	/* The kernel that came as a file gets the image's name, which must be free for it. */
	const struct kernel_import_request own_kernel = {
		.kernels_dir = daemon->kernels_dir,
		.name = p->name,
		.kernel_file = p->kernel_file,
		.initrd_file = p->initrd_file,
		.modules_dir = p->modules_dir,
	};
	const struct artifact_image_files files = {
		.name = p->name,
		.rootfs = p->rootfs,
		.work_seed = p->work_seed,
		.kernel = p->kernel,
		.own_kernel = p->kernel_file ? &own_kernel : NULL,
	};
	struct image_record image = { 0 };
	int r;

	r = check_paths(p, err);
	if (r == 0)
		r = artifact_register_image(daemon, &files, &job, &image, err);
	return answer(daemon, r, &image, result);
}

static int image_promote_call(struct rpc_call *call, const void *params, json_t *result,
			      struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct name_params *p = params;
	const struct job job = api_job(call);
	struct image_record image = { 0 };
	const int r = artifact_promote_image(daemon, p->name, &job, &image, err);

	return answer(daemon, r, &image, result);
}

static int image_delete_call(struct rpc_call *call, const void *params, json_t *result,
			     struct err *err)
{
	const struct name_params *p = params;
	const struct job job = api_job(call);
	const int r = artifact_delete_image(rpc_call_context(call), p->name, &job, err);

	if (r == 0)
		json_put_str(result, "name", p->name);
	return r;
}

static bool is_present(const struct image_record_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i].name, name))
			return list->items[i].state == ARTIFACT_READY;
	}
	return false;
}

static int image_catalog_call(struct rpc_call *call, const void *params, json_t *result,
			      struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	AUTO_IMAGE_RECORD_LIST list = { 0 };
	AUTO_IMAGE_CATALOG catalog = { 0 };
	json_t *entries = json_new_array();
	int r;

	(void)params;
	json_put(result, "entries", entries);
	r = image_catalog_load(daemon->paths.config_dir, &catalog, err);
	if (r == 0)
		r = store_image_list(daemon->store, &list, err);
	for (size_t i = 0; i < catalog.count && r == 0; i++) {
		json_t *entry = image_source_json(&catalog.items[i]);

		json_put_bool(entry, "default",
			      str_eq(catalog.items[i].name, daemon->config.default_image_name));
		json_put_bool(entry, "present", is_present(&list, catalog.items[i].name));
		json_add(entries, entry);
	}
	return r;
}

static int image_cache_prune_call(struct rpc_call *call, const void *params, json_t *result,
				  struct err *err)
{
	struct daemon *daemon = rpc_call_context(call);
	const struct prune_params *p = params;
	struct oci_blobs_usage usage = { 0 };
	const int r = oci_blobs_prune(daemon->blobs, p->dry_run, &usage, err);

	json_put_u64(result, "files", usage.files);
	json_put_u64(result, "bytes", usage.bytes);
	return r;
}

static const struct rpc_result_field image_results[] = { { "image", "object", "the image" } };
static const struct rpc_result_field images_results[] = { { "images", "array", "sorted by name" } };
static const struct rpc_result_field catalog_results[] = {
	{ "entries", "array", "name, kind, description, default, present, and what the kind has" },
};
static const struct rpc_result_field prune_results[] = {
	{ "files", "integer", "that were deleted, or would be" },
	{ "bytes", "integer", "that this freed, or would free" },
};
static const struct rpc_result_field name_results[] = { { "name", "string", "of what is gone" } };

#define METHOD(method_name, text, type, table, call, result_table, method_flags)     \
	{                                                                            \
		.name = (method_name), .summary = (text), .fields = (table),         \
		.field_count = ARRAY_LEN(table), .params_size = sizeof(struct type), \
		.handler = (call), .results = (result_table),                        \
		.result_count = ARRAY_LEN(result_table), .flags = (method_flags)     \
	}

const struct rpc_method api_image_methods[] = {
	{ .name = "image.list",
	  .summary = "the images that are here",
	  .handler = image_list_call,
	  .results = images_results,
	  .result_count = ARRAY_LEN(images_results) },
	METHOD("image.show", "one image, with what it says about running it", name_params,
	       image_fields, image_show_call, image_results, 0),
	METHOD("image.pull", "makes an image of a catalog's entry or of any OCI image", pull_params,
	       pull_fields, image_pull_call, image_results, RPC_MUTATES),
	METHOD("image.register", "records a file system of the user's as an image", register_params,
	       register_fields, image_register_call, image_results, RPC_MUTATES),
	METHOD("image.promote", "copies the files of a registered image in", name_params,
	       image_fields, image_promote_call, image_results, RPC_MUTATES),
	METHOD("image.delete", "removes an image that no VM uses", name_params, image_fields,
	       image_delete_call, name_results, RPC_MUTATES),
	METHOD("image.cache.prune", "deletes what was downloaded", prune_params, prune_fields,
	       image_cache_prune_call, prune_results, RPC_MUTATES),
	{ .name = "image.catalog",
	  .summary = "the images that can be pulled by name",
	  .handler = image_catalog_call,
	  .results = catalog_results,
	  .result_count = ARRAY_LEN(catalog_results) },
};
const size_t api_image_method_count = ARRAY_LEN(api_image_methods);
