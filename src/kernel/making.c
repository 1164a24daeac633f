#include "kernel/making.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/banner.h"
#include "kernel/extract.h"
#include "kernel/import.h"
#include "kernel/staging.h"
#include "model/names.h"

#define BZIMAGE_FILE	"vmlinuz"
#define UNKNOWN_RELEASE "unknown"

void making_init(struct making *making, const char *name, const struct cancel *cancel,
		 const struct progress *progress)
{
	*making = (struct making){
		.name = name,
		.cancel = cancel,
		.progress = progress,
		.kernels_fd = -1,
		.staging_fd = -1,
		.package = { .modules = module_set_new() },
	};
	kernel_init(&making->kernel);
}

void making_done(struct making *making)
{
	fd_close(making->staging_fd);
	/* What cannot be removed now is removed by the next sweep. */
	if (making->staging)
		IGNORE_RESULT(dir_remove_tree(making->kernels_fd, making->staging));
	fd_close(making->kernels_fd);
	mem_free(making->staging);
	mem_free(making->staging_path);
	package_done(&making->package);
	kernel_done(&making->kernel);
}

int staging_name(const char *prefix, const char *name, char **ret)
{
	char id[VM_ID_SIZE];
	int r;

	r = model_new_id(id);
	if (r < 0)
		return r;
	*ret = mem_printf("%s%s-%.16s", prefix, name, id);
	return 0;
}

int making_begin(struct making *making, const char *kernels_dir, struct err *err)
{
	AUTO_FREE char *name = NULL;
	int r;

	r = dir_make_path(kernels_dir, 0700);
	if (r < 0)
		return err_sys(err, r, "make '%s'", kernels_dir);
	making->kernels_fd = dir_open(kernels_dir);
	if (making->kernels_fd < 0)
		return err_sys(err, making->kernels_fd, "open '%s'", kernels_dir);
	r = staging_name(STAGING_NEW, making->name, &name);
	if (r < 0)
		return err_sys(err, r, "make a name");
	if (mkdirat(making->kernels_fd, name, 0700) < 0)
		return err_sys(err, -errno, "make '%s/%s'", kernels_dir, name);
	making->staging_path = mem_printf("%s/%s", kernels_dir, name);
	making->staging = TAKE_PTR(name);
	making->staging_fd = dir_open_at(making->kernels_fd, making->staging);
	if (making->staging_fd < 0)
		return err_sys(err, making->staging_fd, "open '%s'", making->staging_path);
	failpoint("kernel.pull.staged");
	return 0;
}

/* --- modules --- */

static int make_modules_dep(struct making *making, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	r = module_set_write_dep(making->package.modules, &text, err);
	if (r < 0)
		return r;
	making->kernel.record.size_bytes += text.len;
	r = file_replace(making->staging_fd, "modules.dep", buf_span(&text), 0600);
	if (r < 0)
		return err_sys(err, r, "write 'modules.dep'");
	return 0;
}

/* --- the kernel's files --- */

/* Opens a file of the staging folder; *ret_fd is -1 when there is none. */
static int open_staged(const struct making *making, const char *name, int *ret_fd, struct err *err)
{
	*ret_fd = openat(making->staging_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret_fd < 0 && errno != ENOENT)
		return err_sys(err, -errno, "open '%s'", name);
	return 0;
}

/* Takes a file into the record: its size, and its digest when it is not known yet. */
static int account(struct making *making, int fd, char sha256[static SHA256_TEXT_SIZE],
		   struct err *err)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine a file of the kernel");
	making->kernel.record.size_bytes += (uint64_t)info.st_size;
	return sha256[0] != '\0' ? 0 : digest_file(fd, making->cancel, sha256, err);
}

