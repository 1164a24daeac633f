#include "image/image.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "ext4/ext4.h"
#include "image/recipe.h"
#include "image/staging.h"
#include "image/worker.h"
#include "kernel/mmdebstrap.h"

#define STAGE	       "image"
#define PIECE_SIZE     ((size_t)256 * 1024)
#define PROGRESS_BYTES (8ULL << 20)

struct build {
	const struct image_build_request *request; /* borrowed, as the next three */
	const struct image_recipe *recipe;
	const struct cancel *cancel;
	const struct progress *progress;
	struct staging staging;
	struct ext4_summary summary;
};

static void build_done(struct build *build)
{
	staging_done(&build->staging);
}

/* --- from mmdebstrap to the worker --- */

static int pump(struct build *build, struct mmdebstrap *run, struct image_worker *worker,
		struct err *err)
{
	AUTO_FREE uint8_t *piece = mem_alloc(1, PIECE_SIZE);
	uint64_t done = 0;
	uint64_t reported = 0;

	for (;;) {
		ssize_t n = mmdebstrap_read(run, piece, PIECE_SIZE, build->cancel, build->progress,
					    err);
		int r;

		if (n <= 0)
			return (int)n;
		r = image_worker_send(worker, piece, (size_t)n, build->cancel);
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "cancelled");
		if (r == -ETIMEDOUT)
			return image_worker_stalled(worker, err);
		/* It has stopped reading, and says why when it is asked. */
		if (r == -EPIPE)
			return -EPIPE;
		if (r < 0)
			return err_sys(err, r, "send the tar stream to the image worker");
		done += (uint64_t)n;
		if (done - reported >= PROGRESS_BYTES) {
			progress_report(build->progress, STAGE, "writing the image", done, 0);
			reported = done;
		}
	}
}

static int start_mmdebstrap(struct build *build, int work_fd, const char *work_path,
			    struct mmdebstrap **ret, struct err *err)
{
	const struct image_recipe *recipe = build->recipe;
	AUTO_STRV options = { .count = 0 };
	struct mmdebstrap_request request = {
		.suite = recipe->suite,
		.variant = recipe->variant,
		.packages = recipe->packages,
		.owners_matter = true,
		.work_dir_fd = work_fd,
		.work_dir_path = work_path,
		.stage = STAGE,
	};

	while (recipe->packages[request.package_count])
		request.package_count++;
	recipe_options(recipe, &options);
	request.options = (const char *const *)strv_argv(&options);
	request.option_count = options.count;
	return mmdebstrap_start(&request, ret, err);
}

static int make_work_folder(const struct staging *staging, const char *path, int *ret_fd,
			    struct err *err)
{
	if (mkdirat(staging->dir_fd, FOLDER_WORK, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", path);
	*ret_fd = dir_open_at(staging->dir_fd, FOLDER_WORK);
	return *ret_fd < 0 ? err_sys(err, *ret_fd, "open '%s'", path) : 0;
}

static int write_image(struct build *build, struct err *err)
{
	const struct staging *staging = &build->staging;
	const struct image_worker_setup setup = { .program = build->request->worker_program,
						  .image_fd = staging->root_fd,
						  .seed_fd = staging->seed_fd,
						  .limits = build->request->limits };
	AUTO_FREE char *work_path = mem_printf("%s/%s", staging->path, FOLDER_WORK);
	AUTO_CLOSE int work_fd = -1;
	CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
	CLEANUP(mmdebstrap_freep) struct mmdebstrap *run = NULL;
	struct ext4_options options = EXT4_OPTIONS_INIT;
	int r;

	options.size_bytes = build->request->size_bytes;
	r = make_work_folder(staging, work_path, &work_fd, err);
	if (r == 0)
		r = staging_read_epoch(&options, err);
	if (r == 0)
		r = image_worker_start(&setup, &options, &worker, err);
	if (r == 0)
		r = start_mmdebstrap(build, work_fd, work_path, &run, err);
	if (r == 0)
		r = pump(build, run, &worker, err);
	if (r == 0 || r == -EPIPE)
		r = image_worker_finish(&worker, build->cancel, &build->summary, err);
	return r;
}

static int fill_record(struct build *build, struct image_record *image, struct err *err)
{
	image->recipe = mem_strdup(build->recipe->name);
	image->is_sized = build->request->size_bytes > 0;
	image->kernel = mem_strdup(build->recipe->kernel);
	return staging_describe(&build->staging, &build->summary, image, err);
}

int image_build(const struct image_build_request *request, const struct cancel *cancel,
		const struct progress *progress, struct image_record *ret, struct err *err)
{
	CLEANUP(build_done)
	struct build build = { .request = request,
			       .recipe = image_recipe_find(request->recipe),
			       .cancel = cancel,
			       .progress = progress,
			       .staging = STAGING_INIT };
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	if (!build.recipe)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s' in the catalog",
			       request->recipe);
	r = staging_begin(&build.staging, request->images_dir,
			  request->name ? request->name : build.recipe->name, err);
	if (r == 0)
		r = write_image(&build, err);
	if (r < 0)
		return r;
	if (build.recipe->has_init && !build.summary.has_init)
		return err_set(err, ERR_PROTOCOL, "the packages came without /sbin/init");
	failpoint("image.build.written");

	r = fill_record(&build, &image, err);
	if (r == 0)
		r = staging_publish(&build.staging, &image, &build.summary, NULL, err);
	if (r < 0)
		return r;
	*ret = image;
	image_record_init(&image);
	return 0;
}
