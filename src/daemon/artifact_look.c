/* What artifact_reconcile() and artifact_settle() would do, for the plan. */
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/plan.h"
#include "image/image.h"
#include "image/register.h"
#include "kernel/kernel.h"

struct artifact_look {
	struct daemon *daemon;
	bool is_start;
	struct vm_list vms;
	struct plan *plan;
};

/* --- what operations left behind that were not finished --- */

static int note_staging(void *context, const char *name)
{
	struct strv *names = context;

	if (str_starts(name, ".new-") || str_starts(name, ".old-"))
		strv_add(names, name);
	return 0;
}

static int look_for_staging(const struct artifact_look *look, const char *dir, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(dir);
	AUTO_STRV names = { 0 };
	const int r = fd < 0 ? fd : dir_each(fd, note_staging, &names);

	if (r < 0 && r != -ENOENT)
		return err_sys(err, r, "list '%s'", dir);
	for (size_t i = 0; i < names.count; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names.items[i]);

		plan_add(look->plan, PLAN_REMOVE, NULL, path,
			 "an operation that was not finished left it");
	}
	return 0;
}

/* --- records --- */

struct artifact {
	const char *noun;
	const char *name;
	enum artifact_state state;
	const char *file; /* below the folder of its noun: gone when it is lost */
	bool is_used;
};

static void look_at_record(const struct artifact_look *look, const struct artifact *artifact)
{
	AUTO_FREE char *key = mem_printf("%s:%s", artifact->noun, artifact->name);
	AUTO_FREE char *object = mem_printf("%s '%s'", artifact->noun, artifact->name);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;

	if (!look->is_start && !keylock_try(look->daemon->locks, key, &hold))
		return; /* somebody is at it: then it is not forgotten */
	if (artifact->state == ARTIFACT_PULLING)
		plan_add(look->plan, PLAN_RECORD, NULL, object, "it was being made");
	else if (artifact->state == ARTIFACT_DELETING)
		plan_add(look->plan, PLAN_RECORD, NULL, object, "it was being deleted");
	else if (access(artifact->file, F_OK) == 0)
		return;
	else if (artifact->is_used)
		plan_add(look->plan, PLAN_LEAVE, NULL, object,
			 "its files are gone, and VMs use it");
	else if (look->is_start)
		plan_add(look->plan, PLAN_RECORD, NULL, object, "its files are gone");
}

static bool uses_image(const struct vm *vm, const char *name)
{
	return str_eq(vm->spec.image, name);
}

static bool uses_kernel(const struct vm *vm, const char *name)
{
	return str_eq(vm->spec.kernel, name);
}

static bool is_used(const struct artifact_look *look, const char *name,
		    bool (*uses)(const struct vm *vm, const char *name))
{
	for (size_t i = 0; i < look->vms.count; i++) {
		if (uses(&look->vms.items[i], name))
			return true;
	}
	return false;
}

static void note_unrecorded(const struct artifact_look *look, const char *noun, const char *name)
{
	AUTO_FREE char *object = mem_printf("%s '%s'", noun, name);

	plan_add(look->plan, PLAN_RECORD, NULL, object, "it has no record");
}

static int look_at_images(const struct artifact_look *look, struct err *err)
{
	const struct daemon *daemon = look->daemon;
	AUTO_IMAGE_RECORD_LIST records = { 0 };
	AUTO_IMAGE_RECORD_LIST folders = { 0 };
	AUTO_STRV names = { 0 };
	int r = 0;

	if (daemon->store)
		r = store_image_list(daemon->store, &records, err);
	if (r == 0 && look->is_start)
		r = image_load_all(daemon->images_dir, &folders, err);
	for (size_t i = 0; i < records.count && r == 0; i++) {
		const struct image_record *record = &records.items[i];
		const bool is_registered = str_eq(record->kind, IMAGE_KIND_REGISTERED);
		AUTO_FREE char *file =
			mem_printf("%s/%s/%s", daemon->images_dir, record->name,
				   is_registered ? IMAGE_RECORD_FILE : IMAGE_ROOT_FILE);

		strv_add(&names, record->name);
		look_at_record(look, &(struct artifact){
					     .noun = "image",
					     .name = record->name,
					     .state = record->state,
					     .file = file,
					     .is_used = is_used(look, record->name, uses_image) });
	}
	for (size_t i = 0; i < folders.count && r == 0; i++) {
		if (!strv_has(&names, folders.items[i].name))
			note_unrecorded(look, "image", folders.items[i].name);
	}
	return r;
}

static int look_at_kernels(const struct artifact_look *look, struct err *err)
{
	const struct daemon *daemon = look->daemon;
	AUTO_KERNEL_RECORD_LIST records = { 0 };
	AUTO_KERNEL_RECORD_LIST folders = { 0 };
	AUTO_STRV names = { 0 };
	int r = 0;

	if (daemon->store)
		r = store_kernel_list(daemon->store, &records, err);
	if (r == 0 && look->is_start)
		r = kernel_list(daemon->kernels_dir, &folders, err);
	for (size_t i = 0; i < records.count && r == 0; i++) {
		const struct kernel_record *record = &records.items[i];
		AUTO_FREE char *file =
			mem_printf("%s/%s/%s", daemon->kernels_dir, record->name, KERNEL_ELF_FILE);

		strv_add(&names, record->name);
		look_at_record(look, &(struct artifact){
					     .noun = "kernel",
					     .name = record->name,
					     .state = record->state,
					     .file = file,
					     .is_used = is_used(look, record->name, uses_kernel) });
	}
	for (size_t i = 0; i < folders.count && r == 0; i++) {
		if (!strv_has(&names, folders.items[i].name))
			note_unrecorded(look, "kernel", folders.items[i].name);
	}
	return r;
}

int artifact_look(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
{
	struct artifact_look look = { .daemon = daemon, .is_start = is_start, .plan = plan };
	int r = 0;

	/* Later, what is being made has such names, too. */
	if (is_start)
		r = look_for_staging(&look, daemon->images_dir, err);
	if (r == 0 && is_start)
		r = look_for_staging(&look, daemon->kernels_dir, err);
	if (r == 0 && daemon->store)
		r = store_vm_list(daemon->store, &look.vms, err);
	if (r < 0)
		return r;
	r = look_at_images(&look, err);
	if (r == 0)
		r = look_at_kernels(&look, err);
	vm_list_done(&look.vms);
	return r;
}