static int extract(struct making *making, int vmlinuz_fd, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	progress_report(making->progress, MAKING_STAGE, "uncompressing the kernel", 0, 0);
	fd = openat(making->staging_fd, KERNEL_ELF_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(err, -errno, "make '%s'", KERNEL_ELF_FILE);
	r = kernel_extract_vmlinux(vmlinuz_fd, fd, making->cancel, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Reads the headers of a staged file, which must be of this format. */
static int read_image(const char *name, int fd, enum kernel_format format, struct kernel_image *ret,
		      struct err *err)
{
	const int r = kernel_image_read(fd, ret, err);

	if (r < 0)
		return err_context(err, r, "'%s'", name);
	if (ret->format != format)
		return err_set(err, ERR_INVALID, "'%s' has the format %s, not %s", name,
			       kernel_format_name(ret->format), kernel_format_name(format));
	return 0;
}

static int check_elf(int fd, struct err *err)
{
	struct kernel_image image;
	int r;

	r = read_image(KERNEL_ELF_FILE, fd, KERNEL_FORMAT_ELF, &image, err);
	if (r == 0 && !image.has_pvh) {
		r = err_set(err, ERR_INVALID,
			    "the kernel has no PVH entry point, which QEMU needs");
		err_hint(err, "build it with CONFIG_PVH=y");
	}
	return r;
}

static int disagree(const char *release, const char *what, const char *other, struct err *err)
{
	return err_set(err, ERR_INVALID, "the kernel calls itself '%s', its %s '%s'", release, what,
		       other);
}

/* What the kernel calls itself: bzImages say so in their header, ELF files in their banner, and the
 * modules' folder is called so. All that are there have to agree. */
static int name_release(struct making *making, const struct kernel_image *bzimage, int vmlinux_fd,
			struct err *err)
{
	struct kernel_record *record = &making->kernel.record;
	const char *folder = making->package.release;
	const char *release = bzimage->release;
	char banner[KERNEL_RELEASE_MAX + 1] = "";
	int r;

	r = kernel_banner_read(vmlinux_fd, making->cancel, banner, err);
	if (r < 0)
		return r;
	if (release[0] == '\0')
		release = banner;
	if (banner[0] != '\0' && !str_eq(release, banner))
		return disagree(release, "vmlinux is", banner, err);
	if (release[0] == '\0')
		release = folder[0] != '\0' ? folder : UNKNOWN_RELEASE;
	if (folder[0] != '\0' && !str_eq(release, folder))
		return disagree(release, "modules are for", folder, err);
	record->release = mem_strdup(release);
	if (!record->version)
		record->version =
			mem_strdup(bzimage->version[0] != '\0' ? bzimage->version : release);
	return 0;
}

static int finish_images(struct making *making, struct err *err)
{
	struct kernel_record *record = &making->kernel.record;
	struct kernel_image bzimage = { .release = "" };
	AUTO_CLOSE int vmlinuz_fd = -1;
	AUTO_CLOSE int vmlinux_fd = -1;
	int r;

	r = open_staged(making, BZIMAGE_FILE, &vmlinuz_fd, err);
	if (r == 0)
		r = open_staged(making, KERNEL_ELF_FILE, &vmlinux_fd, err);
	if (r == 0 && vmlinuz_fd < 0 && vmlinux_fd < 0)
		r = err_set(err, ERR_INVALID, "there is neither '%s' nor '%s'", KERNEL_ELF_FILE,
			    BZIMAGE_FILE);
	if (r == 0 && vmlinuz_fd >= 0)
		r = read_image(BZIMAGE_FILE, vmlinuz_fd, KERNEL_FORMAT_BZIMAGE, &bzimage, err);
	if (r == 0 && vmlinux_fd < 0)
		r = extract(making, vmlinuz_fd, &vmlinux_fd, err);
	if (r == 0)
		r = check_elf(vmlinux_fd, err);
	if (r == 0)
		r = name_release(making, &bzimage, vmlinux_fd, err);
	if (r == 0 && vmlinuz_fd >= 0)
		r = account(making, vmlinuz_fd, making->kernel.vmlinuz_sha256, err);
	if (r == 0)
		r = account(making, vmlinux_fd, making->kernel.vmlinux_sha256, err);
	record->has_elf = true;
	record->has_bzimage = vmlinuz_fd >= 0;
	return r;
}

static int finish_initrd(struct making *making, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = open_staged(making, KERNEL_INITRD_FILE, &fd, err);
	return r < 0 || fd < 0 ? r : account(making, fd, making->kernel.initrd_sha256, err);
}

int making_finish(struct making *making, struct err *err)
{
	struct kernel_record *record = &making->kernel.record;
	int r;

	r = finish_images(making, err);
	if (r == 0)
		r = finish_initrd(making, err);
	if (r == 0)
		r = make_modules_dep(making, err);
	if (r < 0)
		return r;
	record->state = ARTIFACT_READY;
	record->name = mem_strdup(making->name);
	record->module_count = module_set_count(making->package.modules);
	record->size_bytes += making->package.modules_bytes;
	record->pulled_at = clock_wall_seconds();
	r = kernel_write_record(making->staging_fd, &making->kernel, err);
	if (r == 0)
		failpoint("kernel.pull.extracted");
	return r;
}

int making_publish(struct making *making, struct err *err)
{
	const char *name = making->name;
	int r;

	r = cancel_check(making->cancel, err);
	if (r < 0)
		return r;
	/* One call instead of an fsync() for each of a thousand modules. */
	if (syncfs(making->staging_fd) < 0)
		return err_sys(err, -errno, "write kernel '%s' to the disk", name);

	r = file_rename_new(making->kernels_fd, making->staging, making->kernels_fd, name);
	if (r == 0)
		mem_free(TAKE_PTR(making->staging));
	else if (r == -EEXIST)
		r = renameat2(making->kernels_fd, making->staging, making->kernels_fd, name,
			      RENAME_EXCHANGE) < 0
			    ? -errno
			    : 0;
	if (r < 0)
		return err_sys(err, r, "put kernel '%s' in its place", name);
	if (fsync(making->kernels_fd) < 0)
		return err_sys(err, -errno, "write kernel '%s' to the disk", name);
	failpoint("kernel.pull.renamed");
	return 0;
}

void making_take(struct making *making, struct kernel *ret)
{
	kernel_done(ret);
	*ret = making->kernel;
	kernel_init(&making->kernel);
}
