#include "image/staging.h"

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
#include "image/inspect.h"
#include "image/register.h"

void staging_done(struct staging *staging)
{
	fd_close(staging->root_fd);
	fd_close(staging->seed_fd);
	fd_close(staging->dir_fd);
	/* What cannot be removed now is removed by the next sweep. */
	if (staging->folder)
		(void)!dir_remove_tree(staging->images_fd, staging->folder);
	fd_close(staging->images_fd);
	mem_free(staging->folder);
	mem_free(staging->path);
	*staging = STAGING_INIT;
}

static int create_file(struct staging *staging, const char *name, int *ret_fd, struct err *err)
{
	*ret_fd = openat(staging->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*ret_fd < 0)
		return err_sys(err, -errno, "make '%s/%s'", staging->path, name);
	return 0;
}

int staging_begin(struct staging *staging, const char *images_dir, const char *name,
		  struct err *err)
{
	AUTO_FREE char *folder = NULL;
	int r;

	staging->images_dir = images_dir;
	staging->name = name;
	r = folder_make_images(images_dir, &staging->images_fd, err);
	if (r < 0)
		return r;
	r = folder_name(FOLDER_NEW, name, &folder);
	if (r < 0)
		return err_sys(err, r, "make a name");
	if (mkdirat(staging->images_fd, folder, 0700) < 0)
		return err_sys(err, -errno, "make '%s/%s'", images_dir, folder);
	staging->path = mem_printf("%s/%s", images_dir, folder);
	staging->folder = TAKE_PTR(folder);
	staging->dir_fd = dir_open_at(staging->images_fd, staging->folder);
	if (staging->dir_fd < 0)
		return err_sys(err, staging->dir_fd, "open '%s'", staging->path);
	r = create_file(staging, IMAGE_ROOT_FILE, &staging->root_fd, err);
	if (r == 0)
		r = create_file(staging, IMAGE_SEED_FILE, &staging->seed_fd, err);
	if (r == 0)
		failpoint("image.build.staged");
	return r;
}

int staging_read_epoch(struct ext4_options *options, struct err *err)
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

int staging_find_init(const struct staging *staging, const char *worker_program,
		      const struct cancel *cancel, bool *ret, struct err *err)
{
	/* The worker may not write. */
	AUTO_CLOSE int fd =
		openat(staging->dir_fd, IMAGE_ROOT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", IMAGE_ROOT_FILE);
	r = inspect_has_init(worker_program, fd, cancel, ret, err);
	return r < 0 ? err_context(err, r, "'%s'", IMAGE_ROOT_FILE) : 0;
}

/* What it occupies; and that it has the size that it is said to have. */
static int examine(int fd, const char *name, uint64_t wanted, uint64_t *ret_used, struct err *err)
{
	uint64_t size = 0;
	int r;

	r = file_usage(fd, ret_used, &size);
	if (r < 0)
		return err_sys(err, r, "examine the image");
	if (size == 0 || size != wanted)
		return err_set(err, ERR_PROTOCOL, "'%s' has %llu bytes, not %llu as it should",
			       name, (unsigned long long)size, (unsigned long long)wanted);
	return 0;
}

int staging_describe(const struct staging *staging, const struct ext4_summary *summary,
		     struct image_record *image, struct err *err)
{
	uint64_t root_used = 0;
	uint64_t seed_used = 0;
	int r;

	r = examine(staging->root_fd, IMAGE_ROOT_FILE, summary->size_bytes, &root_used, err);
	if (r == 0)
		r = examine(staging->seed_fd, IMAGE_SEED_FILE, summary->seed_size_bytes, &seed_used,
			    err);
	if (r < 0)
		return r;
	image->state = ARTIFACT_READY;
	image->name = mem_strdup(staging->name);
	image->kind = mem_strdup(IMAGE_KIND_MANAGED);
	image->size_bytes = summary->size_bytes;
	image->used_bytes = root_used + seed_used;
	image->has_init = summary->has_init;
	image->built_at = clock_wall_seconds();
	return 0;
}

/*
 * Exchanging names leaves no moment without an image; afterwards the staging folder is the old one,
 * and is removed as such. Not every file system can do that.
 */
static int swap_in(struct staging *staging, struct err *err)
{
	const char *name = staging->name;

	if (renameat2(staging->images_fd, staging->folder, staging->images_fd, name,
		      RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != ENOENT) {
		int r = folder_discard(staging->images_fd, name, err);

		if (r < 0)
			return r;
	}
	if (renameat(staging->images_fd, staging->folder, staging->images_fd, name) < 0)
		return err_sys(err, -errno, "rename '%s'", staging->path);
	mem_free(staging->folder);
	staging->folder = NULL;
	return 0;
}

int staging_publish(struct staging *staging, const struct image_record *image,
		    const struct ext4_summary *summary, const struct image_config *config,
		    struct err *err)
{
	int r;

	r = folder_write_record(staging->dir_fd, image, summary, config, err);
	if (r < 0)
		return r;
	r = dir_remove_tree(staging->dir_fd, FOLDER_WORK);
	if (r < 0)
		return err_sys(err, r, "remove '%s/%s'", staging->path, FOLDER_WORK);
	if (fsync(staging->dir_fd) < 0)
		return err_sys(err, -errno, "sync '%s'", staging->path);
	r = swap_in(staging, err);
	if (r < 0)
		return r;
	failpoint("image.build.renamed");
	if (fsync(staging->images_fd) < 0)
		return err_sys(err, -errno, "sync '%s'", staging->images_dir);
	return 0;
}
