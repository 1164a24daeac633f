#include "image/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ext4/ext4.h"
#include "image/folder.h"
#include "image/recipe.h"
#include "image/worker.h"
#include "kernel/mmdebstrap.h"

#define STAGE	       "image"
#define PIECE_SIZE     ((size_t)256 * 1024)
#define PROGRESS_BYTES (8ULL << 20)
#define KIND_MANAGED   "managed"

/* One build, from its staging folder to its place. */
struct build {
	const struct image_build_request *request; /* borrowed, as the next three */
	const struct image_recipe *recipe;
	const struct cancel *cancel;
	const struct progress *progress;
	int images_fd; /* owned, as the next three */
	int staging_fd;
	int root_fd;
	int seed_fd;
	char *staging;	    /* owned: its name while it has to be removed */
	char *staging_path; /* owned */
	struct ext4_summary summary;
};

static void build_done(struct build *build)
{
	fd_close(build->root_fd);
	fd_close(build->seed_fd);
	fd_close(build->staging_fd);
	/* What cannot be removed now is removed by the next sweep. */
	if (build->staging)
		(void)!dir_remove_tree(build->images_fd, build->staging);
	fd_close(build->images_fd);
	mem_free(build->staging);
	mem_free(build->staging_path);
}

static int create_file(struct build *build, const char *name, int *ret_fd, struct err *err)
{
	*ret_fd = openat(build->staging_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*ret_fd < 0)
		return err_sys(err, -errno, "make '%s/%s'", build->staging_path, name);
	return 0;
}

static int make_staging(struct build *build, struct err *err)
{
	AUTO_FREE char *name = NULL;
	int r;

	r = folder_make_images(build->request->images_dir, &build->images_fd, err);
	if (r < 0)
		return r;
	r = folder_name(FOLDER_NEW, build->recipe->name, &name);
	if (r < 0)
		return err_sys(err, r, "make a name");
	if (mkdirat(build->images_fd, name, 0700) < 0)
		return err_sys(err, -errno, "make '%s/%s'", build->request->images_dir, name);
	build->staging_path = mem_printf("%s/%s", build->request->images_dir, name);
	build->staging = TAKE_PTR(name);
	build->staging_fd = dir_open_at(build->images_fd, build->staging);
	if (build->staging_fd < 0)
		return err_sys(err, build->staging_fd, "open '%s'", build->staging_path);
	if (mkdirat(build->staging_fd, FOLDER_WORK, 0700) < 0)
		return err_sys(err, -errno, "make '%s/%s'", build->staging_path, FOLDER_WORK);
	r = create_file(build, IMAGE_ROOT_FILE, &build->root_fd, err);
	if (r == 0)
		r = create_file(build, IMAGE_SEED_FILE, &build->seed_fd, err);
	if (r == 0)
		failpoint("image.build.staged");
	return r;
}

