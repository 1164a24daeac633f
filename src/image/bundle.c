#include "image/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/seed.h"
#include "image/staging.h"
#include "image/superblock.h"
#include "kernel/unpack.h"
#include "model/names.h"

#define STAGE		"image"
#define RECORD_SIZE_MAX 65536
#define LIMIT_KEY	"image_bytes"

/* --- image.json in a bundle: not that of an image in its place --- */

struct description {
	char *kernel;
};

static const struct json_field description_fields[] = {
	{ .name = "kernel",
	  .type = JSON_FIELD_STRING,
	  .offset = offsetof(struct description, kernel),
	  .max = ARTIFACT_NAME_MAX },
};

static void description_done(struct description *description)
{
	json_fields_done(description_fields, ARRAY_LEN(description_fields), description);
}

static int parse_description(struct span text, struct description *ret, struct err *err)
{
	AUTO_JSON *object = NULL;
	int r;

	r = json_read(text, &object, err);
	if (r == 0)
		r = json_read_fields(object, description_fields, ARRAY_LEN(description_fields), ret,
				     err);
	return r == 0 && ret->kernel ? name_check_kernel(ret->kernel, err) : r;
}

/* Afterwards the file is gone, as the image's own record will have its name. */
static int take_description(struct staging *staging, struct description *ret, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(staging->dir_fd, IMAGE_RECORD_FILE, RECORD_SIZE_MAX, &text);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read '%s'", IMAGE_RECORD_FILE);
	r = parse_description(buf_span(&text), ret, err);
	if (r < 0)
		return err_context(err, r, "'%s'", IMAGE_RECORD_FILE);
	if (unlinkat(staging->dir_fd, IMAGE_RECORD_FILE, 0) < 0)
		return err_sys(err, -errno, "remove '%s'", IMAGE_RECORD_FILE);
	return 0;
}

/* --- the file systems --- */

static int unpack(const struct image_bundle_request *request, struct staging *staging,
		  const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	const uint64_t bytes_max = request->bytes_max ? request->bytes_max : EXT4_BYTES_DEFAULT;
	const struct bundle_name names[] = {
		{ .name = IMAGE_RECORD_FILE, .size_max = RECORD_SIZE_MAX },
		{ .name = IMAGE_ROOT_FILE,
		  .is_required = true,
		  .size_max = bytes_max,
		  .limit_key = LIMIT_KEY },
		{ .name = IMAGE_SEED_FILE, .size_max = bytes_max, .limit_key = LIMIT_KEY },
	};
	const struct bundle_rules rules = {
		.stage = STAGE,
		.names = names,
		.name_count = ARRAY_LEN(names),
		.total_max = UINT64_MAX,
	};

	/* The files that the staging folder comes with are empty; the bundle has its own. */
	if (unlinkat(staging->dir_fd, IMAGE_ROOT_FILE, 0) < 0 ||
	    unlinkat(staging->dir_fd, IMAGE_SEED_FILE, 0) < 0)
		return err_sys(err, -errno, "remove an empty file");
	return bundle_unpack(request->fd, &rules, staging->dir_fd, cancel, progress, err);
}

/* Opens what was unpacked in place of the empty file. */
static int reopen(struct staging *staging, const char *name, int *slot, struct err *err)
{
	const int fd =
		openat(staging->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", name);
	fd_assign(slot, fd);
	return 0;
}

static int check_file_system(const char *name, int fd, uint64_t *ret_size, struct err *err)
{
	struct superblock superblock = { .size_bytes = 0 };
	struct stat info;
	int r;

	r = superblock_read_fd(fd, &superblock, err);
	if (r < 0)
		return err_context(err, r, "'%s'", name);
	if (fstat(fd, &info) < 0 || fsync(fd) < 0)
		return err_sys(err, -errno, "write '%s'", name);
	*ret_size = (uint64_t)info.st_size;
	return 0;
}

static int check_files(struct staging *staging, struct ext4_summary *summary, struct err *err)
{
	struct stat info;
	bool has_seed;
	int r;

	has_seed = fstatat(staging->dir_fd, IMAGE_SEED_FILE, &info, AT_SYMLINK_NOFOLLOW) == 0;
	r = reopen(staging, IMAGE_ROOT_FILE, &staging->root_fd, err);
	if (r == 0)
		r = reopen(staging, IMAGE_SEED_FILE, &staging->seed_fd, err);
	if (r == 0)
		r = check_file_system(IMAGE_ROOT_FILE, staging->root_fd, &summary->size_bytes, err);
	if (r == 0 && !has_seed)
		return seed_make_empty(staging->seed_fd, &summary->seed_size_bytes, err);
	if (r == 0)
		r = check_file_system(IMAGE_SEED_FILE, staging->seed_fd, &summary->seed_size_bytes,
				      err);
	return r;
}

static int install(const struct image_bundle_request *request, const struct cancel *cancel,
		   const struct progress *progress, struct image_record *image, struct err *err)
{
	CLEANUP(description_done) struct description description = { .kernel = NULL };
	CLEANUP(staging_done) struct staging staging = STAGING_INIT;
	struct ext4_summary summary = { 0 };
	int r;

	r = staging_begin(&staging, request->images_dir, request->name, err);
	if (r == 0)
		r = unpack(request, &staging, cancel, progress, err);
	if (r == 0)
		r = take_description(&staging, &description, err);
	if (r == 0)
		r = check_files(&staging, &summary, err);
	if (r == 0)
		r = staging_find_init(&staging, request->worker_program, cancel, &summary.has_init,
				      err);
	if (r < 0)
		return r;
	r = staging_describe(&staging, &summary, image, err);
	image->kernel = mem_strdup(description.kernel ? description.kernel : request->kernel);
	image->source = mem_strdup(request->source);
	image->digest = mem_strdup(request->digest);
	if (r == 0)
		r = cancel_check(cancel, err);
	return r == 0 ? staging_publish(&staging, image, &summary, NULL, err) : r;
}

int image_bundle_install(const struct image_bundle_request *request, const struct cancel *cancel,
			 const struct progress *progress, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = name_check_image(request->name, err);
	if (r < 0)
		return r;
	r = install(request, cancel, progress, &image, err);
	if (r < 0)
		return err_context(err, r, "the bundle of image '%s'", request->name);
	*ret = image;
	image_record_init(&image);
	return 0;
}
