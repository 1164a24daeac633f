/* Images: pulling, building, deleting, and what a crash leaves of that. */
#include "daemon/artifact_image.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/image_origin.h"
#include "daemon/template_builder.h"
#include "image/image.h"
#include "image/register.h"

/* What is here and has nearly that name goes into the hint. */
void artifact_hint_images(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST here = { 0 };
	AUTO_STRV names = { .items = NULL };
	struct err ignored = ERR_INIT;
	const char *nearest;

	if (store_image_list(daemon->store, &here, &ignored) == 0)
		for (size_t i = 0; i < here.count; i++)
			strv_add(&names, here.items[i].name);
	nearest = text_nearest(name, (const char *const *)names.items, names.count);
	err_hint(err, "%s%s%s'banger image list' shows what is here",
		 nearest ? "did you mean '" : "", nearest ? nearest : "", nearest ? "'? " : "");
}

int artifact_no_image(struct daemon *daemon, const char *name, struct err *err)
{
	const int r = err_set(err, ERR_NOT_FOUND, "no image '%s'", name);

	artifact_hint_images(daemon, name, err);
	return r;
}

/* Somebody may have removed the folder by hand. */
static bool has_files(const struct daemon *daemon, const struct image_record *image)
{
	const bool is_registered = str_eq(image->kind, IMAGE_KIND_REGISTERED);
	AUTO_FREE char *path = mem_printf("%s/%s/%s", daemon->images_dir, image->name,
					  is_registered ? IMAGE_RECORD_FILE : IMAGE_ROOT_FILE);

	return access(path, F_OK) == 0;
}

int artifact_load_image(struct daemon *daemon, const char *name, struct image_record *ret,
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
	if (ret->state == ARTIFACT_READY && has_files(daemon, ret))
		return 1;
	image_record_done(ret);
	return 0;
}

/* Whether there is a record that says ready, of files that are gone. */
static bool is_lost(struct daemon *daemon, const char *name)
{
	AUTO_IMAGE_RECORD known = { 0 };
	struct err ignored = ERR_INIT;

	return store_image_get(daemon->store, name, &known, &ignored) == 0 &&
	       known.state == ARTIFACT_READY && !has_files(daemon, &known);
}

/* The kernel that was to come with it, unless that is the one of what is there, goes with it. */
static int settle_kernel(const struct image_making *making, const char *present, struct err *err)
{
	AUTO_IMAGE_RECORD intent = { 0 };
	struct err lookup_err = ERR_INIT;

	if (store_image_get(making->daemon->store, making->name, &intent, &lookup_err) < 0) {
		if (lookup_err.kind == ERR_NOT_FOUND)
			return 0;
		*err = lookup_err;
		return -EIO;
	}
	if (intent.state != ARTIFACT_PULLING || !intent.kernel || str_eq(intent.kernel, present))
		return 0;
	return artifact_discard_kernel(making->daemon, intent.kernel,
				       making->kernel_hold.locks != NULL, err);
}

int image_making_settle(struct image_making *making, struct err *err)
{
	struct daemon *daemon = making->daemon;
	AUTO_IMAGE_RECORD found = { 0 };
	struct err load_err = ERR_INIT;
	const bool is_there = image_load(daemon->images_dir, making->name, &found, &load_err) == 0;
	int r;

	r = settle_kernel(making, found.kernel, err);
	if (r < 0)
		return r;
	if (!is_there)
		return store_image_delete(daemon->store, making->name, err);
	found.state = ARTIFACT_READY;
	return store_image_put(daemon->store, &found, err);
}

static int settle(struct daemon *daemon, const char *name, struct err *err)
{
	struct image_making making = IMAGE_MAKING(daemon, name);

	return image_making_settle(&making, err);
}

/* --- making --- */

int image_making_begin(void *context, struct err *err)
{
	struct image_making *making = context;
	AUTO_TEMPLATE_BUILDER_PAUSE pause = { .builder = NULL };
	AUTO_IMAGE_RECORD intent = { 0 };
	int r;

	image_record_init(&intent);
	intent.name = mem_strdup(making->name);
	intent.kernel = mem_strdup(making->kernel);
	intent.state = ARTIFACT_PULLING;
	r = template_builder_pause(making->daemon->template_builder, making->name, NULL, &pause,
				   err);
	if (r == 0)
		r = store_image_put(making->daemon->store, &intent, err);
	if (r < 0 && err->kind == ERR_BUSY && strstr(err->message, "in use"))
		err_hint(err, "delete the VMs that use it first ('banger vm list' shows them)");
	artifact_explain_use(making->daemon, making->name, NULL, err);
	if (r < 0)
		return err_context(err, r, "cannot make image '%s'", making->name);
	making->is_begun = true;
	failpoint("image.pull.intent");
	return 0;
}

