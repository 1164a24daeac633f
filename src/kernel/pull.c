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
#include "kernel/extract.h"
#include "kernel/kernel.h"
#include "kernel/mmdebstrap.h"
#include "kernel/package.h"
#include "kernel/staging.h"
#include "model/names.h"

#define STAGE "kernel"

/* One pull, from its staging folder to its place. */
struct pull {
	const struct kernel_source *source; /* borrowed, as the next two */
	const struct cancel *cancel;
	const struct progress *progress;
	int kernels_fd;	    /* owned */
	int staging_fd;	    /* owned */
	char *staging;	    /* owned: its name while it has to be removed */
	char *staging_path; /* owned */
	struct package package;
	struct kernel kernel; /* the record as it grows */
};

static void pull_done(struct pull *pull)
{
	fd_close(pull->staging_fd);
	/* What cannot be removed now is removed by the next sweep. */
	if (pull->staging && dir_remove_tree(pull->kernels_fd, pull->staging) < 0)
		mem_free(TAKE_PTR(pull->staging));
	fd_close(pull->kernels_fd);
	mem_free(pull->staging);
	mem_free(pull->staging_path);
	package_done(&pull->package);
	kernel_done(&pull->kernel);
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

static int make_staging(struct pull *pull, const char *kernels_dir, struct err *err)
{
	AUTO_FREE char *name = NULL;
	int r;

	r = dir_make_path(kernels_dir, 0700);
	if (r < 0)
		return err_sys(err, r, "make '%s'", kernels_dir);
	pull->kernels_fd = dir_open(kernels_dir);
	if (pull->kernels_fd < 0)
		return err_sys(err, pull->kernels_fd, "open '%s'", kernels_dir);
	r = staging_name(STAGING_NEW, pull->source->name, &name);
	if (r < 0)
		return err_sys(err, r, "make a name");
	if (mkdirat(pull->kernels_fd, name, 0700) < 0)
		return err_sys(err, -errno, "make '%s/%s'", kernels_dir, name);
	pull->staging_path = mem_printf("%s/%s", kernels_dir, name);
	pull->staging = TAKE_PTR(name);
	pull->staging_fd = dir_open_at(pull->kernels_fd, pull->staging);
	if (pull->staging_fd < 0)
		return err_sys(err, pull->staging_fd, "open '%s'", pull->staging_path);
	failpoint("kernel.pull.staged");
	return 0;
}

struct tar_context {
	struct mmdebstrap *run;
	const struct pull *pull;
};

static ssize_t read_tar(void *context, void *into, size_t size, struct err *err)
{
	const struct tar_context *tar = context;

	return mmdebstrap_read(tar->run, into, size, tar->pull->cancel, tar->pull->progress, err);
}

/* Fetches the package and takes its files into the staging folder. */
static int fetch(struct pull *pull, struct err *err)
{
	AUTO_FREE char *work_path = mem_printf("%s/%s", pull->staging_path, STAGING_WORK);
	AUTO_CLOSE int work_fd = -1;
	CLEANUP(mmdebstrap_freep) struct mmdebstrap *run = NULL;
	struct mmdebstrap_request request = {
		.suite = pull->source->suite,
		.variant = "extract",
		.packages = &pull->source->package,
		.package_count = 1,
		.work_dir_path = work_path,
		.stage = STAGE,
	};
	int r;

	if (mkdirat(pull->staging_fd, STAGING_WORK, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", work_path);
	work_fd = dir_open_at(pull->staging_fd, STAGING_WORK);
	if (work_fd < 0)
		return err_sys(err, work_fd, "open '%s'", work_path);
	request.work_dir_fd = work_fd;

	r = mmdebstrap_start(&request, &run, err);
	if (r < 0)
		return r;

	struct tar_context tar = { .run = run, .pull = pull };
	const struct package_source source = { .read = read_tar, .context = &tar };

	r = package_unpack(&source, pull->staging_fd, &pull->package, err);
	if (r < 0)
		return r;
	/* The tar ends with blocks of zeros, and then there is the exit status. */
	return mmdebstrap_drain(run, pull->cancel, pull->progress, err);
}

/* Takes the bytes of a file into the record: its size and its digest. */
static int account(struct pull *pull, int fd, char sha256[static SHA256_TEXT_SIZE], struct err *err)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return err_sys(err, -errno, "examine a file of the kernel");
	pull->kernel.record.size_bytes += (uint64_t)info.st_size;
	return digest_file(fd, pull->cancel, sha256, err);
}

static int check_image(struct pull *pull, int vmlinuz_fd, int vmlinux_fd, struct err *err)
{
	struct kernel_record *record = &pull->kernel.record;
	struct kernel_image image;
	int r;

	r = kernel_image_read(vmlinux_fd, &image, err);
	if (r < 0)
		return r;
	if (!image.has_pvh)
		return err_set(err, ERR_INVALID,
			       "the package's kernel has no PVH entry point, which QEMU needs");
	r = kernel_image_read(vmlinuz_fd, &image, err);
	if (r < 0)
		return r;
	if (!str_eq(image.release, pull->package.release))
		return err_set(err, ERR_INVALID,
			       "the package's kernel calls itself '%s', its modules are for '%s'",
			       image.release, pull->package.release);
	record->release = mem_strdup(image.release);
	record->version = mem_strdup(image.version[0] != '\0' ? image.version : image.release);
	return 0;
}

static int make_vmlinux(struct pull *pull, struct err *err)
{
	AUTO_CLOSE int vmlinuz_fd = -1;
	AUTO_CLOSE int vmlinux_fd = -1;
	int r;

	progress_report(pull->progress, STAGE, "uncompressing the kernel", 0, 0);
	vmlinuz_fd = openat(pull->staging_fd, "vmlinuz", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (vmlinuz_fd < 0)
		return err_sys(err, -errno, "open 'vmlinuz'");
	vmlinux_fd = openat(pull->staging_fd, KERNEL_ELF_FILE,
			    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (vmlinux_fd < 0)
		return err_sys(err, -errno, "make 'vmlinux'");
	r = kernel_extract_vmlinux(vmlinuz_fd, vmlinux_fd, pull->cancel, err);
	if (r == 0)
		r = check_image(pull, vmlinuz_fd, vmlinux_fd, err);
	if (r == 0)
		r = account(pull, vmlinuz_fd, pull->kernel.vmlinuz_sha256, err);
	if (r == 0)
		r = account(pull, vmlinux_fd, pull->kernel.vmlinux_sha256, err);
	return r;
}

static int make_modules_dep(struct pull *pull, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	r = module_set_write_dep(pull->package.modules, &text, err);
	if (r < 0)
		return r;
	pull->kernel.record.size_bytes += text.len;
	r = file_replace(pull->staging_fd, "modules.dep", buf_span(&text), 0600);
	if (r < 0)
		return err_sys(err, r, "write 'modules.dep'");
	return 0;
}

static int make_record(struct pull *pull, struct err *err)
{
	struct kernel_record *record = &pull->kernel.record;

	record->state = ARTIFACT_READY;
	record->name = mem_strdup(pull->source->name);
	record->kind = mem_strdup("package");
	record->package = mem_strdup(pull->source->package);
	record->has_elf = true;
	record->has_bzimage = true;
	record->module_count = module_set_count(pull->package.modules);
	record->size_bytes += pull->package.modules_bytes;
	record->pulled_at = clock_wall_seconds();
	return kernel_write_record(pull->staging_fd, &pull->kernel, err);
}

/* Puts the finished folder in its place; an older kernel there changes places with it and is
 * removed. */
static int publish(struct pull *pull, struct err *err)
{
	const char *name = pull->source->name;
	int r;

	r = cancel_check(pull->cancel, err);
	if (r < 0)
		return r;
	/* One call instead of an fsync() for each of a thousand modules. */
	if (syncfs(pull->staging_fd) < 0)
		return err_sys(err, -errno, "write kernel '%s' to the disk", name);

	if (renameat2(pull->kernels_fd, pull->staging, pull->kernels_fd, name, RENAME_NOREPLACE) ==
	    0)
		mem_free(TAKE_PTR(pull->staging));
	else if (errno != EEXIST || renameat2(pull->kernels_fd, pull->staging, pull->kernels_fd,
					      name, RENAME_EXCHANGE) < 0)
		return err_sys(err, -errno, "put kernel '%s' in its place", name);
	if (fsync(pull->kernels_fd) < 0)
		return err_sys(err, -errno, "write kernel '%s' to the disk", name);
	failpoint("kernel.pull.renamed");
	return 0;
}

static int pull_run(struct pull *pull, const char *kernels_dir, struct err *err)
{
	int r;

	r = make_staging(pull, kernels_dir, err);
	if (r < 0)
		return r;
	r = fetch(pull, err);
	if (r < 0)
		return r;
	r = dir_remove_tree(pull->staging_fd, STAGING_WORK);
	if (r < 0)
		return err_sys(err, r, "remove temporary files");
	r = make_vmlinux(pull, err);
	if (r == 0)
		r = make_modules_dep(pull, err);
	if (r == 0)
		r = make_record(pull, err);
	if (r < 0)
		return r;
	failpoint("kernel.pull.extracted");
	return publish(pull, err);
}

int kernel_pull(const char *kernels_dir, const char *name, const struct cancel *cancel,
		const struct progress *progress, struct kernel *ret, struct err *err)
{
	CLEANUP(pull_done)
	struct pull pull = {
		.source = kernel_source_find(name),
		.cancel = cancel,
		.progress = progress,
		.kernels_fd = -1,
		.staging_fd = -1,
	};
	int r;

	kernel_init(&pull.kernel);
	r = name_check_kernel(name, err);
	if (r < 0)
		return r;
	if (!pull.source) {
		r = err_set(err, ERR_NOT_FOUND, "the kernel catalog has no '%s'", name);
		err_hint(err, "banger kernel list --available");
		return r;
	}
	r = pull_run(&pull, kernels_dir, err);
	if (r < 0)
		return err_context(err, r, "pull kernel '%s'", name);

	kernel_done(ret);
	*ret = pull.kernel;
	kernel_init(&pull.kernel);
	return 0;
}
