#include "image/registered.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "image/register.h"
#include "kernel/copy.h"

#define FILE_SIZE_MAX 65536

#define FIELD(name_, type_, max_)                                                \
	{                                                                        \
		.name = #name_, .type = (type_), .required = true,               \
		.offset = offsetof(struct registered_file, name_), .max = (max_) \
	}
static const struct json_field file_fields[] = {
	FIELD(path, JSON_FIELD_STRING, IMAGE_REGISTERED_PATHS),
	FIELD(size_bytes, JSON_FIELD_U64, 0),
	FIELD(mtime_seconds, JSON_FIELD_I64, 0),
	FIELD(mtime_nanoseconds, JSON_FIELD_U64, 999999999),
	FIELD(inode, JSON_FIELD_U64, 0),
};

struct files {
	json_t *root;
	json_t *seed;
};

static const struct json_field files_fields[] = {
	{ .name = "root",
	  .type = JSON_FIELD_JSON,
	  .required = true,
	  .offset = offsetof(struct files, root) },
	{ .name = "seed", .type = JSON_FIELD_JSON, .offset = offsetof(struct files, seed) },
};

void registered_done(struct registered *registered)
{
	mem_free(registered->root.path);
	mem_free(registered->seed.path);
	*registered = (struct registered){ .root = { .path = NULL } };
}

/* --- the files --- */

static struct registered_file identity_of(const struct stat *info)
{
	return (struct registered_file){
		.size_bytes = (uint64_t)info->st_size,
		.mtime_seconds = info->st_mtim.tv_sec,
		.mtime_nanoseconds = (uint64_t)info->st_mtim.tv_nsec,
		/* JSON's integers are signed; half of the bits are enough to tell files apart. */
		.inode = (uint64_t)info->st_ino & INT64_MAX,
	};
}

static bool is_same(const struct registered_file *a, const struct registered_file *b)
{
	return a->size_bytes == b->size_bytes && a->mtime_seconds == b->mtime_seconds &&
	       a->mtime_nanoseconds == b->mtime_nanoseconds && a->inode == b->inode;
}

int registered_open(const char *path, struct registered_file *ret, int *ret_fd, struct err *err)
{
	const struct copy_source source = { AT_FDCWD, path, path };
	AUTO_CLOSE int fd = -1;
	struct stat info;
	int r;

	if (path[0] != '/' || strlen(path) > IMAGE_REGISTERED_PATHS)
		return err_set(err, ERR_INVALID, "'%s' is no absolute path of at most %d bytes",
			       path, IMAGE_REGISTERED_PATHS);
	r = copy_open(&source, &fd, err);
	if (r < 0)
		return r;
	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine '%s'", path);
	*ret = identity_of(&info);
	ret->path = mem_strdup(path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int changed(const char *path, const char *how, struct err *err)
{
	const int r = err_set(err, ERR_BAD_STATE, "the registered file '%s' %s", path, how);

	err_hint(err, "delete the image and register it anew; 'banger image promote' keeps a copy");
	return r;
}

int registered_open_again(const struct registered_file *file, int *ret_fd, struct err *err)
{
	CLEANUP(registered_done) struct registered now = { .root = { .path = NULL } };
	AUTO_CLOSE int fd = -1;
	int r;

	r = registered_open(file->path, &now.root, &fd, err);
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		return changed(file->path, "is gone", err);
	if (r < 0)
		return r;
	if (!is_same(file, &now.root))
		return changed(file->path, "has changed since it was registered", err);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- registered.json --- */

static json_t *file_json(const struct registered_file *file)
{
	json_t *object = json_new_object();

	json_put_str(object, "path", file->path);
	json_put_u64(object, "size_bytes", file->size_bytes);
	json_put_i64(object, "mtime_seconds", file->mtime_seconds);
	json_put_u64(object, "mtime_nanoseconds", file->mtime_nanoseconds);
	json_put_u64(object, "inode", file->inode);
	return object;
}

int registered_write(int dir_fd, const struct registered *registered, struct err *err)
{
	AUTO_JSON *object = json_new_object();
	AUTO_BUF text = BUF_INIT;
	int r;

	json_put(object, "root", file_json(&registered->root));
	if (registered->seed.path)
		json_put(object, "seed", file_json(&registered->seed));
	json_write(object, &text);
	buf_add_byte(&text, '\n');
	r = file_replace(dir_fd, IMAGE_REGISTERED_FILE, buf_span(&text), 0600);
	return r < 0 ? err_sys(err, r, "write '%s'", IMAGE_REGISTERED_FILE) : 0;
}

static void files_done(struct files *files)
{
	json_fields_done(files_fields, ARRAY_LEN(files_fields), files);
}

static int parse(struct span text, struct registered *ret, struct err *err)
{
	CLEANUP(files_done) struct files files = { .root = NULL };
	AUTO_REGISTERED registered = { .root = { .path = NULL } };
	AUTO_JSON *object = NULL;
	int r;

	r = json_read(text, &object, err);
	if (r == 0)
		r = json_read_fields(object, files_fields, ARRAY_LEN(files_fields), &files, err);
	if (r == 0)
		r = json_read_fields(files.root, file_fields, ARRAY_LEN(file_fields),
				     &registered.root, err);
	if (r == 0 && files.seed)
		r = json_read_fields(files.seed, file_fields, ARRAY_LEN(file_fields),
				     &registered.seed, err);
	if (r < 0)
		return r;
	*ret = registered;
	/* Given away. */
	registered.root.path = NULL;
	registered.seed.path = NULL;
	return 0;
}

int registered_read(int dir_fd, struct registered *ret, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(dir_fd, IMAGE_REGISTERED_FILE, FILE_SIZE_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read '%s'", IMAGE_REGISTERED_FILE);
	r = parse(buf_span(&text), ret, err);
	return r < 0 ? err_context(err, r, "'%s'", IMAGE_REGISTERED_FILE) : 0;
}
