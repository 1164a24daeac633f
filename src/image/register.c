#include "image/register.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/inspect.h"
#include "image/registered.h"
#include "image/seed.h"
#include "image/staging.h"
#include "image/superblock.h"
#include "model/names.h"

static int open_checked(const char *path, struct registered_file *ret, int *ret_fd,
			struct superblock *ret_superblock, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = registered_open(path, ret, &fd, err);
	if (r < 0)
		return r;
	r = superblock_read_fd(fd, ret_superblock, err);
	if (r < 0)
		return err_context(err, r, "'%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Checks what the user named, and fills what is recorded of it. */
static int examine(const struct image_register_request *request, const struct cancel *cancel,
		   struct registered *registered, struct ext4_summary *summary, uint64_t *ret_used,
		   struct err *err)
{
	struct superblock superblock = { .size_bytes = 0 };
	AUTO_CLOSE int root_fd = -1;
	AUTO_CLOSE int seed_fd = -1;
	uint64_t size;
	int r;

	r = open_checked(request->rootfs, &registered->root, &root_fd, &superblock, err);
	if (r < 0)
		return r;
	summary->size_bytes = registered->root.size_bytes;
	r = file_usage(root_fd, ret_used, &size);
	if (r < 0)
		return err_sys(err, r, "examine '%s'", request->rootfs);
	r = inspect_has_init(request->worker_program, root_fd, cancel, &summary->has_init, err);
	if (r < 0)
		return err_context(err, r, "'%s'", request->rootfs);
	if (!request->work_seed)
		return 0;
	r = open_checked(request->work_seed, &registered->seed, &seed_fd, &superblock, err);
	summary->seed_size_bytes = registered->seed.size_bytes;
	return r;
}

/* The staging folder comes with two empty files: those that the user has are not ours. */
static int drop_files(struct staging *staging, bool has_seed, struct err *err)
{
	if (unlinkat(staging->dir_fd, IMAGE_ROOT_FILE, 0) < 0 ||
	    (has_seed && unlinkat(staging->dir_fd, IMAGE_SEED_FILE, 0) < 0))
		return err_sys(err, -errno, "remove an empty file");
	return 0;
}

static int refuse_existing(const struct image_register_request *request, struct err *err)
{
	struct err ignored = ERR_INIT;
	int fd = -1;

	if (folder_open_image(request->images_dir, request->name, &fd, &ignored) < 0)
		return 0;
	fd_close(fd);
	return err_set(err, ERR_EXISTS, "there is an image '%s' already", request->name);
}

static int make(const struct image_register_request *request, const struct cancel *cancel,
		struct image_record *image, struct err *err)
{
	CLEANUP(staging_done) struct staging staging = STAGING_INIT;
	AUTO_REGISTERED registered = { .root = { .path = NULL } };
	struct ext4_summary summary = { 0 };
	uint64_t used = 0;
	int r;

	r = examine(request, cancel, &registered, &summary, &used, err);
	if (r == 0)
		r = staging_begin(&staging, request->images_dir, request->name, err);
	if (r == 0)
		r = drop_files(&staging, registered.seed.path != NULL, err);
	if (r == 0 && !registered.seed.path)
		r = seed_make_empty(staging.seed_fd, &summary.seed_size_bytes, err);
	if (r == 0)
		r = registered_write(staging.dir_fd, &registered, err);
	if (r < 0)
		return r;
	image->state = ARTIFACT_READY;
	image->name = mem_strdup(request->name);
	image->kind = mem_strdup(IMAGE_KIND_REGISTERED);
	image->kernel = mem_strdup(request->kernel);
	image->source = mem_strdup(request->rootfs);
	image->size_bytes = summary.size_bytes;
	image->used_bytes = used;
	image->has_init = summary.has_init;
	image->built_at = clock_wall_seconds();
	return staging_publish(&staging, image, &summary, NULL, err);
}

int image_register(const struct image_register_request *request, const struct cancel *cancel,
		   struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = name_check_image(request->name, err);
	if (r == 0 && request->kernel)
		r = name_check_kernel(request->kernel, err);
	if (r < 0)
		return r;
	r = refuse_existing(request, err);
	if (r == 0)
		r = make(request, cancel, &image, err);
	if (r < 0)
		return err_context(err, r, "register image '%s'", request->name);
	*ret = image;
	image_record_init(&image);
	return 0;
}
