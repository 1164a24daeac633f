/* Kernels: pulling, importing, deleting, and what a crash leaves of that. */
#include "daemon/artifacts.h"

#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/template_builder.h"
#include "kernel/bundle.h"
#include "kernel/catalog.h"
#include "kernel/import.h"
#include "kernel/kernel.h"
#include "kernel/unpack.h"
#include "model/names.h"

/* What is here or in the catalog and has nearly that name goes into the hint. */
void artifact_hint_kernels(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_KERNEL_CATALOG catalog = { 0 };
	AUTO_KERNEL_RECORD_LIST here = { 0 };
	AUTO_STRV names = { .items = NULL };
	struct err ignored = ERR_INIT;
	const char *nearest;

	if (kernel_catalog_load(daemon->paths.config_dir, &catalog, &ignored) == 0)
		for (size_t i = 0; i < catalog.count; i++)
			strv_add(&names, catalog.items[i].name);
	if (store_kernel_list(daemon->store, &here, &ignored) == 0)
		for (size_t i = 0; i < here.count; i++)
			strv_add(&names, here.items[i].name);
	nearest = text_nearest(name, (const char *const *)names.items, names.count);
	err_hint(err,
		 "%s%s%s'banger kernel list --available' shows what is here and what can be pulled",
		 nearest ? "did you mean '" : "", nearest ? nearest : "", nearest ? "'? " : "");
}

static int no_kernel(struct daemon *daemon, const char *name, struct err *err)
{
	const int r = err_set(err, ERR_NOT_FOUND, "no kernel '%s'", name);

	artifact_hint_kernels(daemon, name, err);
	return r;
}

/* Somebody may have removed the folder by hand. */
static bool has_files(const struct daemon *daemon, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s/%s", daemon->kernels_dir, name, KERNEL_ELF_FILE);

	return access(path, F_OK) == 0;
}

/* 1 when there is a record that is ready, 0 when there is none (worth the name). */
static int load_ready(struct daemon *daemon, const char *name, struct kernel_record *ret,
		      struct err *err)
{
	struct err lookup_err = ERR_INIT;
	const int r = store_kernel_get(daemon->store, name, ret, &lookup_err);

	if (r < 0 && lookup_err.kind == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = lookup_err;
		return r;
	}
	if (ret->state == ARTIFACT_READY && has_files(daemon, name))
		return 1;
	kernel_record_done(ret);
	return 0;
}

/* Whether there is a record that says ready, of files that are gone. */
static bool is_lost(struct daemon *daemon, const char *name)
{
	AUTO_KERNEL_RECORD known = { 0 };
	struct err ignored = ERR_INIT;

	return store_kernel_get(daemon->store, name, &known, &ignored) == 0 &&
	       known.state == ARTIFACT_READY && !has_files(daemon, name);
}

/* As for images: what is in its place is whole, and the record says what there is. */
static int settle(struct daemon *daemon, const char *name, struct err *err)
{
	struct err load_err = ERR_INIT;
	AUTO_KERNEL kernel;

	kernel_init(&kernel);
	if (kernel_load(daemon->kernels_dir, name, &kernel, &load_err) < 0)
		return store_kernel_delete(daemon->store, name, err);
	kernel.record.state = ARTIFACT_READY;
	return store_kernel_put(daemon->store, &kernel.record, err);
}

/* --- making, under the kernel's lock --- */

/* A VM uses it; a database that is busy is another matter. */
static bool is_used(const struct err *err)
{
	return err->kind == ERR_BUSY && strstr(err->message, "in use");
}

