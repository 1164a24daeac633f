#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/register.h"
#include "image/registered.h"
#include "model/names.h"

void image_paths_done(struct image_paths *paths)
{
	mem_free(paths->root);
	mem_free(paths->seed);
	*paths = (struct image_paths){ .root = NULL };
}

static int check(const struct registered_file *file, struct err *err)
{
	AUTO_CLOSE int fd = -1;

	return registered_open_again(file, &fd, err);
}

/* Paths of a registered image's files, which are what they were. */
static int locate_registered(int dir_fd, struct image_paths *paths, struct err *err)
{
	AUTO_REGISTERED registered = { .root = { .path = NULL } };
	int r;

	r = registered_read(dir_fd, &registered, err);
	if (r == 0)
		r = check(&registered.root, err);
	if (r == 0 && registered.seed.path)
		r = check(&registered.seed, err);
	if (r < 0)
		return r;
	mem_free(paths->root);
	paths->root = TAKE_PTR(registered.root.path);
	if (registered.seed.path) {
		mem_free(paths->seed);
		paths->seed = TAKE_PTR(registered.seed.path);
	}
	return 0;
}

int image_locate(const char *images_dir, const char *name, struct image_paths *ret, struct err *err)
{
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	AUTO_IMAGE_RECORD image;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	image_record_init(&image);
	r = name_check_image(name, err);
	if (r == 0)
		r = folder_open_image(images_dir, name, &dir_fd, err);
	if (r < 0)
		return r;
	paths.root = mem_printf("%s/%s/%s", images_dir, name, IMAGE_ROOT_FILE);
	paths.seed = mem_printf("%s/%s/%s", images_dir, name, IMAGE_SEED_FILE);
	r = folder_read_record(dir_fd, name, &image, err);
	if (r == 0 && str_eq(image.kind, IMAGE_KIND_REGISTERED))
		r = locate_registered(dir_fd, &paths, err);
	if (r < 0)
		return err_context(err, r, "image '%s'", name);
	*ret = paths;
	paths = (struct image_paths){ .root = NULL };
	return 0;
}
