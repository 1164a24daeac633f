#include "kernel/kernel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#include "kernel/image.h"
#include "kernel/mmdebstrap.h"
#include "kernel/staging.h"
#include "model/names.h"

#define RECORD_FILE	"kernel.json"
#define RECORD_SIZE_MAX (64U << 10)

static const char *const kind_names[] = {
	[KERNEL_SOURCE_PACKAGE] = "package",
	[KERNEL_SOURCE_BUNDLE] = "bundle",
};
_Static_assert(ARRAY_LEN(kind_names) == KERNEL_SOURCE_KIND_COUNT, "every kind has a name");

static const struct kernel_source sources[] = {
	{
		.name = KERNEL_DEFAULT_NAME,
		.package = "linux-image-cloud-amd64",
		.suite = "bookworm",
		.description = "Debian 12's kernel for virtual machines, signed by its archive key",
		.is_default = true,
	},
};

/* What kernel.json has; the names are those of kernel_json(). */
struct record_file {
	char *name;
	char *kind;
	char *package;
	char *source;
	char *version;
	char *release;
	struct strv formats;
	uint64_t modules;
	uint64_t size_bytes;
	char *pulled_at;
	char *vmlinux_sha256;
	char *vmlinuz_sha256;
	char *initrd_sha256;
};

#define FIELD(name_, type_, required_, meaning_)                                     \
	{                                                                            \
		.name = #name_, .type = (type_), .required = (required_),            \
		.offset = offsetof(struct record_file, name_), .meaning = (meaning_) \
	}
static const struct json_field record_fields[] = {
	FIELD(name, JSON_FIELD_STRING, true, "name in the catalog"),
	FIELD(kind, JSON_FIELD_STRING, true, "where it is from: package, bundle, imported"),
	FIELD(package, JSON_FIELD_STRING, false, "Debian package"),
	FIELD(source, JSON_FIELD_STRING, false, "package and suite, URL, folder or file"),
	FIELD(version, JSON_FIELD_STRING, true, "version of the package or kernel"),
	FIELD(release, JSON_FIELD_STRING, true, "what uname -r says"),
	FIELD(formats, JSON_FIELD_STRINGS, true, "elf, bzimage"),
	FIELD(modules, JSON_FIELD_U64, true, "number of modules"),
	FIELD(size_bytes, JSON_FIELD_U64, true, "size of all files"),
	FIELD(pulled_at, JSON_FIELD_STRING, true, "when it was pulled"),
	FIELD(vmlinux_sha256, JSON_FIELD_STRING, true, "of the ELF"),
	FIELD(vmlinuz_sha256, JSON_FIELD_STRING, false, "of the bzImage"),
	FIELD(initrd_sha256, JSON_FIELD_STRING, false, "of the initrd that came with it"),
};

static void record_file_done(struct record_file *file)
{
	json_fields_done(record_fields, ARRAY_LEN(record_fields), file);
}

const char *kernel_source_kind_name(enum kernel_source_kind kind)
{
	return kind_names[kind];
}

const struct kernel_source *kernel_sources(size_t *ret_count)
{
	*ret_count = ARRAY_LEN(sources);
	return sources;
}

const struct kernel_source *kernel_source_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (str_eq(sources[i].name, name))
			return &sources[i];
	return NULL;
}

void kernel_init(struct kernel *kernel)
{
	*kernel = (struct kernel){ .vmlinux_sha256 = "" };
	kernel_record_init(&kernel->record);
}

void kernel_done(struct kernel *kernel)
{
	if (!kernel)
		return;
	kernel_record_done(&kernel->record);
	mem_free(kernel->source);
	kernel_init(kernel);
}

