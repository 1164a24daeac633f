#include "daemon/image_origin.h"

#include <strings.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/bundle.h"
#include "image/image.h"
#include "image/layers.h"
#include "image/share.h"
#include "kernel/kernel.h"
#include "kernel/unpack.h"
#include "model/names.h"
#include "oci/pull.h"
#include "oci/registry.h"

void image_origin_done(struct image_origin *origin)
{
	mem_free(origin->name);
	mem_free(origin->source);
	image_catalog_done(&origin->catalog);
	oci_reference_done(&origin->reference);
	*origin = IMAGE_ORIGIN_INIT;
}

/* --- what a text means --- */

static int unknown(const struct image_catalog *catalog, const char *text, struct err *err)
{
	AUTO_FREE const char **names = mem_alloc(catalog->count + 1, sizeof(*names));
	const char *nearest;
	int r;

	for (size_t i = 0; i < catalog->count; i++)
		names[i] = catalog->items[i].name;
	nearest = text_nearest(text, names, catalog->count);
	r = err_set(err, ERR_NOT_FOUND, "no image '%s'", text);
	if (nearest)
		err_hint(err,
			 "did you mean '%s'? 'banger image catalog' lists what can be pulled by "
			 "name",
			 nearest);
	else
		err_hint(err, "'banger image list' shows what is here, 'banger image catalog' what "
			      "can be "
			      "pulled by name; an image of a registry has a '/' or ':' "
			      "(docker.io/library/alpine:3.20)");
	return r;
}

static int set_reference(const char *text, struct image_origin *origin, struct err *err)
{
	AUTO_BUF full = BUF_INIT;
	int r;

	r = oci_reference_parse(text, &origin->reference, err);
	if (r < 0)
		return r;
	if (origin->reference.path && origin->reference.path[0] != '/')
		return err_set(err, ERR_INVALID, "the path in '%s' must be absolute", text);
	oci_reference_to_text(&origin->reference, &full);
	origin->source = mem_strdup(full.ptr);
	return 0;
}

int image_origin_name(const char *text, char **ret, struct err *err)
{
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	int r;

	if (!oci_reference_looks_like_one(text)) {
		r = name_check_image(text, err);
		if (r == 0)
			*ret = mem_strdup(text);
		return r;
	}
	r = oci_reference_parse(text, &reference, err);
	return r < 0 ? r : oci_reference_image_name(&reference, ret, err);
}

int image_origin_find(const struct daemon *daemon, const char *text, const char *name,
		      struct image_origin *ret, struct err *err)
{
	AUTO_IMAGE_ORIGIN origin = IMAGE_ORIGIN_INIT;
	int r;

	r = image_catalog_load(daemon->paths.config_dir, &origin.catalog, err);
	if (r < 0)
		return r;
	origin.entry = image_catalog_find(&origin.catalog, text);
	origin.kernel = KERNEL_DEFAULT_NAME;
	if (origin.entry) {
		origin.kernel = origin.entry->kernel;
		if (origin.entry->kind == IMAGE_SOURCE_OCI)
			r = set_reference(origin.entry->reference, &origin, err);
		else if (origin.entry->kind == IMAGE_SOURCE_BUNDLE)
			origin.source = mem_strdup(origin.entry->url);
	} else if (oci_reference_looks_like_one(text)) {
		r = set_reference(text, &origin, err);
	} else {
		r = unknown(&origin.catalog, text, err);
	}
	if (r < 0)
		return r;
	if (name) {
		r = name_check_image(name, err);
		origin.name = mem_strdup(name);
	} else if (origin.entry) {
		origin.name = mem_strdup(text);
	} else {
		r = oci_reference_image_name(&origin.reference, &origin.name, err);
		if (r < 0)
			err_hint(err, "choose a name with --name");
	}
	if (r < 0)
		return r;
	*ret = origin;
	origin = IMAGE_ORIGIN_INIT;
	return 0;
}

static struct image_limits limits_of(const struct config *config)
{
	return (struct image_limits){
		.entries = config->limit_entries,
		.image_bytes = config->limit_image_bytes,
		.layer_bytes = config->limit_layer_bytes,
		.name_bytes = config->limit_name_bytes,
		.xattr_bytes = config->limit_xattr_bytes,
		.layers = config->limit_layers,
		.worker_memory_bytes = config->limit_worker_memory_bytes,
		.worker_cpu_ms = config->limit_worker_cpu_ms,
		.worker_stall_ms = config->limit_worker_stall_ms,
	};
}

