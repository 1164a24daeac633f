#include "image/share.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/register.h"
#include "image/staging.h"

/* The file's blocks, also for the empty file `to`; *ret_size is its size. */
static int share_file(int dir_fd, const char *name, int to, uint64_t *ret_size, struct err *err)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return err_sys(err, -errno, "open '%s'", name);
	if (ioctl(to, FICLONE, fd) < 0)
		return err_set(err, ERR_UNSUPPORTED,
			       "the file system cannot share blocks between files");
	*ret_size = (uint64_t)status.st_size;
	return fsync(to) < 0 ? err_sys(err, -errno, "sync '%s'", name) : 0;
}

static int check(const struct image_record *from, const struct image_share_request *request,
		 struct err *err)
{
	if (!str_eq(from->kind, IMAGE_KIND_MANAGED))
		return err_set(err, ERR_UNSUPPORTED, "its files are not banger's");
	if (!str_eq(from->digest, request->digest))
		return err_set(err, ERR_UNSUPPORTED, "it has become another");
	if (from->is_sized)
		return err_set(err, ERR_UNSUPPORTED, "its size was asked for");
	return 0;
}

static int share(const struct image_share_request *request, struct image_record *image,
		 struct err *err)
{
	CLEANUP(staging_done) struct staging staging = STAGING_INIT;
	AUTO_IMAGE_CONFIG config = IMAGE_CONFIG_INIT;
	struct ext4_summary summary = { 0 };
	AUTO_IMAGE_RECORD from;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	image_record_init(&from);
	r = folder_open_image(request->images_dir, request->from, &dir_fd, err);
	if (r == 0)
		r = folder_read_record(dir_fd, request->from, &from, err);
	if (r == 0)
		r = check(&from, request, err);
	if (r == 0)
		r = image_config_load(request->images_dir, request->from, &config, err);
	if (r == 0)
		r = staging_begin(&staging, request->images_dir, request->name, err);
	if (r == 0)
		r = share_file(dir_fd, IMAGE_ROOT_FILE, staging.root_fd, &summary.size_bytes, err);
	if (r == 0)
		r = share_file(dir_fd, IMAGE_SEED_FILE, staging.seed_fd, &summary.seed_size_bytes,
			       err);
	if (r < 0)
		return r;
	summary.has_init = from.has_init;
	r = staging_describe(&staging, &summary, image, err);
	if (r < 0)
		return r;
	image->recipe = mem_strdup(from.recipe);
	image->digest = mem_strdup(from.digest);
	image->source = mem_strdup(request->source);
	image->kernel = mem_strdup(request->kernel);
	return staging_publish(&staging, image, &summary, &config, err);
}

int image_share(const struct image_share_request *request, struct image_record *ret,
		struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = share(request, &image, err);
	if (r < 0)
		return r;
	*ret = image;
	image_record_init(&image);
	return 0;
}
