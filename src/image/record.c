#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/image.h"

/* A configuration may need six times its bytes in JSON. */
#define RECORD_SIZE_MAX (6ULL * IMAGE_CONFIG_BYTES_MAX + (1U << 20))

struct record_file {
	char *name;
	char *kind;
	char *recipe;
	char *kernel;
	char *source;
	char *digest;
	char *built_at;
	uint64_t size_bytes;
	uint64_t used_bytes;
	uint64_t content_bytes;
	uint64_t seed_size_bytes;
	uint64_t entries;
	bool has_init;
	bool is_sized;
	json_t *config;
};

#define FIELD(struct_, name_, type_, required_, meaning_)                         \
	{                                                                         \
		.name = #name_, .type = (type_), .required = (required_),         \
		.offset = offsetof(struct struct_, name_), .meaning = (meaning_), \
	}

static const struct json_field record_fields[] = {
	FIELD(record_file, name, JSON_FIELD_STRING, true, "its name"),
	FIELD(record_file, kind, JSON_FIELD_STRING, true, "whose its files are"),
	FIELD(record_file, recipe, JSON_FIELD_STRING, false, "what it was built from"),
	FIELD(record_file, kernel, JSON_FIELD_STRING, false, "its default kernel"),
	FIELD(record_file, source, JSON_FIELD_STRING, false, "the reference it was pulled from"),
	FIELD(record_file, digest, JSON_FIELD_STRING, false, "of the manifest or bundle"),
	FIELD(record_file, built_at, JSON_FIELD_STRING, true, "when it was made"),
	FIELD(record_file, size_bytes, JSON_FIELD_U64, true, "size of the root file system"),
	FIELD(record_file, used_bytes, JSON_FIELD_U64, true, "what its files occupied when made"),
	FIELD(record_file, content_bytes, JSON_FIELD_U64, true, "content of the files in it"),
	FIELD(record_file, seed_size_bytes, JSON_FIELD_U64, true, "size of the work seed"),
	FIELD(record_file, entries, JSON_FIELD_U64, true, "files, folders and links in it"),
	FIELD(record_file, has_init, JSON_FIELD_BOOL, true, "whether it has an init system"),
	FIELD(record_file, is_sized, JSON_FIELD_BOOL, false, "whether its size was asked for"),
	FIELD(record_file, config, JSON_FIELD_JSON, false, "how an OCI image is to be run"),
};

#define CONFIG_LIST(name_, meaning_)                                                           \
	{                                                                                      \
		.name = #name_, .type = JSON_FIELD_STRINGS,                                    \
		.offset = offsetof(struct image_config, name_), .max = IMAGE_CONFIG_ITEMS_MAX, \
		.meaning = (meaning_),                                                         \
	}

#define CONFIG_TEXT(name_, meaning_)                                                           \
	{                                                                                      \
		.name = #name_, .type = JSON_FIELD_STRING,                                     \
		.offset = offsetof(struct image_config, name_), .max = IMAGE_CONFIG_BYTES_MAX, \
		.meaning = (meaning_),                                                         \
	}

static const struct json_field config_fields[] = {
	CONFIG_LIST(entrypoint, "the program and its first arguments"),
	CONFIG_LIST(cmd, "further arguments, or the program"),
	CONFIG_LIST(env, "NAME=VALUE"),
	CONFIG_TEXT(user, "user, or user:group"),
	CONFIG_TEXT(working_dir, "the folder it starts in"),
};

void image_config_done(struct image_config *config)
{
	json_fields_done(config_fields, ARRAY_LEN(config_fields), config);
}

static size_t list_bytes(const struct strv *list)
{
	size_t bytes = 0;
	size_t i;

	for (i = 0; i < list->count; i++)
		bytes += strlen(list->items[i]) + 1;
	return bytes;
}

int folder_check_config(const struct image_config *config, struct err *err)
{
	const struct strv *lists[] = { &config->entrypoint, &config->cmd, &config->env };
	size_t bytes = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(lists); i++) {
		if (lists[i]->count > IMAGE_CONFIG_ITEMS_MAX)
			return err_set(err, ERR_LIMIT,
				       "the image's configuration has a list of more than %u texts",
				       IMAGE_CONFIG_ITEMS_MAX);
		bytes += list_bytes(lists[i]);
	}
	bytes += config->user ? strlen(config->user) : 0;
	bytes += config->working_dir ? strlen(config->working_dir) : 0;
	if (bytes > IMAGE_CONFIG_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the image's configuration has more than %u bytes",
			       IMAGE_CONFIG_BYTES_MAX);
	return 0;
}