/* The record says PULLING before the first file is made; refused while a VM uses the kernel. */
static int begin(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_TEMPLATE_BUILDER_PAUSE pause = { .builder = NULL };
	AUTO_KERNEL_RECORD intent = { 0 };
	int r;

	kernel_record_init(&intent);
	intent.name = mem_strdup(name);
	intent.state = ARTIFACT_PULLING;
	r = template_builder_pause(daemon->template_builder, NULL, name, &pause, err);
	if (r == 0)
		r = store_kernel_put(daemon->store, &intent, err);
	if (r < 0 && is_used(err))
		err_hint(err, "delete the VMs that use it first ('banger vm list' shows them)");
	artifact_explain_use(daemon, NULL, name, err);
	if (r < 0)
		return err_context(err, r, "cannot make kernel '%s'", name);
	failpoint("kernel.pull.intent");
	return 0;
}

/* The other end: stores what was made, or what there is when that failed. */
static int finish(struct daemon *daemon, const char *name, int made, struct kernel *kernel,
		  struct kernel_record *ret, struct err *err)
{
	struct err undo_err = ERR_INIT;
	int r;

	r = made;
	if (r == 0) {
		failpoint("kernel.pull.built");
		kernel->record.state = ARTIFACT_READY;
		r = store_kernel_put(daemon->store, &kernel->record, err);
		if (r < 0 && kernel_remove(daemon->kernels_dir, name, &undo_err) < 0)
			err_append(err, &undo_err);
	}
	if (r < 0) {
		/* What cannot be settled now, the next pass does. */
		undo_err = ERR_INIT;
		if (settle(daemon, name, &undo_err) < 0)
			err_append(err, &undo_err);
		return r;
	}
	failpoint("kernel.pull.stored");
	/* The record is given away; what is left of the kernel can still be released. */
	*ret = kernel->record;
	kernel_record_init(&kernel->record);
	return 0;
}

static int pull_bundle(struct daemon *daemon, const struct kernel_source *source,
		       const struct job *job, struct kernel *ret, struct err *err)
{
	const struct bundle_origin origin = {
		.url = source->url,
		.sha256 = source->sha256,
		.size_bytes = source->size_bytes,
		.cancel = job->cancel,
		.progress = job->progress,
	};
	struct kernel_bundle_request bundle = {
		.kernels_dir = daemon->kernels_dir,
		.name = source->name,
		.source = source->url,
	};
	AUTO_CLOSE int fd = -1;
	int r;

	r = bundle_fetch(&origin, daemon->kernels_dir, source->name, &fd, err);
	if (r < 0)
		return r;
	bundle.fd = fd;
	return kernel_bundle_install(&bundle, job->cancel, job->progress, ret, err);
}

static int pull_source(struct daemon *daemon, const struct kernel_source *source,
		       const struct job *job, struct kernel_record *ret, struct err *err)
{
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = begin(daemon, source->name, err);
	if (r < 0)
		return r;
	if (source->kind == KERNEL_SOURCE_BUNDLE)
		r = pull_bundle(daemon, source, job, &kernel, err);
	else
		r = kernel_pull_package(daemon->kernels_dir, source, job->cancel, job->progress,
					&kernel, err);
	return finish(daemon, source->name, r, &kernel, ret, err);
}

