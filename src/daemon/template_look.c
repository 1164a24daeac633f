/* Which templates are to go, and what is left of those that are gone. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/plan.h"
#include "daemon/template_private.h"
#include "daemon/vm_capture.h"
#include "kernel/initramfs.h"

void templates_evict(struct daemon *daemon, const char *kept)
{
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	struct err err = ERR_INIT;
	uint64_t total = 0;

	if (store_template_list(daemon->store, &list, &err) < 0)
		return; /* the next pass comes in a minute */
	for (size_t i = 0; i < list.count; i++) {
		const struct template_record *each = &list.items[i];

		total += each->used_bytes;
		/* They are in the order of their use. */
		if (total <= daemon->config.template_cache_bytes || i == 0 ||
		    str_eq(each->id, kept) || template_pin_of(daemon->templates, each->id))
			continue;
		total -= each->used_bytes;
		if (template_remove(daemon, each->id, &err) < 0)
			log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
				  "cannot remove a template, retrying");
		else
			log_info("removed the template of '%s': more than template_cache_size",
				 each->image);
	}
}

static int note_folder(void *context, const char *name)
{
	strv_add(context, name);
	return 0;
}

static bool has_row(const struct template_record_list *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++) {
		if (str_eq(list->items[i].id, id))
			return true;
	}
	return false;
}

/* Folders without a row; `is_start`: also those that were being built. */
static int find_strays(const struct daemon *daemon, const struct template_record_list *list,
		       bool is_start, struct strv *ret, struct err *err)
{
	AUTO_CLOSE int dir_fd = dir_open(daemon->templates_dir);
	AUTO_STRV names = { .items = NULL };
	int r = dir_fd < 0 ? dir_fd : dir_each(dir_fd, note_folder, &names);

	if (r == -ENOENT) /* who only looks does not make it */
		return 0;
	if (r < 0)
		return err_sys(err, r, "list '%s'", daemon->templates_dir);
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.items[i];

		/* What is not named as we name things is not ours. */
		if (str_starts(name, TEMPLATE_STAGING_PREFIX)
			    ? is_start
			    : name_is_vm_id(name) && !has_row(list, name))
			strv_add(ret, name);
	}
	return 0;
}

static int sweep(struct daemon *daemon, const struct template_record_list *list, bool is_start,
		 struct err *err)
{
	AUTO_STRV names = { .items = NULL };
	int r;

	r = find_strays(daemon, list, is_start, &names, err);
	for (size_t i = 0; i < names.count; i++) {
		AUTO_FREE char *path = template_folder(daemon, names.items[i]);
		const int removed = dir_remove_tree(AT_FDCWD, path);

		if (removed < 0)
			log_error("cannot remove '%s': %s", path, strerrordesc_np(-removed));
	}
	return r;
}

static bool is_whole(const struct daemon *daemon, const struct template_record *record)
{
	AUTO_FREE char *folder = template_folder(daemon, record->id);
	AUTO_FREE char *memory = mem_printf("%s/" VM_CAPTURE_MEMORY, folder);
	AUTO_FREE char *state = mem_printf("%s/" VM_CAPTURE_STATE, folder);

	return access(memory, F_OK) == 0 && access(state, F_OK) == 0;
}

#define HAS_CHANGED "what it was made of has changed"

/* Of one whose files are there; nothing is made for it. */
static const char *why_changed(struct daemon *daemon, const struct template_record *record)
{
	struct err err = ERR_INIT;
	char key[TEMPLATE_KEY_SIZE];
	AUTO_VM vm;
	int r;

	vm_init(&vm);
	vm.spec.vcpu = record->vcpu;
	vm.spec.memory_bytes = record->memory_bytes;
	vm.spec.system_overlay_bytes = record->system_bytes;
	vm.spec.disk_bytes = record->work_bytes;
	vm_set_text(&vm.spec.image, record->image);
	vm_set_text(&vm.spec.kernel, record->kernel);
	r = initramfs_check(daemon->kernels_dir, record->kernel, daemon->agent_path, &err);
	if (r == 0)
		return HAS_CHANGED; /* the next VM has another one */
	if (r > 0)
		r = template_current_key(daemon, &vm, NULL, key, &err);
	/* What cannot be looked at now may be as it was. */
	return r < 0 || str_eq(key, record->key) ? NULL : HAS_CHANGED;
}

/* Templates, and why nobody will begin from them any more: NULL when somebody may. */
struct verdicts {
	struct template_record_list list;
	const char **why; /* owned, one each */
};

