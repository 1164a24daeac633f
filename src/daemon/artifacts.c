#include "daemon/artifacts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "image/image.h"
#include "kernel/kernel.h"
#include "model/names.h"

static int lock(struct daemon *daemon, const char *kind, const char *name, const struct job *job,
		struct keyhold *ret, struct err *err)
{
	AUTO_FREE char *key = mem_printf("%s:%s", kind, name);

	if (!keylock_try(daemon->locks, key, ret)) {
		progress_report(job->progress, kind, "waiting for another request", 0, 0);
		return keylock_acquire(daemon->locks, key, job->cancel, ret, err);
	}
	return 0;
}

/* One whose files were removed under the VMs that use it. */
static int still_used(const char *kind, const char *name, int r, struct err *err)
{
	err_hint(err, "delete the VMs that use it first ('banger vm list' shows them)");
	return err_context(err, r, "the files of %s '%s' are gone, and it cannot be made again",
			   kind, name);
}

const char *artifact_default_kernel(const char *image_name)
{
	const struct image_recipe *recipe = image_recipe_find(image_name);

	return recipe ? recipe->kernel : KERNEL_DEFAULT_NAME;
}

/* --- images --- */

static int unknown_image(const char *name, struct err *err)
{
	const char *names[64];
	const char *nearest;
	size_t count;
	const struct image_recipe *recipes = image_recipes(&count);
	int r;

	count = count < ARRAY_LEN(names) ? count : ARRAY_LEN(names);
	for (size_t i = 0; i < count; i++)
		names[i] = recipes[i].name;
	nearest = text_nearest(name, names, count);
	r = err_set(err, ERR_NOT_FOUND, "no image '%s'", name);
	if (nearest)
		err_hint(err, "did you mean '%s'? 'banger image catalog' lists what can be pulled",
			 nearest);
	else
		err_hint(err, "'banger image list' shows what is here, 'banger image catalog' what "
			      "can be pulled");
	return r;
}

/* After a pull that did not end well: what is in the image's place, an older one perhaps, is whole,
 * and the record says what there is. */
static int settle_image(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_IMAGE_RECORD found = { 0 };
	struct err load_err = ERR_INIT;

	if (image_load(daemon->images_dir, name, &found, &load_err) < 0)
		return store_image_delete(daemon->store, name, err);
	found.state = ARTIFACT_READY;
	return store_image_put(daemon->store, &found, err);
}

/* Builds under the image's lock. The record says PULLING before the first file is made. */
static int build_image(struct daemon *daemon, const char *name, const struct job *job,
		       struct image_record *ret, struct err *err)
{
	const struct image_recipe *recipe = image_recipe_find(name);
	const struct image_build_request request = {
		.images_dir = daemon->images_dir,
		.recipe = name,
		.entries_max = daemon->config.limit_entries,
		.bytes_max = daemon->config.limit_image_bytes,
	};
	AUTO_IMAGE_RECORD intent = { 0 };
	struct err undo_err = ERR_INIT;
	int r;

	if (!recipe)
		return unknown_image(name, err);
	image_record_init(&intent);
	intent.name = mem_strdup(name);
	intent.state = ARTIFACT_PULLING;
	r = store_image_put(daemon->store, &intent, err);
	if (r < 0)
		return r;
	failpoint("image.pull.intent");
	r = image_build(&request, job->cancel, job->progress, ret, err);
	if (r < 0) {
		if (settle_image(daemon, name, &undo_err) < 0)
			err_append(err, &undo_err);
		return r;
	}
	failpoint("image.pull.built");
	ret->state = ARTIFACT_READY;
	r = store_image_put(daemon->store, ret, err);
	if (r < 0) {
		if (image_remove(daemon->images_dir, name, &undo_err) < 0)
			err_append(err, &undo_err);
		image_record_done(ret);
		return r;
	}
	failpoint("image.pull.stored");
	return 0;
}

/* Somebody may have removed the folder by hand. */
static bool has_image_files(const struct daemon *daemon, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s/%s", daemon->images_dir, name, IMAGE_ROOT_FILE);

	return access(path, F_OK) == 0;
}

/* 1 when there is a record that is ready, 0 when there is none (worth the name). */
static int load_ready_image(struct daemon *daemon, const char *name, struct image_record *ret,
			    struct err *err)
{
	struct err lookup_err = ERR_INIT;
	const int r = store_image_get(daemon->store, name, ret, &lookup_err);

	if (r < 0 && lookup_err.kind == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = lookup_err;
		return r;
	}
	if (ret->state == ARTIFACT_READY && has_image_files(daemon, name))
		return 1;
	image_record_done(ret);
	return 0;
}

int artifact_ensure_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct image_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = load_ready_image(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!image_recipe_find(name))
		return unknown_image(name, err);
	r = lock(daemon, "image", name, job, &hold, err);
	if (r < 0)
		return r;
	r = load_ready_image(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = build_image(daemon, name, job, ret, err);
	return r < 0 && err->kind == ERR_BUSY ? still_used("image", name, r, err) : r;
}

