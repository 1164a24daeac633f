#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/register.h"
#include "image/registered.h"
#include "image/seed.h"
#include "image/staging.h"
#include "model/names.h"

#define STAGE "image"

/* Copies a file that is recorded, unless it is or becomes another. */
static int copy_in(const struct registered_file *file, int to, const struct cancel *cancel,
		   const struct progress *progress, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int again = -1;
	bool is_reflinked = false;
	int r;

	r = registered_open_again(file, &fd, err);
	if (r < 0)
		return r;
	progress_report(progress, STAGE, "copying the image", 0, file->size_bytes);
	r = file_clone(fd, to, cancel, &is_reflinked);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r < 0)
		return err_sys(err, r, "copy '%s'", file->path);
	r = registered_open_again(file, &again, err);
	if (r < 0)
		return r;
	return fsync(to) < 0 ? err_sys(err, -errno, "copy '%s'", file->path) : 0;
}

/* The seed that the user gave, else the empty one of the registered image. */
static int copy_seed(int dir_fd, const struct registered *registered, struct staging *staging,
		     const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	bool is_reflinked = false;
	uint64_t size = 0;
	int r;

	if (registered->seed.path)
		return copy_in(&registered->seed, staging->seed_fd, cancel, progress, err);
	fd = openat(dir_fd, IMAGE_SEED_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return seed_make_empty(staging->seed_fd, &size, err);
	r = file_clone(fd, staging->seed_fd, cancel, &is_reflinked);
	if (r == 0 && fsync(staging->seed_fd) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "copy '%s'", IMAGE_SEED_FILE) : 0;
}

static int describe(struct staging *staging, const struct image_record *old,
		    struct ext4_summary *summary, struct image_record *image, struct err *err)
{
	struct stat root;
	struct stat seed;
	int r;

	if (fstat(staging->root_fd, &root) < 0 || fstat(staging->seed_fd, &seed) < 0)
		return err_sys(err, -errno, "examine the image");
	summary->size_bytes = (uint64_t)root.st_size;
	summary->seed_size_bytes = (uint64_t)seed.st_size;
	r = staging_describe(staging, summary, image, err);
	image->kernel = mem_strdup(old->kernel);
	image->source = mem_strdup(old->source);
	return r;
}

static int promote(const struct image_promote_request *request, const struct cancel *cancel,
		   const struct progress *progress, struct image_record *image, struct err *err)
{
	const char *images_dir = request->images_dir;
	const char *name = request->name;
	CLEANUP(staging_done) struct staging staging = STAGING_INIT;
	AUTO_REGISTERED registered = { .root = { .path = NULL } };
	struct ext4_summary summary = { 0 };
	AUTO_IMAGE_RECORD old;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	image_record_init(&old);
	r = folder_open_image(images_dir, name, &dir_fd, err);
	if (r == 0)
		r = folder_read_record(dir_fd, name, &old, err);
	if (r == 0 && !str_eq(old.kind, IMAGE_KIND_REGISTERED))
		r = err_set(err, ERR_BAD_STATE,
			    "it is no registered image: its files are banger's");
	if (r == 0)
		r = registered_read(dir_fd, &registered, err);
	if (r == 0)
		r = staging_begin(&staging, images_dir, name, err);
	if (r == 0)
		r = copy_in(&registered.root, staging.root_fd, cancel, progress, err);
	if (r == 0)
		r = copy_seed(dir_fd, &registered, &staging, cancel, progress, err);
	if (r == 0)
		r = staging_find_init(&staging, request->worker_program, cancel, &summary.has_init,
				      err);
	if (r == 0)
		r = describe(&staging, &old, &summary, image, err);
	if (r == 0)
		r = cancel_check(cancel, err);
	if (r == 0 && request->begin)
		r = request->begin(request->context, image, err);
	return r == 0 ? staging_publish(&staging, image, &summary, NULL, err) : r;
}

int image_promote(const struct image_promote_request *request, const struct cancel *cancel,
		  const struct progress *progress, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = name_check_image(request->name, err);
	if (r < 0)
		return r;
	r = promote(request, cancel, progress, &image, err);
	if (r < 0)
		return err_context(err, r, "promote image '%s'", request->name);
	*ret = image;
	image_record_init(&image);
	return 0;
}