static void verdicts_done(struct verdicts *verdicts)
{
	template_record_list_done(&verdicts->list);
	mem_free(verdicts->why);
}

/* Without the lock: starts need it, and looking at files can take a while. `ret` is empty. */
static int judge(struct daemon *daemon, bool is_start, struct verdicts *ret, struct err *err)
{
	int r = 0;

	if (daemon->store)
		r = store_template_list(daemon->store, &ret->list, err);
	if (r < 0)
		return r;
	ret->why = mem_alloc(ret->list.count, sizeof(*ret->why));
	for (size_t i = 0; i < ret->list.count; i++) {
		const struct template_record *each = &ret->list.items[i];

		if (!is_whole(daemon, each))
			ret->why[i] = "its files are gone";
		else if (!is_start) /* who starts does not wait until the host has been looked at */
			ret->why[i] = why_changed(daemon, each);
	}
	return 0;
}

static void remove_useless(struct daemon *daemon, const struct verdicts *verdicts,
			   const struct template_record_list *now)
{
	for (size_t i = 0; i < verdicts->list.count; i++) {
		const struct template_record *each = &verdicts->list.items[i];
		struct err err = ERR_INIT;

		if (!verdicts->why[i] || !has_row(now, each->id) ||
		    template_pin_of(daemon->templates, each->id))
			continue;
		if (template_remove(daemon, each->id, &err) < 0)
			log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
				  "cannot remove a template, retrying");
		else
			log_info("removed the template of '%s': %s", each->image, verdicts->why[i]);
	}
}

/* Behind the lock. */
static int look_after(struct daemon *daemon, bool is_start, const struct verdicts *verdicts,
		      struct err *err)
{
	AUTO_TEMPLATE_RECORD_LIST now = { .items = NULL };
	int r;

	r = store_template_list(daemon->store, &now, err);
	if (r == 0)
		r = sweep(daemon, &now, is_start, err);
	if (r < 0)
		return r;
	remove_useless(daemon, verdicts, &now);
	templates_evict(daemon, NULL);
	return 0;
}

static int judge_and_look_after(struct daemon *daemon, bool is_start, struct err *err)
{
	CLEANUP(verdicts_done) struct verdicts verdicts = { .why = NULL };
	int r;

	r = judge(daemon, is_start, &verdicts, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&daemon->templates->lock);
	r = look_after(daemon, is_start, &verdicts, err);
	(void)pthread_mutex_unlock(&daemon->templates->lock);
	return r;
}

int templates_reconcile(struct daemon *daemon, struct err *err)
{
	return judge_and_look_after(daemon, true, err);
}

void templates_pass(struct daemon *daemon)
{
	struct err err = ERR_INIT;

	if (judge_and_look_after(daemon, false, &err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot look after the templates, retrying");
}

static int look(struct daemon *daemon, bool is_start, const struct verdicts *verdicts,
		struct plan *plan, struct err *err)
{
	AUTO_TEMPLATE_RECORD_LIST now = { .items = NULL };
	AUTO_STRV strays = { .items = NULL };
	int r = 0;

	if (daemon->store)
		r = store_template_list(daemon->store, &now, err);
	if (r == 0)
		r = find_strays(daemon, &now, is_start, &strays, err);
	for (size_t i = 0; i < strays.count; i++) {
		AUTO_FREE char *path = template_folder(daemon, strays.items[i]);

		plan_add(plan, PLAN_REMOVE, NULL, path, "it is no template that the database has");
	}
	for (size_t i = 0; r == 0 && i < verdicts->list.count; i++) {
		const char *id = verdicts->list.items[i].id;
		AUTO_FREE char *path = template_folder(daemon, id);

		if (verdicts->why[i] && has_row(&now, id))
			plan_add(plan, PLAN_REMOVE, NULL, path, verdicts->why[i]);
	}
	return r;
}

int templates_look(struct daemon *daemon, bool is_start, struct plan *plan, struct err *err)
{
	CLEANUP(verdicts_done) struct verdicts verdicts = { .why = NULL };
	struct templates *templates = daemon->templates; /* NULL: no daemon runs */
	int r;

	r = judge(daemon, is_start, &verdicts, err);
	if (r < 0)
		return r;
	if (templates)
		(void)pthread_mutex_lock(&templates->lock);
	r = look(daemon, is_start, &verdicts, plan, err);
	if (templates)
		(void)pthread_mutex_unlock(&templates->lock);
	return r;
}
