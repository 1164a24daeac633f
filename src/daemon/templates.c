#include "daemon/templates.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/engine.h"
#include "daemon/template_key.h"
#include "daemon/template_private.h"
#include "kernel/initramfs.h"

#define USE_SECONDS 60 /* how exactly it is known when one was used */

struct templates *templates_new(void)
{
	struct templates *templates = mem_alloc(1, sizeof(*templates));

	(void)pthread_mutex_init(&templates->lock, NULL);
	return templates;
}

void templates_free(struct templates *templates)
{
	if (!templates)
		return;
	(void)pthread_mutex_destroy(&templates->lock);
	mem_free(templates->pins);
	strv_done(&templates->suspects);
	mem_free(templates);
}

char *template_folder(const struct daemon *daemon, const char *id)
{
	return mem_printf("%s/%s", daemon->templates_dir, id);
}

char *template_staging(const struct daemon *daemon, const char *id)
{
	return mem_printf("%s/" TEMPLATE_STAGING_PREFIX "%s", daemon->templates_dir, id);
}

/* --- holding; behind the lock --- */

struct template_pin *template_pin_of(const struct templates *templates, const char *id)
{
	for (size_t i = 0; i < templates->pin_count; i++) {
		if (str_eq(templates->pins[i].id, id))
			return &templates->pins[i];
	}
	return NULL;
}

static void pin_add(struct templates *templates, const char *id)
{
	struct template_pin *pin = template_pin_of(templates, id);

	if (!pin) {
		templates->pins = mem_grow(templates->pins, templates->pin_count + 1,
					   sizeof(*templates->pins));
		pin = &templates->pins[templates->pin_count++];
		*pin = (struct template_pin){ .count = 0 };
		(void)snprintf(pin->id, sizeof(pin->id), "%s", id);
	}
	pin->count++;
}

static void pin_remove(struct templates *templates, const char *id)
{
	struct template_pin *pin = template_pin_of(templates, id);

	if (pin && --pin->count == 0)
		*pin = templates->pins[--templates->pin_count];
}

void template_release(struct template_hold *hold)
{
	if (!hold)
		return;
	if (hold->templates) {
		(void)pthread_mutex_lock(&hold->templates->lock);
		pin_remove(hold->templates, hold->record.id);
		(void)pthread_mutex_unlock(&hold->templates->lock);
	}
	template_record_done(&hold->record);
	mem_free(hold->folder);
	*hold = (struct template_hold){ .templates = NULL };
}

/* --- finding --- */

static bool has_room(const struct template_record *record, const struct vm *vm)
{
	return vm->spec.system_overlay_bytes >= record->system_bytes &&
	       vm->spec.disk_bytes >= record->work_bytes;
}

int template_current_key(struct daemon *daemon, const struct vm *vm, const struct cancel *cancel,
			 char ret[static TEMPLATE_KEY_SIZE], struct err *err)
{
	struct vmm_decision decision = { 0 };
	int r;

	r = engine_get(daemon->engine, cancel, &decision, err);
	if (r < 0)
		return r;
	r = template_key(daemon, vm, &decision, ret, err);
	vmm_decision_done(&decision);
	return r;
}

/* Its key, and what it would be made of. */
static int make_key(const struct job *job, const struct vm *vm, char ret[static TEMPLATE_KEY_SIZE],
		    struct err *err)
{
	struct daemon *daemon = job->daemon;
	int r;

	r = initramfs_ensure(daemon->kernels_dir, vm->spec.kernel, daemon->agent_path, job->cancel,
			     job->progress, err);
	return r < 0 ? r : template_current_key(daemon, vm, job->cancel, ret, err);
}

/* Behind the lock if it is to stay. */
static int find_by_key(struct daemon *daemon, const char *key, struct template_record *ret,
		       struct err *err)
{
	struct err find_err = ERR_INIT;
	const int r = store_template_find(daemon->store, key, ret, &find_err);

