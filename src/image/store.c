#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/register.h"
#include "image/registered.h"
#include "kernel/mmdebstrap.h"
#include "model/names.h"

static int check_file(int dir_fd, const char *file, uint64_t size_min, struct err *err)
{
	struct stat st;

	if (fstatat(dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, -errno, "examine '%s'", file);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < size_min)
		return err_set(err, ERR_INVALID, "'%s' is damaged: no file of its size", file);
	return 0;
}

/* --- folders --- */

int folder_name(const char *prefix, const char *name, char **ret)
{
	char id[VM_ID_SIZE];
	int r;

	r = model_new_id(id);
	if (r < 0)
		return r;
	*ret = mem_printf("%s%s-%.16s", prefix, name, id);
	return 0;
}

int folder_make_images(const char *images_dir, int *ret_fd, struct err *err)
{
	int fd, r;

	r = dir_make_path(images_dir, 0700);
	if (r < 0)
		return err_sys(err, r, "make '%s'", images_dir);
	fd = dir_open(images_dir);
	if (fd < 0)
		return err_sys(err, fd, "open '%s'", images_dir);
	*ret_fd = fd;
	return 0;
}

int folder_discard(int images_fd, const char *name, struct err *err)
{
	AUTO_FREE char *aside = NULL;
	int r;

	r = folder_name(FOLDER_OLD, name, &aside);
	if (r < 0)
		return err_sys(err, r, "make a name");
	if (renameat(images_fd, name, images_fd, aside) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "remove '%s'", name);
	failpoint("image.delete.renamed");
	r = dir_remove_tree(images_fd, aside);
	if (r < 0)
		return err_sys(err, r, "remove '%s'", aside);
	return fsync(images_fd) < 0 ? err_sys(err, -errno, "sync the images' folder") : 0;
}

/* --- loading --- */

static int open_image(int images_fd, const char *name, int *ret_fd, struct err *err)
{
	const int fd = dir_open_at(images_fd, name);

	if (fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s'", name);
	if (fd < 0)
		return err_sys(err, fd, "open the image '%s'", name);
	*ret_fd = fd;
	return 0;
}

static int open_images(const char *images_dir, const char *name, int *ret_fd, struct err *err)
{
	int fd, r;

	r = name_check_image(name, err);
	if (r < 0)
		return r;
	fd = dir_open(images_dir);
	if (fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s'", name);
	if (fd < 0)
		return err_sys(err, fd, "open '%s'", images_dir);
	*ret_fd = fd;
	return 0;
}

int folder_open_image(const char *images_dir, const char *name, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int images_fd = -1;
	const int r = open_images(images_dir, name, &images_fd, err);

	return r < 0 ? r : open_image(images_fd, name, ret_fd, err);
}

static int check_managed(int dir_fd, const struct image_record *image, struct err *err)
{
	int r;

	r = check_file(dir_fd, IMAGE_ROOT_FILE, image->size_bytes, err);
	return r == 0 ? check_file(dir_fd, IMAGE_SEED_FILE, 1, err) : r;
}

/* Whether the user's files are still what they were is asked when they are to be used: an image
 * whose files are gone has to be seen, so that it can be deleted. */
static int check_registered(int dir_fd, struct err *err)
{
	AUTO_REGISTERED registered = { .root = { .path = NULL } };

	return registered_read(dir_fd, &registered, err);
}

static int load(int images_fd, const char *name, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	image_record_init(&image);
	r = open_image(images_fd, name, &dir_fd, err);
	if (r < 0)
		return r;
	r = folder_read_record(dir_fd, name, &image, err);
	if (r == 0 && str_eq(image.kind, IMAGE_KIND_REGISTERED))
		r = check_registered(dir_fd, err);
	else if (r == 0)
		r = check_managed(dir_fd, &image, err);
	if (r < 0)
		return err_context(err, r, "image '%s'", name);
	*ret = image;
	image_record_init(&image);
	return 0;
}

int image_load(const char *images_dir, const char *name, struct image_record *ret, struct err *err)
{
	AUTO_CLOSE int images_fd = -1;
	const int r = open_images(images_dir, name, &images_fd, err);

	return r < 0 ? r : load(images_fd, name, ret, err);
}

static int collect_name(void *context, const char *name)
{
	if (name_is_artifact(name))
		strv_add(context, name);
	return 0;
}

int image_load_all(const char *images_dir, struct image_record_list *ret, struct err *err)
{
	AUTO_STRV names = { .count = 0 };
	AUTO_CLOSE int images_fd = -1;
	size_t i;

	images_fd = dir_open(images_dir);
	if (images_fd < 0 && images_fd != -ENOENT)
		return err_sys(err, images_fd, "open '%s'", images_dir);
	if (images_fd >= 0) {
		int r = dir_each(images_fd, collect_name, &names);

		if (r < 0)
			return err_sys(err, r, "list '%s'", images_dir);
	}
	*ret = (struct image_record_list){ .count = 0 };
	strv_sort(&names);
	for (i = 0; i < names.count; i++) {
		struct err ignored = ERR_INIT;
		struct image_record image;

		/* One that is damaged must not hide the others. */
		if (load(images_fd, names.items[i], &image, &ignored) == 0)
			*image_record_list_add(ret) = image;
	}
	return 0;
}

int image_remove(const char *images_dir, const char *name, struct err *err)
{
	AUTO_CLOSE int images_fd = -1;
	struct stat st;
	int r;

	r = name_check_image(name, err);
	if (r < 0)
		return r;
	images_fd = dir_open(images_dir);
	if (images_fd < 0 && images_fd != -ENOENT)
		return err_sys(err, images_fd, "open '%s'", images_dir);
	if (images_fd < 0 || fstatat(images_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s'", name);
	return folder_discard(images_fd, name, err);
}

/* --- sweeping --- */

static int collect_leftover(void *context, const char *name)
{
	if (str_starts(name, FOLDER_NEW) || str_starts(name, FOLDER_OLD))
		strv_add(context, name);
	return 0;
}

/* The build of a killed daemon may still run: it ends first. */
static int end_build(int images_fd, const char *name)
{
	AUTO_CLOSE int dir_fd = dir_open_at(images_fd, name);
	AUTO_CLOSE int work_fd = -1;

	if (dir_fd < 0)
		return 0;
	work_fd = dir_open_at(dir_fd, FOLDER_WORK);
	return work_fd < 0 ? 0 : mmdebstrap_sweep(work_fd);
}

int image_sweep(const char *images_dir, struct err *err)
{
	AUTO_STRV names = { .count = 0 };
	AUTO_CLOSE int images_fd = dir_open(images_dir);
	size_t i;
	int r;

	if (images_fd == -ENOENT)
		return 0;
	if (images_fd < 0)
		return err_sys(err, images_fd, "open '%s'", images_dir);
	r = dir_each(images_fd, collect_leftover, &names);
	if (r < 0)
		return err_sys(err, r, "list '%s'", images_dir);
	for (i = 0; i < names.count; i++) {
		r = end_build(images_fd, names.items[i]);
		if (r == 0)
			r = dir_remove_tree(images_fd, names.items[i]);
		if (r < 0)
			return err_sys(err, r, "remove '%s/%s'", images_dir, names.items[i]);
	}
	return 0;
}