/* --- from a recipe --- */

static int make_from_recipe(struct daemon *daemon, const struct image_make_request *request,
			    const struct job *job, struct image_record *ret, struct err *err)
{
	const struct image_build_request build = {
		.images_dir = daemon->images_dir,
		.recipe = request->origin->entry->recipe->name,
		.name = request->origin->name,
		.size_bytes = request->size_bytes,
		.limits = limits_of(&daemon->config),
	};
	const int r = request->begin(request->context, err);

	return r < 0 ? r : image_build(&build, job->cancel, job->progress, ret, err);
}

/* --- from a bundle --- */

static int make_from_bundle(struct daemon *daemon, const struct image_make_request *request,
			    const struct job *job, struct image_record *ret, struct err *err)
{
	const struct image_source *entry = request->origin->entry;
	AUTO_FREE char *digest = mem_printf("sha256:%s", entry->sha256);
	const struct bundle_origin from = {
		.url = entry->url,
		.sha256 = entry->sha256,
		.size_bytes = entry->size_bytes,
		.cancel = job->cancel,
		.progress = job->progress,
	};
	struct image_bundle_request bundle = {
		.images_dir = daemon->images_dir,
		.name = request->origin->name,
		.source = request->origin->source,
		.digest = digest,
		.kernel = request->origin->kernel,
		.bytes_max = daemon->config.limit_image_bytes,
	};
	AUTO_CLOSE int fd = -1;
	int r;

	if (request->size_bytes > 0)
		return err_set(err, ERR_INVALID,
			       "'%s' is a bundle, whose file system has its size already",
			       request->origin->name);
	/* Beside the images: a file in memory would be as large as an image. */
	r = bundle_fetch(&from, daemon->images_dir, bundle.name, &fd, err);
	if (r == 0)
		r = request->begin(request->context, err);
	if (r < 0)
		return r;
	bundle.fd = fd;
	return image_bundle_install(&bundle, job->cancel, job->progress, ret, err);
}

/* --- from a registry, a layout or an archive --- */

static enum image_compression compression_of(enum oci_compression compression)
{
	switch (compression) {
	case OCI_COMPRESSION_GZIP:
		return IMAGE_COMPRESSION_GZIP;
	case OCI_COMPRESSION_ZSTD:
		return IMAGE_COMPRESSION_ZSTD;
	case OCI_COMPRESSION_NONE:
		break;
	}
	return IMAGE_COMPRESSION_NONE;
}

static int next_layer(void *context, size_t index, const struct cancel *cancel,
		      struct image_layer *ret, struct err *err)
{
	struct oci_pull *pull = context;
	int fd = -1;
	int r;

	r = oci_pull_layer(pull, index, cancel, &fd, err);
	if (r < 0)
		return r;
	*ret = (struct image_layer){
		.blob_fd = fd,
		.compression = compression_of(oci_pull_layer_at(pull, index)->compression),
		.diff_id = oci_pull_config(pull)->diff_ids[index].text,
	};
	return 0;
}

/* Borrows the pull's strings: not to be ended. */
static struct image_config config_of(const struct oci_config *config)
{
	return (struct image_config){
		.entrypoint = config->entrypoint,
		.cmd = config->cmd,
		.env = config->env,
		.user = config->user,
		.working_dir = config->working_dir,
	};
}

/* The entry of the configuration, whose host may be written as users do: any case, and docker's
 * other name. */
static const struct config_registry *registry_of(const struct daemon *daemon, const char *host)
{
	for (size_t i = 0; host && i < daemon->config.registry_count; i++) {
		const struct config_registry *entry = &daemon->config.registries[i];
		const bool is_hub = strcasecmp(entry->host, "index.docker.io") == 0;

		if (strcasecmp(is_hub ? "docker.io" : entry->host, host) == 0)
			return entry;
	}
	return NULL;
}

/* What people are told while layers are downloaded and written at the same time. */
struct pull_progress {
	struct oci_pull *pull;		 /* borrowed, as the next */
	const struct progress *progress; /* may be NULL */
};

/*
 * One stage at a time, each once: "download" as long as that goes on, since it has a total and says
 * how long it will take; "image" for what is still to be written then.
 */
static void report_writing(void *context, const struct progress_event *event)
{
	const struct pull_progress *both = context;

	if (!oci_pull_report(both->pull))
		progress_report(both->progress, event->stage, event->detail, event->done,
				event->total);
}