int artifact_pull_image(struct daemon *daemon, const char *name, const struct job *job,
			struct image_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	if (!image_recipe_find(name))
		return unknown_image(name, err);
	r = lock(daemon, "image", name, job, &hold, err);
	if (r < 0)
		return r;
	r = build_image(daemon, name, job, ret, err);
	if (r < 0 && err->kind == ERR_BUSY)
		err_hint(err, "delete the VMs that use it first ('banger vm list' shows them)");
	return r;
}

int artifact_delete_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = lock(daemon, "image", name, job, &hold, err);
	if (r < 0)
		return r;
	r = store_image_set_state(daemon->store, name, ARTIFACT_DELETING, err);
	if (r < 0)
		return err->kind == ERR_NOT_FOUND ? unknown_image(name, err) : r;
	failpoint("image.delete.intent");
	r = image_remove(daemon->images_dir, name, err);
	if (r < 0 && err->kind != ERR_NOT_FOUND)
		return r;
	failpoint("image.delete.removed");
	return store_image_delete(daemon->store, name, err);
}

/* --- kernels --- */

static int unknown_kernel(const char *name, struct err *err)
{
	const int r = err_set(err, ERR_NOT_FOUND, "no kernel '%s'", name);

	err_hint(err, "'banger kernel list --available' shows what can be pulled");
	return r;
}

/* As settle_image(). */
static int settle_kernel(struct daemon *daemon, const char *name, struct err *err)
{
	struct err load_err = ERR_INIT;
	AUTO_KERNEL kernel;

	kernel_init(&kernel);
	if (kernel_load(daemon->kernels_dir, name, &kernel, &load_err) < 0)
		return store_kernel_delete(daemon->store, name, err);
	kernel.record.state = ARTIFACT_READY;
	return store_kernel_put(daemon->store, &kernel.record, err);
}

static int build_kernel(struct daemon *daemon, const char *name, const struct job *job,
			struct kernel_record *ret, struct err *err)
{
	AUTO_KERNEL kernel;
	AUTO_KERNEL_RECORD intent = { 0 };
	struct err undo_err = ERR_INIT;
	int r;

	kernel_record_init(&intent);
	kernel_init(&kernel);
	if (!kernel_source_find(name))
		return unknown_kernel(name, err);
	intent.name = mem_strdup(name);
	intent.state = ARTIFACT_PULLING;
	r = store_kernel_put(daemon->store, &intent, err);
	if (r < 0)
		return r;
	failpoint("kernel.pull.intent");
	r = kernel_pull(daemon->kernels_dir, name, job->cancel, job->progress, &kernel, err);
	if (r < 0) {
		if (settle_kernel(daemon, name, &undo_err) < 0)
			err_append(err, &undo_err);
		return r;
	}
	failpoint("kernel.pull.built");
	kernel.record.state = ARTIFACT_READY;
	r = store_kernel_put(daemon->store, &kernel.record, err);
	if (r < 0) {
		if (kernel_remove(daemon->kernels_dir, name, &undo_err) < 0)
			err_append(err, &undo_err);
		return r;
	}
	failpoint("kernel.pull.stored");
	/* The record is given away; what is left of the kernel can still be released. */
	*ret = kernel.record;
	kernel_record_init(&kernel.record);
	return 0;
}

static bool has_kernel_files(const struct daemon *daemon, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s/%s", daemon->kernels_dir, name, KERNEL_ELF_FILE);

	return access(path, F_OK) == 0;
}

static int load_ready_kernel(struct daemon *daemon, const char *name, struct kernel_record *ret,
			     struct err *err)
{
	struct err lookup_err = ERR_INIT;
	const int r = store_kernel_get(daemon->store, name, ret, &lookup_err);

	if (r < 0 && lookup_err.kind == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = lookup_err;
		return r;
	}
	if (ret->state == ARTIFACT_READY && has_kernel_files(daemon, name))
		return 1;
	kernel_record_done(ret);
	return 0;
}

int artifact_ensure_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct kernel_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = load_ready_kernel(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!kernel_source_find(name))
		return unknown_kernel(name, err);
	r = lock(daemon, "kernel", name, job, &hold, err);
	if (r < 0)
		return r;
	r = load_ready_kernel(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = build_kernel(daemon, name, job, ret, err);
	return r < 0 && err->kind == ERR_BUSY ? still_used("kernel", name, r, err) : r;
}

int artifact_pull_kernel(struct daemon *daemon, const char *name, const struct job *job,
			 struct kernel_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	if (!kernel_source_find(name))
		return unknown_kernel(name, err);
	r = lock(daemon, "kernel", name, job, &hold, err);
	if (r < 0)
		return r;
	r = build_kernel(daemon, name, job, ret, err);
	if (r < 0 && err->kind == ERR_BUSY)
		err_hint(err, "delete the VMs that use it first ('banger vm list' shows them)");
	return r;
}