int image_making_finish(struct image_making *making, int made, struct image_record *ret,
			struct err *err)
{
	struct daemon *daemon = making->daemon;
	struct err undo_err = ERR_INIT;
	int r = made;

	if (r == 0) {
		failpoint("image.pull.built");
		ret->state = ARTIFACT_READY;
		r = store_image_put(daemon->store, ret, err);
		if (r == 0) {
			failpoint("image.pull.stored");
			return 0;
		}
		image_record_done(ret);
		if (image_remove(daemon->images_dir, making->name, &undo_err) < 0)
			err_append(err, &undo_err);
	}
	/* What cannot be settled now, the next pass does. */
	undo_err = ERR_INIT;
	if (making->is_begun && image_making_settle(making, &undo_err) < 0)
		err_append(err, &undo_err);
	return r;
}

static struct image_record take_record(struct image_record *record)
{
	const struct image_record taken = *record;

	image_record_init(record);
	return taken;
}

/* Makes it under the image's lock. `present` is what is there, or NULL. */
static int make(const struct job *job, const struct image_origin *origin, uint64_t size_bytes,
		struct image_record *present, struct image_record *ret, struct err *err)
{
	struct image_making making = IMAGE_MAKING(job->daemon, origin->name);
	const struct image_make_request request = {
		.origin = origin,
		.size_bytes = size_bytes,
		.present = present,
		.begin = image_making_begin,
		.context = &making,
	};
	bool is_made;
	int r;

	r = image_origin_make(job->daemon, &request, job, &is_made, ret, err);
	if (r == 0 && !is_made) {
		assert(present);
		*ret = take_record(present);
		return 0;
	}
	return image_making_finish(&making, r, ret, err);
}

/*
 * A reference means one image. That another one is here under the name that follows from it is no
 * reason to take that, nor to put this one in its place.
 */
static int check_source(const struct image_origin *origin, const struct image_record *present,
			struct err *err)
{
	int r;

	if (!origin->source || str_eq(present->source, origin->source))
		return 0;
	r = err_set(err, ERR_EXISTS,
		    "the image '%s' that is here is another: it is from %s, not %s", present->name,
		    present->source ? present->source : "this host", origin->source);
	err_hint(err, "'banger image pull %s --name NAME' pulls it under another name",
		 origin->source);
	return r;
}

/* The image that is ready, if it is the one that `text` means. */
static int take_ready(struct daemon *daemon, const char *name, const char *text,
		      struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_ORIGIN origin = IMAGE_ORIGIN_INIT;
	int r;

	r = artifact_load_image(daemon, name, ret, err);
	/* A plain name is the image that is called so. */
	if (r <= 0 || str_eq(text, name))
		return r;
	r = image_origin_find(daemon, text, name, &origin, err);
	if (r == 0)
		r = check_source(&origin, ret, err);
	if (r < 0)
		image_record_done(ret);
	return r < 0 ? r : 1;
}

