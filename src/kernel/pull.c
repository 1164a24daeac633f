#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernel/kernel.h"
#include "kernel/making.h"
#include "kernel/mmdebstrap.h"
#include "kernel/package.h"
#include "kernel/staging.h"
#include "model/names.h"

struct tar_context {
	struct mmdebstrap *run;
	const struct making *making;
};

static ssize_t read_tar(void *context, void *into, size_t size, struct err *err)
{
	const struct tar_context *tar = context;

	return mmdebstrap_read(tar->run, into, size, tar->making->cancel, tar->making->progress,
			       err);
}

/* Fetches the package and takes its files into the staging folder. */
static int fetch(struct making *making, const struct kernel_source *source, struct err *err)
{
	AUTO_FREE char *work_path = mem_printf("%s/%s", making->staging_path, STAGING_WORK);
	AUTO_CLOSE int work_fd = -1;
	CLEANUP(mmdebstrap_freep) struct mmdebstrap *run = NULL;
	struct mmdebstrap_request request = {
		.suite = source->suite,
		.variant = "extract",
		.packages = &source->package,
		.package_count = 1,
		.work_dir_path = work_path,
		.stage = MAKING_STAGE,
	};
	int r;

	if (mkdirat(making->staging_fd, STAGING_WORK, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", work_path);
	work_fd = dir_open_at(making->staging_fd, STAGING_WORK);
	if (work_fd < 0)
		return err_sys(err, work_fd, "open '%s'", work_path);
	request.work_dir_fd = work_fd;

	r = mmdebstrap_start(&request, &run, err);
	if (r < 0)
		return r;

	struct tar_context tar = { .run = run, .making = making };
	const struct package_source tar_source = { .read = read_tar, .context = &tar };

	package_done(&making->package);
	r = package_unpack(&tar_source, making->staging_fd, &making->package, err);
	if (r < 0)
		return r;
	/* The tar ends with blocks of zeros, and then there is the exit status. */
	return mmdebstrap_drain(run, making->cancel, making->progress, err);
}

static int pull_run(struct making *making, const char *kernels_dir,
		    const struct kernel_source *source, struct err *err)
{
	int r;

	r = making_begin(making, kernels_dir, err);
	if (r < 0)
		return r;
	r = fetch(making, source, err);
	if (r < 0)
		return r;
	r = dir_remove_tree(making->staging_fd, STAGING_WORK);
	if (r < 0)
		return err_sys(err, r, "remove temporary files");
	making->kernel.record.kind = mem_strdup(kernel_source_kind_name(source->kind));
	making->kernel.record.package = mem_strdup(source->package);
	making->kernel.source = mem_printf("%s/%s", source->package, source->suite);
	r = making_finish(making, err);
	return r < 0 ? r : making_publish(making, err);
}

int kernel_pull_package(const char *kernels_dir, const struct kernel_source *source,
			const struct cancel *cancel, const struct progress *progress,
			struct kernel *ret, struct err *err)
{
	CLEANUP(making_done) struct making making;
	int r;

	making_init(&making, source->name, cancel, progress);
	r = name_check_kernel(source->name, err);
	if (r == 0 && source->kind != KERNEL_SOURCE_PACKAGE)
		r = err_set(err, ERR_INVALID, "kernel '%s' is no package", source->name);
	if (r < 0)
		return r;
	r = pull_run(&making, kernels_dir, source, err);
	if (r < 0)
		return err_context(err, r, "pull kernel '%s'", source->name);
	making_take(&making, ret);
	return 0;
}
