#include "kernel/import.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/copy.h"
#include "kernel/image.h"
#include "kernel/import_find.h"
#include "kernel/making.h"
#include "kernel/package.h"
#include "model/names.h"

#define KIND_IMPORTED "imported"

/* --- the kernel and the initrd --- */

static char *shown_path(const char *from, const char *path)
{
	return from ? mem_printf("%s/%s", from, path) : mem_strdup(path);
}

/* Where the copy goes follows from what the file is, not from what it is called. */
static int import_kernel(struct making *making, int dir_fd, const char *from, const char *path,
			 struct err *err)
{
	AUTO_FREE char *shown = shown_path(from, path);
	const struct copy_source source = { dir_fd, path, shown };
	struct kernel *kernel = &making->kernel;
	struct kernel_image image;
	AUTO_CLOSE int fd = -1;
	const char *name;
	char *sha256;
	int r;

	r = copy_open(&source, &fd, err);
	if (r < 0)
		return r;
	r = kernel_image_read(fd, &image, err);
	if (r < 0)
		return err_context(err, r, "'%s'", shown);
	name = image.format == KERNEL_FORMAT_ELF ? KERNEL_ELF_FILE : "vmlinuz";
	sha256 =
		image.format == KERNEL_FORMAT_ELF ? kernel->vmlinux_sha256 : kernel->vmlinuz_sha256;
	if (sha256[0] != '\0')
		return err_set(err, ERR_INVALID, "'%s' is a second kernel of the format %s", shown,
			       kernel_format_name(image.format));
	progress_report(making->progress, MAKING_STAGE, "copying the kernel", 0, 0);
	return copy_file(fd, shown,
			 &(struct copy_target){ making->staging_fd, name, KERNEL_FILE_SIZE_MAX,
						making->cancel },
			 sha256, err);
}

static int import_initrd(struct making *making, int dir_fd, const char *from, const char *path,
			 struct err *err)
{
	AUTO_FREE char *shown = shown_path(from, path);
	const struct copy_source source = { dir_fd, path, shown };
	const struct copy_target target = { making->staging_fd, KERNEL_INITRD_FILE,
					    KERNEL_INITRD_MAX, making->cancel };
	AUTO_CLOSE int fd = -1;
	int r;

	r = copy_open(&source, &fd, err);
	return r < 0 ? r : copy_file(fd, shown, &target, making->kernel.initrd_sha256, err);
}

/* --- modules --- */

struct walk {
	struct making *making; /* borrowed, as the next */
	const char *shown;     /* the modules' folder, for messages */
	int modules_fd;	       /* borrowed */
	const char *path;      /* of the folder being read, below the modules'; "" for itself */
	size_t depth;
	struct err *err;
};

static int import_module(struct making *making, int modules_fd, const char *shown, const char *path,
			 struct err *err)
{
	AUTO_FREE char *shown_file = mem_printf("%s/%s", shown, path);
	AUTO_FREE char *target = mem_printf("modules/%s", path);
	const struct copy_source source = { modules_fd, path, shown_file };
	AUTO_CLOSE int fd = -1;
	AUTO_BUF content = BUF_INIT;
	uint64_t size_max = 0;
	int r;

	if (!package_wants_module(path, &size_max))
		return 0;
	r = cancel_check(making->cancel, err);
	if (r == 0)
		r = copy_open(&source, &fd, err);
	if (r == 0)
		r = copy_read(fd, shown_file, size_max, &content, err);
	if (r == 0)
		r = package_take_module(&making->package, path, buf_span(&content), err);
	return r == 0 ? package_write_file(making->staging_fd, target, buf_span(&content), err) : r;
}

static int walk_folder(struct walk *walk);