int artifact_ensure_image(struct daemon *daemon, const char *name, const char *text,
			  const struct job *job, struct image_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_IMAGE_ORIGIN origin = IMAGE_ORIGIN_INIT;
	int r;

	r = take_ready(daemon, name, text, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (job->is_background)
		return artifact_no_image(daemon, name, err);
	/* First the lock: somebody may be making one that no catalog knows. */
	r = artifact_lock(job, "image", name, &hold, NULL, err);
	if (r == 0)
		r = take_ready(daemon, name, text, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = image_origin_find(daemon, text, name, &origin, err);
	if (r == 0)
		r = make(job, &origin, 0, NULL, ret, err);
	if (r < 0 && is_lost(daemon, name))
		return err_context(err, r,
				   "the files of image '%s' are gone, and it cannot be made again",
				   name);
	return r;
}

int artifact_pull_image(struct daemon *daemon, const struct artifact_image_pull *pull,
			const struct job *job, struct image_record *ret, struct err *err)
{
	const int64_t asked_at = clock_wall_seconds();
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_IMAGE_ORIGIN origin = IMAGE_ORIGIN_INIT;
	AUTO_IMAGE_RECORD present = { 0 };
	bool has_waited = false;
	int found;
	int r;

	r = image_origin_find(daemon, pull->text, pull->name, &origin, err);
	if (r == 0)
		r = artifact_lock(job, "image", origin.name, &hold, &has_waited, err);
	if (r < 0)
		return r;
	found = artifact_load_image(daemon, origin.name, &present, err);
	if (found < 0)
		return found;
	/* With a name of the user's own, replacing is what was asked for. */
	if (found > 0 && !pull->name && !origin.entry) {
		r = check_source(&origin, &present, err);
		if (r < 0)
			return r;
	}
	/* Whom we waited for has just made what we want: the work is shared. */
	if (has_waited && found > 0 && pull->size_bytes == 0 && present.built_at >= asked_at &&
	    str_eq(present.source, origin.source)) {
		*ret = take_record(&present);
		return 0;
	}
	return make(job, &origin, pull->size_bytes, found > 0 ? &present : NULL, ret, err);
}

/* --- deleting --- */

int artifact_delete_image(struct daemon *daemon, const char *name, const struct job *job,
			  struct err *err)
{
	AUTO_TEMPLATE_BUILDER_PAUSE pause = { .builder = NULL };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = artifact_lock(job, "image", name, &hold, NULL, err);
	if (r == 0)
		r = template_builder_pause(daemon->template_builder, name, NULL, &pause, err);
	if (r < 0)
		return r;
	r = store_image_set_state(daemon->store, name, ARTIFACT_DELETING, err);
	artifact_explain_use(daemon, name, NULL, err);
	if (r < 0)
		return err->kind == ERR_NOT_FOUND ? artifact_no_image(daemon, name, err) : r;
	failpoint("image.delete.intent");
	r = image_remove(daemon->images_dir, name, err);
	if (r < 0 && err->kind != ERR_NOT_FOUND)
		return r;
	failpoint("image.delete.removed");
	return store_image_delete(daemon->store, name, err);
}

/* --- after a crash --- */

static int reconcile_record(struct daemon *daemon, const struct image_record *record,
			    struct err *err)
{
	AUTO_IMAGE_RECORD found = { 0 };
	struct err load_err = ERR_INIT;

	if (record->state == ARTIFACT_DELETING) {
		if (image_remove(daemon->images_dir, record->name, &load_err) < 0 &&
		    load_err.kind != ERR_NOT_FOUND) {
			*err = load_err;
			return -EIO;
		}
		return store_image_delete(daemon->store, record->name, err);
	}
	if (record->state == ARTIFACT_READY && has_files(daemon, record) &&
	    image_load(daemon->images_dir, record->name, &found, &load_err) == 0 &&
	    str_eq(found.kind, record->kind))
		return 0;
	return settle(daemon, record->name, err);
}

/* One that has a record, also one that could not be put right, has its state from there. */
static int adopt(struct daemon *daemon, struct image_record *found, struct err *err)
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

/* Folders that have no record: a database that was lost, or copied from elsewhere. */
static int adopt_folders(struct daemon *daemon, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST list = { 0 };
	int r;

	r = image_load_all(daemon->images_dir, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++)
		r = adopt(daemon, &list.items[i], err);
	return r;
}

int artifact_reconcile_images(struct daemon *daemon, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST images = { 0 };
	struct err sweep_err = ERR_INIT;
	int r;

	/* Leftovers that cannot be removed take room, and are tried again at the next start. */
	if (image_sweep(daemon->images_dir, &sweep_err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &sweep_err },
			  "cannot sweep the images, going on");
	r = store_image_list(daemon->store, &images, err);
	for (size_t i = 0; i < images.count && r == 0; i++) {
		struct err image_err = ERR_INIT;

		/* One that cannot be put right must not keep the others from being used. */
		if (reconcile_record(daemon, &images.items[i], &image_err) < 0)
			log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &image_err },
				  "cannot put image '%s' right, leaving it as it is",
				  images.items[i].name);
	}
	return r == 0 ? adopt_folders(daemon, err) : r;
}

/* --- each minute --- */

/* Not what an operation left half done that could not undo it: a full disk, for example. Files that
 * are gone are another matter. */
static bool is_settled(struct daemon *daemon, const struct image_record *record)
{
	AUTO_IMAGE_RECORD found = { 0 };
	struct err ignored = ERR_INIT;

	if (record->state != ARTIFACT_READY)
		return false;
	return has_files(daemon, record) ||
	       image_load(daemon->images_dir, record->name, &found, &ignored) < 0;
}

static void settle_image(struct daemon *daemon, const char *name)
{
	AUTO_FREE char *key = mem_printf("image:%s", name);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_IMAGE_RECORD record = { 0 };
	struct err err = ERR_INIT;

	if (!keylock_try(daemon->locks, key, &hold))
		return; /* somebody is at it: then it is not forgotten */
	if (store_image_get(daemon->store, name, &record, &err) < 0 || is_settled(daemon, &record))
		return;
	if (reconcile_record(daemon, &record, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot put image '%s' right, retrying", name);
	else
		log_write(LOG_LEVEL_INFO, NULL, "put image '%s' right", name);
}

void artifact_settle_images(struct daemon *daemon)
{
	AUTO_IMAGE_RECORD_LIST images = { 0 };
	struct err err = ERR_INIT;

	if (store_image_list(daemon->store, &images, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot list images, retrying");
	for (size_t i = 0; i < images.count; i++) {
		if (!is_settled(daemon, &images.items[i]))
			settle_image(daemon, images.items[i].name);
	}
}