json_t *kernel_json(const struct kernel *kernel)
{
	const struct kernel_record *record = &kernel->record;
	AUTO_BUF pulled_at = BUF_INIT;
	json_t *object = json_new_object();
	json_t *formats = json_new_array();

	if (record->has_elf)
		json_add(formats, json_new_str(kernel_format_name(KERNEL_FORMAT_ELF)));
	if (record->has_bzimage)
		json_add(formats, json_new_str(kernel_format_name(KERNEL_FORMAT_BZIMAGE)));
	clock_format_utc(&pulled_at, record->pulled_at);

	json_put_str(object, "name", record->name);
	json_put_str(object, "kind", record->kind);
	if (record->package)
		json_put_str(object, "package", record->package);
	if (kernel->source)
		json_put_str(object, "source", kernel->source);
	json_put_str(object, "version", record->version);
	json_put_str(object, "release", record->release);
	json_put(object, "formats", formats);
	json_put_u64(object, "modules", record->module_count);
	json_put_u64(object, "size_bytes", record->size_bytes);
	json_put_str(object, "pulled_at", pulled_at.ptr);
	json_put_str(object, "vmlinux_sha256", kernel->vmlinux_sha256);
	if (kernel->vmlinuz_sha256[0] != '\0')
		json_put_str(object, "vmlinuz_sha256", kernel->vmlinuz_sha256);
	if (kernel->initrd_sha256[0] != '\0')
		json_put_str(object, "initrd_sha256", kernel->initrd_sha256);
	return object;
}

