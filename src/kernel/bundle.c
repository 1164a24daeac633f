#include "kernel/bundle.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/copy.h"
#include "kernel/import.h"
#include "kernel/import_find.h"
#include "kernel/making.h"
#include "kernel/unpack.h"
#include "model/names.h"

#define METADATA_SIZE_MAX 65536
#define MODULES_PREFIX	  "modules/"

static const struct bundle_name names[] = {
	{ .name = KERNEL_METADATA_FILE, .size_max = METADATA_SIZE_MAX },
	{ .name = KERNEL_ELF_FILE, .size_max = KERNEL_FILE_SIZE_MAX },
	{ .name = "vmlinuz", .size_max = PACKAGE_VMLINUZ_MAX },
	{ .name = KERNEL_INITRD_FILE, .size_max = KERNEL_INITRD_MAX },
};

static bool allow_module(const char *name, uint64_t *ret_size_max)
{
	return str_starts(name, MODULES_PREFIX) &&
	       package_wants_module(name + sizeof(MODULES_PREFIX) - 1, ret_size_max);
}

static const struct bundle_rules rules = {
	.stage = MAKING_STAGE,
	.names = names,
	.name_count = ARRAY_LEN(names),
	.allow_other = allow_module,
	.total_max = KERNEL_FILE_SIZE_MAX + PACKAGE_VMLINUZ_MAX + KERNEL_INITRD_MAX +
		     PACKAGE_MODULES_MAX,
};

/* In a bundle the places of the files are given; metadata.json has only the version. */
static int take_metadata(struct making *making, struct err *err)
{
	AUTO_IMPORT_FILES files = { .vmlinux = NULL };
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(making->staging_fd, KERNEL_METADATA_FILE, METADATA_SIZE_MAX, &text);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read '%s'", KERNEL_METADATA_FILE);
	r = import_parse_metadata(buf_span(&text), &files, err);
	if (r == 0 && (files.vmlinux || files.vmlinuz || files.initrd || files.modules))
		r = err_set(err, ERR_INVALID, "in a bundle, 'version' is the only member");
	if (r < 0)
		return err_context(err, r, "'%s'", KERNEL_METADATA_FILE);
	making->kernel.record.version = TAKE_PTR(files.version);
	if (unlinkat(making->staging_fd, KERNEL_METADATA_FILE, 0) < 0)
		return err_sys(err, -errno, "remove '%s'", KERNEL_METADATA_FILE);
	return 0;
}

struct walk {
	struct making *making; /* borrowed, as the next */
	const char *path;      /* of the folder, below the staging folder */
	struct err *err;
};

/* The tree is what the unpacking made: folders and regular files, not too deep. */
static int take_entry(void *context, const char *name) // NOLINT(misc-no-recursion)
{
	const struct walk *walk = context;
	struct making *making = walk->making;
	AUTO_FREE char *path = mem_printf("%s/%s", walk->path, name);
	AUTO_CLOSE int dir_fd = dir_open_at(making->staging_fd, path);
	struct walk inner = { .making = making, .path = path, .err = walk->err };
	AUTO_BUF content = BUF_INIT;
	int r;

	if (dir_fd >= 0)
		return dir_each(dir_fd, take_entry, &inner);
	r = cancel_check(making->cancel, walk->err);
	if (r < 0)
		return r;
	r = file_read(making->staging_fd, path, MODULE_SIZE_MAX, &content);
	if (r < 0)
		return err_sys(walk->err, r, "read '%s'", path);
	return package_take_module(&making->package, path + sizeof(MODULES_PREFIX) - 1,
				   buf_span(&content), walk->err);
}

static int take_modules(struct making *making, struct err *err)
{
	AUTO_CLOSE int dir_fd = dir_open_at(making->staging_fd, "modules");
	struct walk walk = { .making = making, .path = "modules", .err = err };
	int r;

	if (dir_fd == -ENOENT)
		return 0;
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open 'modules'");
	*err = ERR_INIT;
	r = dir_each(dir_fd, take_entry, &walk);
	if (r < 0 && err->kind == ERR_NONE)
		return err_sys(err, r, "list 'modules'");
	return r;
}

int kernel_bundle_install(const struct kernel_bundle_request *request, const struct cancel *cancel,
			  const struct progress *progress, struct kernel *ret, struct err *err)
{
	CLEANUP(making_done) struct making making;
	int r;

	making_init(&making, request->name, cancel, progress);
	r = name_check_kernel(request->name, err);
	if (r < 0)
		return r;
	r = making_begin(&making, request->kernels_dir, err);
	if (r == 0)
		r = bundle_unpack(request->fd, &rules, making.staging_fd, cancel, progress, err);
	if (r == 0)
		r = take_metadata(&making, err);
	if (r == 0)
		r = take_modules(&making, err);
	if (r == 0) {
		making.kernel.record.kind =
			mem_strdup(kernel_source_kind_name(KERNEL_SOURCE_BUNDLE));
		making.kernel.source = mem_strdup(request->source);
		r = making_finish(&making, err);
	}
	if (r == 0)
		r = making_publish(&making, err);
	if (r < 0)
		return err_context(err, r, "the bundle of kernel '%s'", request->name);
	making_take(&making, ret);
	return 0;
}