	if (r == 0)
		return 1;
	if (find_err.kind == ERR_NOT_FOUND)
		return 0;
	*err = find_err;
	return r;
}

int templates_get(struct daemon *daemon, const struct vm *vm, const struct job *job,
		  char ret_key[static TEMPLATE_KEY_SIZE], struct template_record *ret,
		  struct err *err)
{
	int r;

	r = make_key(job, vm, ret_key, err);
	return r < 0 ? r : find_by_key(daemon, ret_key, ret, err);
}

int templates_find(struct daemon *daemon, const struct vm *vm, const struct job *job,
		   struct template_hold *ret, const char **ret_why, struct err *err)
{
	struct templates *templates = daemon->templates;
	AUTO_TEMPLATE_RECORD record;
	char key[TEMPLATE_KEY_SIZE];
	int r;

	template_record_init(&record);
	*ret = (struct template_hold){ .templates = NULL };
	*ret_why = "no template yet";
	if (!daemon->config.templates) {
		*ret_why = NULL;
		return 0;
	}
	r = make_key(job, vm, key, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&templates->lock);
	r = find_by_key(daemon, key, &record, err);
	if (r > 0 && has_room(&record, vm))
		pin_add(templates, record.id);
	(void)pthread_mutex_unlock(&templates->lock);
	if (r <= 0)
		return r;
	if (!has_room(&record, vm)) {
		*ret_why = "its disks are smaller than the template's";
		return 0;
	}
	ret->templates = templates;
	ret->folder = template_folder(daemon, record.id);
	ret->record = record;
	template_record_init(&record);
	return 1;
}

struct vm_origin template_origin(const struct template_hold *hold)
{
	return (struct vm_origin){ .folder = hold->folder,
				   .system_bytes = hold->record.system_bytes,
				   .work_bytes = hold->record.work_bytes,
				   .is_template = true };
}

/* Whether it was one; it is none any more. Behind the lock. */
static bool clear_suspect(struct templates *templates, const char *id)
{
	struct strv *suspects = &templates->suspects;

	for (size_t i = 0; i < suspects->count; i++) {
		if (!str_eq(suspects->items[i], id))
			continue;
		mem_free(suspects->items[i]);
		suspects->items[i] = suspects->items[--suspects->count];
		suspects->items[suspects->count] = NULL;
		return true;
	}
	return false;
}