static int visit(void *context, const char *name) // NOLINT(misc-no-recursion): depth is limited
{
	struct walk *walk = context;
	AUTO_FREE char *path =
		walk->path[0] == '\0' ? mem_strdup(name) : mem_printf("%s/%s", walk->path, name);
	struct walk inner = *walk;
	struct stat info;

	if (fstatat(walk->modules_fd, path, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(walk->err, -errno, "examine '%s/%s'", walk->shown, path);
	if (!S_ISDIR(info.st_mode))
		return import_module(walk->making, walk->modules_fd, walk->shown, path, walk->err);
	inner.path = path;
	inner.depth++;
	return walk_folder(&inner);
}

static int walk_folder(struct walk *walk) // NOLINT(misc-no-recursion): depth is limited
{
	AUTO_FREE char *shown = mem_printf("%s/%s", walk->shown, walk->path);
	const struct copy_source source = { walk->modules_fd,
					    walk->path[0] == '\0' ? "." : walk->path, shown };
	AUTO_CLOSE int fd = -1;
	int r;

	if (walk->depth > PACKAGE_DEPTH_MAX)
		return err_set(walk->err, ERR_LIMIT, "'%s' has folders more than %d deep",
			       walk->shown, PACKAGE_DEPTH_MAX);
	r = copy_open_dir(&source, &fd, walk->err);
	if (r < 0)
		return r;
	r = dir_each(fd, visit, walk);
	/* What visit() refuses it has explained; the listing itself may fail, too. */
	if (r < 0 && walk->err->kind == ERR_NONE)
		return err_sys(walk->err, r, "list '%s'", shown);
	return r;
}

static int import_modules(struct making *making, int dir_fd, const char *from, const char *path,
			  struct err *err)
{
	AUTO_FREE char *shown = shown_path(from, path);
	const struct copy_source source = { dir_fd, path, shown };
	AUTO_CLOSE int fd = -1;
	struct walk walk = { .making = making, .shown = shown, .path = "", .err = err };
	int r;

	r = copy_open_dir(&source, &fd, err);
	if (r < 0)
		return r;
	progress_report(making->progress, MAKING_STAGE, "copying the modules", 0, 0);
	walk.modules_fd = fd;
	*err = ERR_INIT;
	return walk_folder(&walk);
}

/* --- all of it --- */

static int import_files(struct making *making, int dir_fd, const char *from,
			const struct import_files *files, struct err *err)
{
	int r = 0;

	if (files->vmlinux)
		r = import_kernel(making, dir_fd, from, files->vmlinux, err);
	if (r == 0 && files->vmlinuz)
		r = import_kernel(making, dir_fd, from, files->vmlinuz, err);
	if (r == 0 && files->initrd)
		r = import_initrd(making, dir_fd, from, files->initrd, err);
	if (r == 0 && files->modules)
		r = import_modules(making, dir_fd, from, files->modules, err);
	if (r < 0)
		return r;
	memcpy(making->package.release, files->release, sizeof(files->release));
	making->kernel.record.version = mem_strdup(files->version);
	return 0;
}

static int import_folder(struct making *making, const char *from, struct err *err)
{
	AUTO_IMPORT_FILES files = { .vmlinux = NULL };
	/* The folder itself is the user's word, and may be behind links. */
	AUTO_CLOSE int dir_fd = dir_open(from);
	int r;

	if (dir_fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%s'", from);
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open '%s'", from);
	r = import_find(dir_fd, from, &files, err);
	return r < 0 ? r : import_files(making, dir_fd, from, &files, err);
}

static int import_named(struct making *making, const struct kernel_import_request *request,
			struct err *err)
{
	AUTO_IMPORT_FILES files = {
		.vmlinux = mem_strdup(request->kernel_file),
		.initrd = mem_strdup(request->initrd_file),
		.modules = mem_strdup(request->modules_dir),
	};

	if (files.modules)
		import_release_of_path(files.modules, files.release);
	return import_files(making, AT_FDCWD, NULL, &files, err);
}

int kernel_import(const struct kernel_import_request *request, const struct cancel *cancel,
		  const struct progress *progress, struct kernel *ret, struct err *err)
{
	CLEANUP(making_done) struct making making;
	int r;

	making_init(&making, request->name, cancel, progress);
	r = name_check_kernel(request->name, err);
	if (r < 0)
		return r;
	r = making_begin(&making, request->kernels_dir, err);
	if (r == 0 && request->from)
		r = import_folder(&making, request->from, err);
	else if (r == 0)
		r = import_named(&making, request, err);
	if (r == 0) {
		making.kernel.record.kind = mem_strdup(KIND_IMPORTED);
		making.kernel.source =
			mem_strdup(request->from ? request->from : request->kernel_file);
		r = making_finish(&making, err);
	}
	if (r == 0)
		r = making_publish(&making, err);
	if (r < 0)
		return err_context(err, r, "import kernel '%s'", request->name);
	making_take(&making, ret);
	return 0;
}
