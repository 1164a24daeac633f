#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"
#include "kernel/mmdebstrap.h"
#include "model/names.h"

#define RECORD_SIZE_MAX 65536U

/* --- the record --- */

struct record_file {
	char *name;
	char *kind;
	char *recipe;
	char *kernel;
	char *built_at;
	uint64_t size_bytes;
	uint64_t used_bytes;
	uint64_t content_bytes;
	uint64_t seed_size_bytes;
	uint64_t entries;
	bool has_init;
};

#define FIELD(name_, type_, meaning_)                                                 \
	{                                                                             \
		.name = #name_, .type = (type_), .required = true,                    \
		.offset = offsetof(struct record_file, name_), .meaning = (meaning_), \
	}

static const struct json_field record_fields[] = {
	FIELD(name, JSON_FIELD_STRING, "its name"),
	FIELD(kind, JSON_FIELD_STRING, "managed: all files are in this folder"),
	FIELD(recipe, JSON_FIELD_STRING, "what it was built from"),
	FIELD(kernel, JSON_FIELD_STRING, "its default kernel"),
	FIELD(built_at, JSON_FIELD_STRING, "when it was built"),
	FIELD(size_bytes, JSON_FIELD_U64, "size of the root file system"),
	FIELD(used_bytes, JSON_FIELD_U64, "what its files occupied when it was built"),
	FIELD(content_bytes, JSON_FIELD_U64, "content of the files in it"),
	FIELD(seed_size_bytes, JSON_FIELD_U64, "size of the work seed"),
	FIELD(entries, JSON_FIELD_U64, "files, folders and links in it"),
	FIELD(has_init, JSON_FIELD_BOOL, "whether it has an init system"),
};

static void record_file_done(struct record_file *file)
{
	json_fields_done(record_fields, ARRAY_LEN(record_fields), file);
}

int folder_write_record(int dir_fd, const struct image_record *image,
			const struct ext4_summary *summary, struct err *err)
{
	AUTO_JSON *object = json_new_object();
	AUTO_BUF built_at = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	int r;

	clock_format_utc(&built_at, image->built_at);
	json_put_str(object, "name", image->name);
	json_put_str(object, "kind", image->kind);
	json_put_str(object, "recipe", image->recipe);
	json_put_str(object, "kernel", image->kernel);
	json_put_str(object, "built_at", built_at.ptr);
	json_put_u64(object, "size_bytes", image->size_bytes);
	json_put_u64(object, "used_bytes", image->used_bytes);
	json_put_u64(object, "content_bytes", summary->content_bytes);
	json_put_u64(object, "seed_size_bytes", summary->seed_size_bytes);
	json_put_u64(object, "entries", summary->entries);
	json_put_bool(object, "has_init", image->has_init);
	json_write(object, &text);
	buf_add_byte(&text, '\n');
	r = file_replace(dir_fd, IMAGE_RECORD_FILE, buf_span(&text), 0600);
	return r < 0 ? err_sys(err, r, "write '%s'", IMAGE_RECORD_FILE) : 0;
}

static bool parse_time(const char *text, int64_t *ret)
{
	struct tm parts = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);

	if (!end || *end != '\0')
		return false;
	*ret = (int64_t)timegm(&parts);
	return true;
}

static int take_record(struct record_file *file, const char *name, struct image_record *ret,
		       struct err *err)
{
	int64_t built_at;

	if (!str_eq(file->name, name))
		return err_set(err, ERR_INVALID, "it is the record of '%s'", file->name);
	if (!parse_time(file->built_at, &built_at))
		return err_set(err, ERR_INVALID, "built_at is no time: '%s'", file->built_at);
	ret->state = ARTIFACT_READY;
	ret->name = TAKE_PTR(file->name);
	ret->kind = TAKE_PTR(file->kind);
	ret->recipe = TAKE_PTR(file->recipe);
	ret->kernel = TAKE_PTR(file->kernel);
	ret->size_bytes = file->size_bytes;
	ret->used_bytes = file->used_bytes;
	ret->has_init = file->has_init;
	ret->built_at = built_at;
	return 0;
}

static int read_record(int dir_fd, const char *name, struct image_record *ret, struct err *err)
{
	CLEANUP(record_file_done) struct record_file file = { .name = NULL };
	AUTO_JSON *object = NULL;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(dir_fd, IMAGE_RECORD_FILE, RECORD_SIZE_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read '%s'", IMAGE_RECORD_FILE);
	r = json_read(buf_span(&text), &object, err);
	if (r == 0)
		r = json_read_fields(object, record_fields, ARRAY_LEN(record_fields), &file, err);
	if (r < 0)
		return err_context(err, r, "'%s'", IMAGE_RECORD_FILE);
	return take_record(&file, name, ret, err);
}

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

static int load(int images_fd, const char *name, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	image_record_init(&image);
	dir_fd = dir_open_at(images_fd, name);
	if (dir_fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s'", name);
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open the image '%s'", name);
	r = read_record(dir_fd, name, &image, err);
	if (r == 0)
		r = check_file(dir_fd, IMAGE_ROOT_FILE, image.size_bytes, err);
	if (r == 0)
		r = check_file(dir_fd, IMAGE_SEED_FILE, 1, err);
	if (r < 0)
		return err_context(err, r, "image '%s'", name);
	*ret = image;
	image_record_init(&image);
	return 0;
}

int image_load(const char *images_dir, const char *name, struct image_record *ret, struct err *err)
{
	AUTO_CLOSE int images_fd = -1;
	int r;

	r = name_check_image(name, err);
	if (r < 0)
		return r;
	images_fd = dir_open(images_dir);
	if (images_fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no image '%s'", name);
	if (images_fd < 0)
		return err_sys(err, images_fd, "open '%s'", images_dir);
	return load(images_fd, name, ret, err);
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