int kernel_write_record(int dir_fd, const struct kernel *kernel, struct err *err)
{
	AUTO_JSON *object = kernel_json(kernel);
	AUTO_BUF text = BUF_INIT;
	int r;

	json_write(object, &text);
	buf_add_byte(&text, '\n');
	r = file_replace(dir_fd, RECORD_FILE, buf_span(&text), 0600);
	if (r < 0)
		return err_sys(err, r, "write '%s'", RECORD_FILE);
	return 0;
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

static bool copy_digest(const char *text, char into[static SHA256_TEXT_SIZE])
{
	if (strlen(text) != SHA256_TEXT_SIZE - 1)
		return false;
	memcpy(into, text, SHA256_TEXT_SIZE);
	return true;
}

static int fill_kernel(struct record_file *file, const char *name, struct kernel *kernel,
		       struct err *err)
{
	struct kernel_record *record = &kernel->record;

	if (!str_eq(file->name, name))
		return err_set(err, ERR_INVALID, "it is the record of '%s'", file->name);
	if (!parse_time(file->pulled_at, &record->pulled_at))
		return err_set(err, ERR_INVALID, "pulled_at is no time: '%s'", file->pulled_at);
	if (!copy_digest(file->vmlinux_sha256, kernel->vmlinux_sha256) ||
	    (file->vmlinuz_sha256 && !copy_digest(file->vmlinuz_sha256, kernel->vmlinuz_sha256)) ||
	    (file->initrd_sha256 && !copy_digest(file->initrd_sha256, kernel->initrd_sha256)))
		return err_set(err, ERR_INVALID, "a sha256 is damaged");

	record->state = ARTIFACT_READY;
	record->name = TAKE_PTR(file->name);
	record->kind = TAKE_PTR(file->kind);
	record->package = TAKE_PTR(file->package);
	kernel->source = TAKE_PTR(file->source);
	record->version = TAKE_PTR(file->version);
	record->release = TAKE_PTR(file->release);
	record->has_elf = strv_has(&file->formats, kernel_format_name(KERNEL_FORMAT_ELF));
	record->has_bzimage = strv_has(&file->formats, kernel_format_name(KERNEL_FORMAT_BZIMAGE));
	record->module_count = file->modules;
	record->size_bytes = file->size_bytes;
	return 0;
}

static int read_record(int dir_fd, const char *name, struct kernel *kernel, struct err *err)
{
	CLEANUP(record_file_done) struct record_file file = { .name = NULL };
	AUTO_JSON *object = NULL;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(dir_fd, RECORD_FILE, RECORD_SIZE_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read it");
	r = json_read(buf_span(&text), &object, err);
	if (r < 0)
		return r;
	r = json_read_fields(object, record_fields, ARRAY_LEN(record_fields), &file, err);
	if (r < 0)
		return r;
	return fill_kernel(&file, name, kernel, err);
}

static int not_found(const char *name, struct err *err)
{
	const int r = err_set(err, ERR_NOT_FOUND, "there is no kernel '%s'", name);

	if (kernel_source_find(name))
		err_hint(err, "banger kernel pull %s", name);
	return r;
}

int kernel_open_dir(const char *kernels_dir, const char *name, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int kernels_fd = -1;
	int r;

	r = name_check_kernel(name, err);
	if (r < 0)
		return r;
	kernels_fd = dir_open(kernels_dir);
	if (kernels_fd == -ENOENT)
		return not_found(name, err);
	if (kernels_fd < 0)
		return err_sys(err, kernels_fd, "open '%s'", kernels_dir);
	r = dir_open_at(kernels_fd, name);
	if (r == -ENOENT)
		return not_found(name, err);
	if (r < 0)
		return err_sys(err, r, "open kernel '%s'", name);
	*ret_fd = r;
	return 0;
}

int kernel_load(const char *kernels_dir, const char *name, struct kernel *ret, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = kernel_open_dir(kernels_dir, name, &dir_fd, err);
	if (r < 0)
		return r;
	r = read_record(dir_fd, name, &kernel, err);
	if (r < 0)
		return err_context(err, r, "the record of kernel '%s'", name);

	kernel_done(ret);
	*ret = kernel;
	kernel_init(&kernel);
	return 0;
}

static int collect_name(void *context, const char *name)
{
	struct strv *names = context;

	if (name_is_artifact(name))
		strv_add(names, name);
	return 0;
}

int kernel_list(const char *kernels_dir, struct kernel_record_list *ret, struct err *err)
{
	AUTO_CLOSE int kernels_fd = dir_open(kernels_dir);
	AUTO_STRV names = { 0 };
	int r;

	if (kernels_fd == -ENOENT)
		return 0;
	if (kernels_fd < 0)
		return err_sys(err, kernels_fd, "open '%s'", kernels_dir);
	r = dir_each(kernels_fd, collect_name, &names);
	if (r < 0)
		return err_sys(err, r, "list '%s'", kernels_dir);

	strv_sort(&names);
	for (size_t i = 0; i < names.count; i++) {
		AUTO_KERNEL kernel;
		struct err ignored = ERR_INIT;

		kernel_init(&kernel);
		if (kernel_load(kernels_dir, names.items[i], &kernel, &ignored) < 0)
			continue;
		*kernel_record_list_add(ret) = kernel.record;
		kernel_record_init(&kernel.record);
	}
	return 0;
}

int kernel_remove(const char *kernels_dir, const char *name, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int kernels_fd = -1;
	AUTO_FREE char *aside = NULL;
	int r;

	r = kernel_open_dir(kernels_dir, name, &dir_fd, err);
	if (r < 0)
		return r;
	kernels_fd = dir_open(kernels_dir);
	if (kernels_fd < 0)
		return err_sys(err, kernels_fd, "open '%s'", kernels_dir);
	r = staging_name(STAGING_OLD, name, &aside);
	if (r < 0)
		return err_sys(err, r, "remove kernel '%s'", name);

	/* From here on it is gone, also when this process is killed: the sweep ends the work. */
	if (renameat(kernels_fd, name, kernels_fd, aside) < 0 || fsync(kernels_fd) < 0)
		return err_sys(err, -errno, "remove kernel '%s'", name);
	failpoint("kernel.rm.renamed");
	r = dir_remove_tree(kernels_fd, aside);
	if (r < 0)
		return err_sys(err, r, "remove the files of kernel '%s'", name);
	return 0;
}

static int collect_left_over(void *context, const char *name)
{
	struct strv *names = context;

	if (str_starts(name, STAGING_NEW) || str_starts(name, STAGING_OLD))
		strv_add(names, name);
	return 0;
}

static int sweep_one(int kernels_fd, const char *name)
{
	AUTO_CLOSE int staging_fd = dir_open_at(kernels_fd, name);
	AUTO_CLOSE int work_fd = staging_fd < 0 ? -1 : dir_open_at(staging_fd, STAGING_WORK);
	int r = 0;

	if (work_fd >= 0)
		r = mmdebstrap_sweep(work_fd);
	return r < 0 ? r : dir_remove_tree(kernels_fd, name);
}

int kernel_sweep(const char *kernels_dir, struct err *err)
{
	AUTO_CLOSE int kernels_fd = dir_open(kernels_dir);
	AUTO_STRV names = { 0 };
	int r;

	if (kernels_fd == -ENOENT)
		return 0;
	if (kernels_fd < 0)
		return err_sys(err, kernels_fd, "open '%s'", kernels_dir);
	r = dir_each(kernels_fd, collect_left_over, &names);
	if (r < 0)
		return err_sys(err, r, "list '%s'", kernels_dir);

	for (size_t i = 0; i < names.count; i++) {
		r = sweep_one(kernels_fd, names.items[i]);
		if (r < 0)
			return err_sys(err, r, "remove '%s/%s'", kernels_dir, names.items[i]);
	}
	return 0;
}