static int write_layers(struct daemon *daemon, const struct image_make_request *request,
			struct oci_pull *pull, const struct job *job, struct image_record *ret,
			struct err *err)
{
	const struct image_config config = config_of(oci_pull_config(pull));
	struct pull_progress both = { .pull = pull, .progress = job->progress };
	const struct progress progress = { .report = report_writing, .context = &both };
	const struct image_layers_request layers = {
		.images_dir = daemon->images_dir,
		.name = request->origin->name,
		.source = request->origin->source,
		.digest = oci_pull_digest(pull)->text,
		.kernel = request->origin->kernel,
		.config = &config,
		.size_bytes = request->size_bytes,
		.limits = limits_of(&daemon->config),
		.layer_count = oci_pull_layer_count(pull),
		.next_layer = next_layer,
		.context = pull,
	};

	return image_from_layers(&layers, job->cancel, &progress, ret, err);
}

/*
 * Makes it of another image that has the same digest, when their blocks can be shared: 1 done, 0
 * not possible. The other one is not waited for: who holds it may be waiting for this one.
 */
static int share_blocks(struct daemon *daemon, const struct image_make_request *request,
			const struct oci_digest *digest, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST list = { 0 };
	int r;

	r = store_image_list(daemon->store, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct image_record *other = &list.items[i];
		const struct image_share_request share = {
			.images_dir = daemon->images_dir,
			.from = other->name,
			.digest = digest->text,
			.name = request->origin->name,
			.source = request->origin->source,
			.kernel = request->origin->kernel,
		};
		AUTO_FREE char *key = mem_printf("image:%s", other->name);
		AUTO_KEYHOLD hold = KEYHOLD_INIT;
		struct err ignored = ERR_INIT;

		if (other->state != ARTIFACT_READY || !str_eq(other->digest, digest->text) ||
		    str_eq(other->name, share.name) || !keylock_try(daemon->locks, key, &hold))
			continue;
		if (image_share(&share, ret, &ignored) == 0)
			return 1;
	}
	return r;
}

static int make_from_oci(struct daemon *daemon, const struct image_make_request *request,
			 const struct job *job, bool *ret_is_made, struct image_record *ret,
			 struct err *err)
{
	const struct oci_reference *reference = &request->origin->reference;
	const struct config_registry *settings = registry_of(daemon, reference->registry);
	AUTO_FREE char *ca_file = NULL;
	struct oci_registry_config registry = {
		.mirror = settings ? settings->mirror : NULL,
		.is_insecure = settings && settings->insecure,
	};
	const struct oci_auth auth = { .environment = environ };
	const struct oci_pull_request pull_request = {
		.reference = reference,
		.blobs = daemon->blobs,
		.registry = &registry,
		.auth = &auth,
		.layer_bytes_max = daemon->config.limit_layer_bytes,
		.layers_max = daemon->config.limit_layers,
	};
	CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
	int r;

	if (settings && settings->ca_file) {
		ca_file = paths_expand(&daemon->paths, settings->ca_file, err);
		if (!ca_file)
			return -EINVAL;
		registry.ca_file = ca_file;
	}
	progress_report(job->progress, "resolve", request->origin->source, 0, 0);
	r = oci_pull_begin(&pull_request, job->cancel, job->progress, &pull, err);
	if (r < 0)
		return r;
	*ret_is_made = !request->present || request->size_bytes > 0 ||
		       !str_eq(request->present->digest, oci_pull_digest(pull)->text);
	if (!*ret_is_made) {
		progress_report(job->progress, "unchanged", "this is what is here already", 0, 0);
		return 0;
	}
	r = request->begin(request->context, err);
	if (r == 0 && request->size_bytes == 0)
		r = share_blocks(daemon, request, oci_pull_digest(pull), ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return write_layers(daemon, request, pull, job, ret, err);
}

int image_origin_make(struct daemon *daemon, const struct image_make_request *request,
		      const struct job *job, bool *ret_is_made, struct image_record *ret,
		      struct err *err)
{
	const struct image_source *entry = request->origin->entry;

	*ret_is_made = true;
	if (!entry || entry->kind == IMAGE_SOURCE_OCI)
		return make_from_oci(daemon, request, job, ret_is_made, ret, err);
	if (entry->kind == IMAGE_SOURCE_BUNDLE)
		return make_from_bundle(daemon, request, job, ret, err);
	return make_from_recipe(daemon, request, job, ret, err);
}