/* With `is_wanted_anew` false one that is ready is enough. */
static int pull(struct daemon *daemon, const char *name, bool is_wanted_anew, const struct job *job,
		struct kernel_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_KERNEL_CATALOG catalog = { 0 };
	const struct kernel_source *source;
	int r;

	/* First the lock: somebody may be making one that no catalog knows. */
	r = artifact_lock(job, "kernel", name, &hold, NULL, err);
	if (r == 0 && !is_wanted_anew)
		r = load_ready(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = kernel_catalog_load(daemon->paths.config_dir, &catalog, err);
	if (r < 0)
		return r;
	source = kernel_catalog_find(&catalog, name);
	return source ? pull_source(daemon, source, job, ret, err) : no_kernel(daemon, name, err);
}

int artifact_ensure_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct kernel_record *ret, struct err *err)
{
	int r;

	r = load_ready(daemon, name, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (job->is_background)
		return no_kernel(daemon, name, err);
	r = pull(daemon, name, false, job, ret, err);
	if (r < 0 && is_lost(daemon, name))
		return err_context(err, r,
				   "the files of kernel '%s' are gone, and it cannot be made again",
				   name);
	return r;
}

int artifact_pull_kernel(struct daemon *daemon, const char *name, const struct job *job,
			 struct kernel_record *ret, struct err *err)
{
	return pull(daemon, name, true, job, ret, err);
}

int artifact_check_kernel(struct daemon *daemon, const char *name, struct err *err)
{
	AUTO_KERNEL_RECORD known = { 0 };
	AUTO_KERNEL_CATALOG catalog = { 0 };
	int r;

	r = load_ready(daemon, name, &known, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = kernel_catalog_load(daemon->paths.config_dir, &catalog, err);
	if (r < 0)
		return r;
	return kernel_catalog_find(&catalog, name) ? 0 : no_kernel(daemon, name, err);
}

/* --- importing --- */

int artifact_import_claimed_kernel(const struct job *job,
				   const struct kernel_import_request *request,
				   struct kernel_record *ret, struct err *err)
{
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = begin(job->daemon, request->name, err);
	if (r < 0)
		return r;
	r = kernel_import(request, job->cancel, job->progress, &kernel, err);
	return finish(job->daemon, request->name, r, &kernel, ret, err);
}

int artifact_import_kernel(const struct job *job, const struct kernel_import_request *request,
			   struct kernel_record *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = name_check_kernel(request->name, err);
	if (r == 0)
		r = artifact_lock(job, "kernel", request->name, &hold, NULL, err);
	return r < 0 ? r : artifact_import_claimed_kernel(job, request, ret, err);
}

int artifact_claim_new_kernel(const struct job *job, const char *name, struct keyhold *ret,
			      struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_KERNEL_RECORD known = { 0 };
	int r;

	r = name_check_kernel(name, err);
	if (r == 0)
		r = artifact_lock(job, "kernel", name, &hold, NULL, err);
	if (r == 0)
		r = load_ready(job->daemon, name, &known, err);
	if (r > 0) {
		r = err_set(err, ERR_EXISTS, "a kernel named '%s' exists already", name);
		err_hint(err, "use it with --kernel-ref %s, or choose another name", name);
	}
	if (r < 0)
		return r;
	*ret = hold;
	hold = KEYHOLD_INIT;
	return 0;
}

/* --- deleting --- */

/* Under the kernel's lock. ERR_NOT_FOUND when there is no record. */
static int delete_claimed(struct daemon *daemon, const char *name, struct err *err)
{
	int r;

	r = store_kernel_set_state(daemon->store, name, ARTIFACT_DELETING, err);
	if (r < 0)
		return r;
	failpoint("kernel.delete.intent");
	r = kernel_remove(daemon->kernels_dir, name, err);
	if (r < 0 && err->kind != ERR_NOT_FOUND)
		return r;
	failpoint("kernel.delete.removed");
	return store_kernel_delete(daemon->store, name, err);
}

int artifact_delete_kernel(struct daemon *daemon, const char *name, const struct job *job,
			   struct err *err)
{
	AUTO_TEMPLATE_BUILDER_PAUSE pause = { .builder = NULL };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	r = artifact_lock(job, "kernel", name, &hold, NULL, err);
	if (r == 0)
		r = template_builder_pause(daemon->template_builder, NULL, name, &pause, err);
	if (r < 0)
		return r;
	r = delete_claimed(daemon, name, err);
	artifact_explain_use(daemon, NULL, name, err);
	return r < 0 && err->kind == ERR_NOT_FOUND ? no_kernel(daemon, name, err) : r;
}

int artifact_discard_kernel(struct daemon *daemon, const char *name, bool is_held, struct err *err)
{
	AUTO_FREE char *key = mem_printf("kernel:%s", name);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	if (!is_held && !keylock_try(daemon->locks, key, &hold))
		return err_set(err, ERR_BUSY, "another request is at kernel '%s'", name);
	r = delete_claimed(daemon, name, err);
	return r < 0 && (err->kind == ERR_NOT_FOUND || is_used(err)) ? 0 : r;
}

/* --- after a crash --- */

static int reconcile_record(struct daemon *daemon, const struct kernel_record *record,
			    struct err *err)
{
	struct err load_err = ERR_INIT;

	if (record->state == ARTIFACT_DELETING) {
		if (kernel_remove(daemon->kernels_dir, record->name, &load_err) < 0 &&
		    load_err.kind != ERR_NOT_FOUND) {
			*err = load_err;
			return -EIO;
		}
		return store_kernel_delete(daemon->store, record->name, err);
	}
	if (record->state == ARTIFACT_READY && has_files(daemon, record->name))
		return 0;
	return settle(daemon, record->name, err);
}

/* One that has a record, also one that could not be put right, has its state from there. */
static int adopt(struct daemon *daemon, struct kernel_record *found, struct err *err)
{
	AUTO_KERNEL_RECORD known = { 0 };
	struct err lookup_err = ERR_INIT;

	if (store_kernel_get(daemon->store, found->name, &known, &lookup_err) == 0)
		return 0;
	if (lookup_err.kind != ERR_NOT_FOUND) {
		*err = lookup_err;
		return -EIO;
	}
	found->state = ARTIFACT_READY;
	return store_kernel_put(daemon->store, found, err);
}

/* Folders that have no record: a database that was lost, or copied from elsewhere. */
static int adopt_folders(struct daemon *daemon, struct err *err)
{
	AUTO_KERNEL_RECORD_LIST list = { 0 };
	int r;

	r = kernel_list(daemon->kernels_dir, &list, err);
	for (size_t i = 0; i < list.count && r == 0; i++)
		r = adopt(daemon, &list.items[i], err);
	return r;
}

int artifact_reconcile_kernels(struct daemon *daemon, struct err *err)
{
	AUTO_KERNEL_RECORD_LIST kernels = { 0 };
	struct err sweep_err = ERR_INIT;
	int r;

	/* Leftovers that cannot be removed take room, and are tried again at the next start. */
	if (kernel_sweep(daemon->kernels_dir, &sweep_err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &sweep_err },
			  "cannot sweep the kernels, going on");
	r = store_kernel_list(daemon->store, &kernels, err);
	for (size_t i = 0; i < kernels.count && r == 0; i++) {
		struct err kernel_err = ERR_INIT;

		/* One that cannot be put right must not keep the others from being used. */
		if (reconcile_record(daemon, &kernels.items[i], &kernel_err) < 0)
			log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &kernel_err },
				  "cannot put kernel '%s' right, leaving it as it is",
				  kernels.items[i].name);
	}
	return r == 0 ? adopt_folders(daemon, err) : r;
}

/* --- each minute --- */

static void settle_kernel(struct daemon *daemon, const char *name)
{
	AUTO_FREE char *key = mem_printf("kernel:%s", name);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_KERNEL_RECORD record = { 0 };
	struct err err = ERR_INIT;

	if (!keylock_try(daemon->locks, key, &hold))
		return; /* somebody is at it: then it is not forgotten */
	if (store_kernel_get(daemon->store, name, &record, &err) < 0 ||
	    record.state == ARTIFACT_READY)
		return;
	if (reconcile_record(daemon, &record, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot put kernel '%s' right, retrying", name);
	else
		log_write(LOG_LEVEL_INFO, NULL, "put kernel '%s' right", name);
}

void artifact_settle_kernels(struct daemon *daemon)
{
	AUTO_KERNEL_RECORD_LIST kernels = { 0 };
	struct err err = ERR_INIT;

	if (store_kernel_list(daemon->store, &kernels, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot list kernels, retrying");
	for (size_t i = 0; i < kernels.count; i++) {
		if (kernels.items[i].state != ARTIFACT_READY)
			settle_kernel(daemon, kernels.items[i].name);
	}
}