/* SOURCE_DATE_EPOCH, which mmdebstrap honours too. */
static int read_epoch(struct ext4_options *options, struct err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv() */
	const char *epoch = getenv("SOURCE_DATE_EPOCH");

	if (!epoch)
		return 0;
	if (!parse_i64_text(epoch, 0, INT64_MAX, &options->epoch))
		return err_set(err, ERR_INVALID, "SOURCE_DATE_EPOCH='%s' is no time", epoch);
	options->has_epoch = true;
	return 0;
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

static int write_image(struct build *build, struct err *err)
{
	AUTO_FREE char *work_path = mem_printf("%s/%s", build->staging_path, FOLDER_WORK);
	AUTO_CLOSE int work_fd = dir_open_at(build->staging_fd, FOLDER_WORK);
	CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
	CLEANUP(mmdebstrap_freep) struct mmdebstrap *run = NULL;
	struct ext4_options options = EXT4_OPTIONS_INIT;
	int r;

	if (work_fd < 0)
		return err_sys(err, work_fd, "open '%s'", work_path);
	options.size_bytes = build->request->size_bytes;
	options.limits.entries = build->request->entries_max;
	options.limits.bytes = build->request->bytes_max;
	r = read_epoch(&options, err);
	if (r == 0)
		r = image_worker_start(build->request->worker_program, build->root_fd,
				       build->seed_fd, &options, &worker, err);
	if (r == 0)
		r = start_mmdebstrap(build, work_fd, work_path, &run, err);
	if (r == 0)
		r = pump(build, run, &worker, err);
	if (r == 0 || r == -EPIPE)
		r = image_worker_finish(&worker, build->cancel, &build->summary, err);
	return r;
}

/* --- into its place --- */

static int fill_record(struct build *build, struct image_record *image, struct err *err)
{
	uint64_t root_used = 0;
	uint64_t seed_used = 0;
	uint64_t size = 0;
	int r;

	r = file_usage(build->root_fd, &root_used, &size);
	if (r == 0)
		r = file_usage(build->seed_fd, &seed_used, &size);
	if (r < 0)
		return err_sys(err, r, "examine the image");
	image->state = ARTIFACT_READY;
	image->name = mem_strdup(build->recipe->name);
	image->kind = mem_strdup(KIND_MANAGED);
	image->recipe = mem_strdup(build->recipe->name);
	image->kernel = mem_strdup(build->recipe->kernel);
	image->size_bytes = build->summary.size_bytes;
	image->used_bytes = root_used + seed_used;
	image->has_init = build->summary.has_init;
	image->built_at = clock_wall_seconds();
	return 0;
}

/*
 * Exchanging names leaves no moment without an image; afterwards the staging folder is the old one,
 * and is removed as such. Not every file system can do that.
 */
static int swap_in(struct build *build, struct err *err)
{
	const char *name = build->recipe->name;

	if (renameat2(build->images_fd, build->staging, build->images_fd, name, RENAME_EXCHANGE) ==
	    0)
		return 0;
	if (errno != ENOENT) {
		int r = folder_discard(build->images_fd, name, err);

		if (r < 0)
			return r;
	}
	if (renameat(build->images_fd, build->staging, build->images_fd, name) < 0)
		return err_sys(err, -errno, "rename '%s'", build->staging_path);
	mem_free(build->staging);
	build->staging = NULL;
	return 0;
}

static int publish(struct build *build, struct err *err)
{
	int r;

	r = dir_remove_tree(build->staging_fd, FOLDER_WORK);
	if (r < 0)
		return err_sys(err, r, "remove '%s/%s'", build->staging_path, FOLDER_WORK);
	if (fsync(build->staging_fd) < 0)
		return err_sys(err, -errno, "sync '%s'", build->staging_path);
	r = swap_in(build, err);
	if (r < 0)
		return r;
	failpoint("image.build.renamed");
	if (fsync(build->images_fd) < 0)
		return err_sys(err, -errno, "sync '%s'", build->request->images_dir);
	return 0;
}

int image_build(const struct image_build_request *request, const struct cancel *cancel,
		const struct progress *progress, struct image_record *ret, struct err *err)
{
	CLEANUP(build_done)
	struct build build = { .request = request,
			       .recipe = image_recipe_find(request->recipe),
			       .cancel = cancel,
			       .progress = progress,
			       .images_fd = -1,
			       .staging_fd = -1,
			       .root_fd = -1,
			       .seed_fd = -1 };
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	if (!build.recipe)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s' in the catalog",
			       request->recipe);
	r = make_staging(&build, err);
	if (r == 0)
		r = write_image(&build, err);
	if (r < 0)
		return r;
	if (build.recipe->has_init && !build.summary.has_init)
		return err_set(err, ERR_PROTOCOL, "the packages came without /sbin/init");
	failpoint("image.build.written");

	r = fill_record(&build, &image, err);
	if (r == 0)
		r = folder_write_record(build.staging_fd, &image, &build.summary, err);
	if (r == 0)
		r = publish(&build, err);
	if (r < 0)
		return r;
	*ret = image;
	image_record_init(&image);
	return 0;
}