static void record_file_done(struct record_file *file)
{
	json_fields_done(record_fields, ARRAY_LEN(record_fields), file);
}

static json_t *strings_json(const struct strv *list)
{
	json_t *array = json_new_array();
	size_t i;

	for (i = 0; i < list->count; i++)
		json_add(array, json_new_str(list->items[i]));
	return array;
}

json_t *image_config_json(const struct image_config *config)
{
	json_t *object = json_new_object();

	json_put(object, "entrypoint", strings_json(&config->entrypoint));
	json_put(object, "cmd", strings_json(&config->cmd));
	json_put(object, "env", strings_json(&config->env));
	json_put_str(object, "user", config->user);
	json_put_str(object, "working_dir", config->working_dir);
	return object;
}

/* Texts that are not known are left out. */
static void put_known(json_t *object, const char *key, const char *text)
{
	if (text)
		json_put_str(object, key, text);
}

int folder_write_record(int dir_fd, const struct image_record *image,
			const struct ext4_summary *summary, const struct image_config *config,
			struct err *err)
{
	AUTO_JSON *object = json_new_object();
	AUTO_BUF built_at = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	int r;

	clock_format_utc(&built_at, image->built_at);
	json_put_str(object, "name", image->name);
	json_put_str(object, "kind", image->kind);
	put_known(object, "recipe", image->recipe);
	put_known(object, "kernel", image->kernel);
	put_known(object, "source", image->source);
	put_known(object, "digest", image->digest);
	json_put_str(object, "built_at", built_at.ptr);
	json_put_u64(object, "size_bytes", image->size_bytes);
	json_put_u64(object, "used_bytes", image->used_bytes);
	json_put_u64(object, "content_bytes", summary->content_bytes);
	json_put_u64(object, "seed_size_bytes", summary->seed_size_bytes);
	json_put_u64(object, "entries", summary->entries);
	json_put_bool(object, "has_init", image->has_init);
	json_put_bool(object, "is_sized", image->is_sized);
	if (config)
		json_put(object, "config", image_config_json(config));
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
	ret->source = TAKE_PTR(file->source);
	ret->digest = TAKE_PTR(file->digest);
	ret->size_bytes = file->size_bytes;
	ret->used_bytes = file->used_bytes;
	ret->has_init = file->has_init;
	ret->is_sized = file->is_sized;
	ret->built_at = built_at;
	return 0;
}

static int read_file(int dir_fd, struct record_file *ret, struct err *err)
{
	AUTO_JSON *object = NULL;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(dir_fd, IMAGE_RECORD_FILE, RECORD_SIZE_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read '%s'", IMAGE_RECORD_FILE);
	r = json_read(buf_span(&text), &object, err);
	if (r == 0)
		r = json_read_fields(object, record_fields, ARRAY_LEN(record_fields), ret, err);
	return r < 0 ? err_context(err, r, "'%s'", IMAGE_RECORD_FILE) : 0;
}

int folder_read_record(int dir_fd, const char *name, struct image_record *ret, struct err *err)
{
	CLEANUP(record_file_done) struct record_file file = { .name = NULL };
	int r;

	r = read_file(dir_fd, &file, err);
	return r < 0 ? r : take_record(&file, name, ret, err);
}

int image_config_load(const char *images_dir, const char *name, struct image_config *ret,
		      struct err *err)
{
	CLEANUP(record_file_done) struct record_file file = { .name = NULL };
	AUTO_CLOSE int dir_fd = -1;
	struct image_config config = IMAGE_CONFIG_INIT;
	int r;

	r = folder_open_image(images_dir, name, &dir_fd, err);
	if (r < 0)
		return r;
	r = read_file(dir_fd, &file, err);
	if (r == 0 && file.config)
		r = json_read_fields(file.config, config_fields, ARRAY_LEN(config_fields), &config,
				     err);
	if (r < 0)
		return err_context(err, r, "image '%s'", name);
	*ret = config;
	return 0;
}
