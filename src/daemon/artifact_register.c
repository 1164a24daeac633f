/* Images of the user's own files: registering, with or without a kernel, and promoting. */
#include "daemon/artifacts.h"

#include "base/failpoint.h"
#include "daemon/artifact_image.h"
#include "image/register.h"
#include "kernel/import.h"
#include "model/names.h"

static int check_new(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_IMAGE_RECORD present = { 0 };
	int r;

	r = artifact_load_image(daemon, name, &present, err);
	if (r <= 0)
		return r;
	r = err_set(err, ERR_EXISTS, "an image named '%s' exists already", name);
	err_hint(err, "choose another name, or delete it with 'banger image delete %s'", name);
	return r;
}

/*
 * Stores the intent, then makes the kernel that comes with the image. Its lock is held from before
 * its name was found to be free: what is undone later is ours.
 */
static int begin(struct image_making *making, const struct kernel_import_request *kernel,
		 const struct job *job, struct err *err)
{
	struct kernel_record imported = { 0 };
	int r;

	if (!kernel)
		return image_making_begin(making, err);
	r = artifact_claim_new_kernel(job, kernel->name, &making->kernel_hold, err);
	if (r == 0)
		r = image_making_begin(making, err);
	if (r == 0)
		r = artifact_import_claimed_kernel(job, kernel, &imported, err);
	if (r < 0)
		return r;
	kernel_record_done(&imported);
	failpoint("image.register.kernel");
	return 0;
}

int artifact_register_image(struct daemon *daemon, const struct artifact_image_files *files,
			    const struct job *job, struct image_record *ret, struct err *err)
{
	struct image_making making = IMAGE_MAKING(daemon, files->name);
	const struct image_register_request request = {
		.images_dir = daemon->images_dir,
		.name = files->name,
		.rootfs = files->rootfs,
		.work_seed = files->work_seed,
		.kernel = files->own_kernel ? files->own_kernel->name : files->kernel,
	};
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	if (files->own_kernel)
		making.kernel = files->own_kernel->name;
	r = name_check_image(files->name, err);
	if (r == 0)
		r = artifact_lock(job, "image", files->name, &hold, NULL, err);
	if (r == 0)
		r = check_new(daemon, files->name, err);
	if (r == 0 && files->kernel)
		r = artifact_check_kernel(daemon, files->kernel, err);
	if (r == 0)
		r = begin(&making, files->own_kernel, job, err);
	if (r == 0)
		r = image_register(&request, job->cancel, ret, err);
	r = image_making_finish(&making, r, ret, err);
	keylock_release(&making.kernel_hold);
	return r;
}

/* --- promoting --- */

/*
 * The record is first: when it cannot be stored, nothing has happened. Until the files follow, a
 * managed image has none, so whoever wants it waits for the lock.
 */
static int store_managed(void *context, const struct image_record *image, struct err *err)
{
	struct image_making *making = context;
	int r;

	r = store_image_put(making->daemon->store, image, err);
	if (r < 0)
		return r;
	making->is_begun = true;
	failpoint("image.promote.stored");
	return 0;
}

int artifact_promote_image(struct daemon *daemon, const char *name, const struct job *job,
			   struct image_record *ret, struct err *err)
{
	struct image_making making = IMAGE_MAKING(daemon, name);
	const struct image_promote_request request = {
		.images_dir = daemon->images_dir,
		.name = name,
		.begin = store_managed,
		.context = &making,
	};
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_IMAGE_RECORD present = { 0 };
	struct err undo_err = ERR_INIT;
	int r;

	r = artifact_lock(job, "image", name, &hold, NULL, err);
	if (r < 0)
		return r;
	r = artifact_load_image(daemon, name, &present, err);
	if (r <= 0)
		return r < 0 ? r : artifact_no_image(daemon, name, err);
	/* VMs that use it go on: what lies under their disks has the same content afterwards. */
	r = image_promote(&request, job->cancel, job->progress, ret, err);
	if (r == 0)
		failpoint("image.promote.moved");
	else if (making.is_begun && image_making_settle(&making, &undo_err) < 0)
		err_append(err, &undo_err);
	return r;
}