int artifact_delete_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = lock(daemon, "kernel", name, job, &hold, err);
	if (r < 0)
		return r;
	r = store_kernel_set_state(daemon->store, name, ARTIFACT_DELETING, err);
	if (r < 0)
		return err->kind == ERR_NOT_FOUND ? unknown_kernel(name, err) : r;
	failpoint("kernel.delete.intent");
	r = kernel_remove(daemon->kernels_dir, name, err);
	if (r < 0 && err->kind != ERR_NOT_FOUND)
		return r;
	failpoint("kernel.delete.removed");
	return store_kernel_delete(daemon->store, name, err);
}

/* --- after a crash --- */

/* One that cannot be put right must not keep the others from being used. */
static void tell_left(const char *kind, const char *name, const struct err *err)
{
	log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = err },
		  "cannot put %s '%s' right, leaving it as it is", kind, name);
}

static int reconcile_image_record(struct daemon *daemon, const struct image_record *record,
				  struct err *err)
{
	struct err load_err = ERR_INIT;

	if (record->state == ARTIFACT_DELETING) {
		if (image_remove(daemon->images_dir, record->name, &load_err) < 0 &&
		    load_err.kind != ERR_NOT_FOUND) {
			*err = load_err;
			return -EIO;
		}
		return store_image_delete(daemon->store, record->name, err);
	}
	if (record->state == ARTIFACT_READY && has_image_files(daemon, record->name))
		return 0;
	return settle_image(daemon, record->name, err);
}

static int reconcile_kernel_record(struct daemon *daemon, const struct kernel_record *record,
				   struct err *err)
{
	struct err load_err = ERR_INIT;

	if (record->state == ARTIFACT_DELETING) {
		if (kernel_remove(daemon->kernels_dir, record->name, &load_err) < 0 &&
		    load_err.kind != ERR_NOT_FOUND) {
			*err = load_err;
			return -EIO;
		}
		return store_kernel_delete(daemon->store, record->name, err);
	}
	if (record->state == ARTIFACT_READY && has_kernel_files(daemon, record->name))
		return 0;
	return settle_kernel(daemon, record->name, err);
}

/* One that has a record, also one that could not be put right, has its state from there. */
static int adopt_image(struct daemon *daemon, struct image_record *found, struct err *err)
{
	AUTO_IMAGE_RECORD known = { 0 };
	struct err lookup_err = ERR_INIT;

	if (store_image_get(daemon->store, found->name, &known, &lookup_err) == 0)
		return 0;
	if (lookup_err.kind != ERR_NOT_FOUND) {
		*err = lookup_err;
		return -EIO;
	}
	found->state = ARTIFACT_READY;
	return store_image_put(daemon->store, found, err);
}

static int adopt_kernel(struct daemon *daemon, struct kernel_record *found, struct err *err)
{
	AUTO_KERNEL_RECORD known = { 0 };
	struct err lookup_err = ERR_INIT;

	if (store_kernel_get(daemon->store, found->name, &known, &lookup_err) == 0)
		return 0;
	if (lookup_err.kind != ERR_NOT_FOUND) {
		*err = lookup_err;
		return -EIO;
	}
	found->state = ARTIFACT_READY;
	return store_kernel_put(daemon->store, found, err);
}

/* Folders that have no record: a database that was lost, or copied from elsewhere. */
static int adopt_folders(struct daemon *daemon, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST images = { 0 };
	AUTO_KERNEL_RECORD_LIST kernels = { 0 };
	int r;

	r = image_load_all(daemon->images_dir, &images, err);
	for (size_t i = 0; i < images.count && r == 0; i++)
		r = adopt_image(daemon, &images.items[i], err);
	if (r == 0)
		r = kernel_list(daemon->kernels_dir, &kernels, err);
	for (size_t i = 0; i < kernels.count && r == 0; i++)
		r = adopt_kernel(daemon, &kernels.items[i], err);
	return r;
}

int artifact_reconcile(struct daemon *daemon, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST images = { 0 };
	AUTO_KERNEL_RECORD_LIST kernels = { 0 };
	int r;

	r = image_sweep(daemon->images_dir, err);
	if (r == 0)
		r = kernel_sweep(daemon->kernels_dir, err);
	if (r == 0)
		r = store_image_list(daemon->store, &images, err);
	for (size_t i = 0; i < images.count && r == 0; i++) {
		struct err image_err = ERR_INIT;

		if (reconcile_image_record(daemon, &images.items[i], &image_err) < 0)
			tell_left("image", images.items[i].name, &image_err);
	}
	if (r == 0)
		r = store_kernel_list(daemon->store, &kernels, err);
	for (size_t i = 0; i < kernels.count && r == 0; i++) {
		struct err kernel_err = ERR_INIT;

		if (reconcile_kernel_record(daemon, &kernels.items[i], &kernel_err) < 0)
			tell_left("kernel", kernels.items[i].name, &kernel_err);
	}
	return r == 0 ? adopt_folders(daemon, err) : r;
}