void template_note_use(struct daemon *daemon, const struct template_hold *hold)
{
	const int64_t now = clock_wall_seconds();
	struct err err = ERR_INIT;

	(void)pthread_mutex_lock(&daemon->templates->lock);
	IGNORE_RESULT(clear_suspect(daemon->templates, hold->record.id));
	(void)pthread_mutex_unlock(&daemon->templates->lock);
	/* Each time costs a write to the disk. */
	if (now >= hold->record.used_at && now < hold->record.used_at + USE_SECONDS)
		return;
	if (store_template_set_used(daemon->store, hold->record.id, now, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot note the use of a template, ignoring");
}

/* --- adding and removing; behind the lock --- */

int template_remove(struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_FREE char *folder = template_folder(daemon, id);
	int r;

	r = store_template_delete(daemon->store, id, err);
	if (r < 0)
		return r;
	failpoint("template.delete.row");
	r = dir_remove_tree(AT_FDCWD, folder);
	return r < 0 ? err_sys(err, r, "remove '%s'", folder) : 0;
}

static int put_in_place(struct daemon *daemon, const struct template_record *record,
			struct err *err)
{
	AUTO_FREE char *staging = template_staging(daemon, record->id);
	AUTO_FREE char *folder = template_folder(daemon, record->id);
	AUTO_CLOSE int dir_fd = -1;
	struct err undo_err = ERR_INIT;
	int r;

	r = file_rename_new(AT_FDCWD, staging, AT_FDCWD, folder);
	if (r < 0)
		return err_sys(err, r, "put the template '%s' in place", folder);
	failpoint("template.build.renamed");
	dir_fd = dir_open(daemon->templates_dir);
	r = dir_fd < 0 || fsync(dir_fd) < 0
		    ? err_sys(err, dir_fd < 0 ? dir_fd : -errno, "store '%s'", folder)
		    : store_template_insert(daemon->store, record, err);
	if (r < 0) {
		const int undone = dir_remove_tree(AT_FDCWD, folder);

		if (undone < 0) {
			IGNORE_RESULT(err_sys(&undo_err, undone, "remove '%s'", folder));
			err_append(err, &undo_err);
		}
	}
	return r;
}

int templates_add(struct daemon *daemon, const struct template_record *record, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&daemon->templates->lock);
	r = put_in_place(daemon, record, err);
	if (r == 0)
		templates_evict(daemon, record->id);
	(void)pthread_mutex_unlock(&daemon->templates->lock);
	return r;
}

static int find_reference(struct daemon *daemon, const char *reference, struct template_record *ret,
			  struct err *err)
{
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	struct template_record *found = NULL;
	int r;

	r = store_template_list(daemon->store, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++) {
		if (!str_starts(list.items[i].id, reference) || reference[0] == '\0')
			continue;
		if (found)
			return err_set(err, ERR_INVALID,
				       "'%.64s' is the beginning of more than one template's id",
				       reference);
		found = &list.items[i];
	}
	if (!found) {
		r = err_set(err, ERR_NOT_FOUND, "there is no template '%.64s'", reference);
		err_hint(err, "'banger template list' shows those that there are");
		return r;
	}
	*ret = *found;
	template_record_init(found);
	return 0;
}

int templates_delete(struct daemon *daemon, const char *reference, struct template_record *ret,
		     struct err *err)
{
	AUTO_TEMPLATE_RECORD record;
	int r;

	template_record_init(&record);
	(void)pthread_mutex_lock(&daemon->templates->lock);
	r = find_reference(daemon, reference, &record, err);
	if (r == 0 && template_pin_of(daemon->templates, record.id))
		r = err_set(err, ERR_BUSY, "a VM is being made from the template '%.12s'",
			    record.id);
	if (r == 0)
		r = template_remove(daemon, record.id, err);
	(void)pthread_mutex_unlock(&daemon->templates->lock);
	if (r < 0)
		return r;
	*ret = record;
	template_record_init(&record);
	return 0;
}

/*
 * A host that is too busy is no fault of the template's, nor can it be told from a guest that
 * hangs: one that was late twice, and has not worked in between, goes.
 */
static bool is_late_again(struct templates *templates, const char *id)
{
	bool is_again;

	(void)pthread_mutex_lock(&templates->lock);
	is_again = clear_suspect(templates, id);
	if (!is_again)
		strv_add(&templates->suspects, id);
	(void)pthread_mutex_unlock(&templates->lock);
	return is_again;
}

static bool is_its_fault(struct templates *templates, const char *id, const struct err *why)
{
	switch (why->kind) {
	case ERR_INVALID:
	case ERR_NOT_FOUND:
	case ERR_BAD_STATE:
	case ERR_PROTOCOL:
		return true;
	case ERR_TIMEOUT:
		return is_late_again(templates, id);
	case ERR_NONE:
	case ERR_SYSTEM:
	case ERR_EXISTS:
	case ERR_BUSY:
	case ERR_LIMIT:
	case ERR_CANCELLED:
	case ERR_UNSUPPORTED:
	case ERR_KIND_COUNT:
		break;
	}
	return false;
}

void template_give_up(struct daemon *daemon, const char *id, const struct err *why)
{
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	struct err err = ERR_INIT;

	if (!is_its_fault(daemon->templates, id, why))
		return;
	/* Others may be at it: then that is theirs to do. */
	if (templates_delete(daemon, id, &record, &err) == 0)
		log_write(LOG_LEVEL_WARN, NULL, "removed the template of '%s': it cannot be used",
			  record.image);
}
