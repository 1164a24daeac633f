/* Making a VM: names, spec, row, folder, disks, keys. */
#include "daemon/vm_service.h"

#include <fcntl.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/artifacts.h"
#include "daemon/autostop.h"
#include "daemon/engine.h"
#include "daemon/image_origin.h"
#include "daemon/known_hosts.h"
#include "daemon/network.h"
#include "daemon/publish.h"
#include "daemon/ssh_key.h"
#include "daemon/template_builder.h"
#include "daemon/templates.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "kernel/kernel.h"
#include "model/names.h"

/* An image's name, or what one is to be made of. */
static const char *image_text(const struct daemon *daemon, const struct vm_create_request *request)
{
	return request->image ? request->image : daemon->config.default_image_name;
}

static void fill_spec(const struct daemon *daemon, const struct vm_create_request *request,
		      struct vm_spec *ret)
{
	const struct vm_defaults *defaults = &daemon->defaults;

	ret->vcpu = request->vcpu ? (uint32_t)request->vcpu : defaults->vcpu;
	ret->memory_bytes = request->memory_bytes ? request->memory_bytes : defaults->memory_bytes;
	ret->disk_bytes = request->disk_bytes ? request->disk_bytes : defaults->disk_bytes;
	ret->system_overlay_bytes = request->system_overlay_bytes ? request->system_overlay_bytes
								  : defaults->system_overlay_bytes;
	ret->nat = request->nat;
	/* The image's own, once there is an image to ask. */
	ret->kernel = mem_strdup(request->kernel ? request->kernel : KERNEL_DEFAULT_NAME);
}

static bool is_taken(void *context, const char *name)
{
	struct daemon *daemon = context;
	struct err err = ERR_INIT;
	bool taken = true;

	/* A database that does not answer will say so at the insertion. */
	return store_vm_name_taken(daemon->store, name, &taken, &err) == 0 && taken;
}

/* Enters the row under the lock of names: from here on the VM exists, half made. */
static int insert_row(struct daemon *daemon, const struct job *job, struct vm *vm, bool starts,
		      struct err *err)
{
	AUTO_KEYHOLD names = KEYHOLD_INIT;
	int r;

	r = keylock_acquire(daemon->locks, "names", job->cancel, &names, err);
	if (r < 0)
		return r;
	if (!vm->name) {
		char name[VM_NAME_SIZE];

		r = name_generate(is_taken, daemon, name, err);
		if (r < 0)
			return r;
		vm->name = mem_strdup(name);
	}
	r = network_assign(daemon->network, vm, starts, err);
	return r < 0 ? r : store_vm_insert(daemon->store, vm, err);
}

/* The guest's ssh host key, made here so that the first connection is pinned (FAULTS R12). */
static int write_host_key(const struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, vm->id, VM_FILE_FOLDER);
	AUTO_FREE char *comment = mem_printf("root@%s", vm->name);
	AUTO_CLOSE int dir_fd = dir_open(folder);
	AUTO_BUF private_pem = BUF_INIT;
	AUTO_BUF public_line = BUF_INIT;
	int r;

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open '%s'", folder);
	r = ssh_key_generate(comment, &private_pem, &public_line, err);
	if (r < 0)
		return r;
	buf_add_byte(&public_line, '\n');
	r = file_replace(dir_fd, "host_key", buf_span(&private_pem), 0600);
	if (r == 0)
		r = file_replace(dir_fd, "host_key.pub", buf_span(&public_line), 0600);
	ssh_key_wipe(&private_pem);
	return r < 0 ? err_sys(err, r, "write '%s/host_key'", folder) : 0;
}

/* All but its disks. */
static int make_files(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	int r;

	r = vm_folder_make(daemon, vm->id, err);
	if (r < 0)
		return r;
	failpoint("vm.create.folder");
	r = write_host_key(daemon, vm, err);
	if (r < 0)
		return r;
	failpoint("vm.create.keys");
	/* Before anybody can connect. */
	r = known_hosts_pin(daemon, vm, err);
	if (r < 0)
		return r;
	failpoint("vm.create.pinned");
	return 0;
}

static int read_ports(const struct strv *texts, struct vm_spec *spec, struct err *err)
{
	for (size_t i = 0; texts && i < texts->count; i++) {
		int r;

		if (i == VM_PORTS_MAX)
			return vm_ports_check(spec->ports, texts->count, err);
		r = vm_port_read(texts->items[i], &spec->ports[i], err);
		if (r < 0)
			return err_context(err, r, "publish");
		spec->port_count = i + 1;
	}
	return 0;
}

static int read_spec(const struct daemon *daemon, const struct vm_create_request *request,
		     struct vm_spec *ret, struct err *err)
{
	int r;

	fill_spec(daemon, request, ret);
	r = image_origin_name(image_text(daemon, request), &ret->image, err);
	if (r == 0)
		r = read_ports(request->publish, ret, err);
	return r < 0 ? r : vm_spec_check(ret, &daemon->host, err);
}

/* Fills in what is decided before anything is made. */
static int prepare(struct daemon *daemon, const struct vm_create_request *request, struct vm *vm,
		   struct err *err)
{
	int r;

	if (request->name) {
		r = name_check_vm(request->name, err);
		if (r < 0)
			return r;
		vm->name = mem_strdup(request->name);
	}
	r = request->nat ? network_check_nat(daemon->network, err) : 0;
	if (r == 0)
		r = read_spec(daemon, request, &vm->spec, err);
	if (r < 0)
		return r;
	if (vm->name && is_taken(daemon, vm->name)) {
		r = err_set(err, ERR_EXISTS, "a VM named '%s' exists already", vm->name);
		err_hint(err, "choose another name, or delete it with 'banger vm delete %s'",
			 vm->name);
		return r;
	}
	r = model_new_id(vm->id);
	if (r < 0)
		return err_sys(err, r, "make an id");
	vm->ephemeral = request->ephemeral;
	if (request->workspace)
		vm_workspace_copy(&vm->workspace, request->workspace);
	vm->state = VM_CREATED;
	vm->intent = VM_INTENT_CREATE;
	vm->created_at = clock_wall_seconds();
	/* Now, so that a port that cannot be had costs nothing; what asked for any gets its own. */
	return publish_open(daemon->publish, vm, vm->spec.ports, vm->spec.port_count, err);
}

/* Image and kernel are built or pulled if need be; an image larger than the asked size wins. */
static int ensure_artifacts(struct daemon *daemon, const struct vm_create_request *request,
			    struct vm *vm, const struct job *job, struct err *err)
{
	AUTO_IMAGE_RECORD image = { 0 };
	AUTO_KERNEL_RECORD kernel = { 0 };
	int r;

	r = artifact_ensure_image(daemon, vm->spec.image, image_text(daemon, request), job, &image,
				  err);
	if (r < 0)
		return r;
	if (!request->kernel && image.kernel)
		vm_set_text(&vm->spec.kernel, image.kernel);
	r = artifact_ensure_kernel(daemon, vm->spec.kernel, job, &kernel, err);
	if (r < 0)
		return r;
	if (image.size_bytes > vm->spec.system_overlay_bytes)
		vm->spec.system_overlay_bytes = image.size_bytes;
	return 0;
}

int vm_resolve(const struct job *job, const struct vm_create_request *request, struct vm *ret,
	       struct err *err)
{
	const int r = read_spec(job->daemon, request, &ret->spec, err);

	return r < 0 ? r : ensure_artifacts(job->daemon, request, ret, job, err);
}

/* What the VM may begin from. That there is nothing is no failure, and is said. */
static void find_template(struct daemon *daemon, const struct vm_create_request *request,
			  const struct vm *vm, const struct job *job, struct template_hold *ret)
{
	const char *why = NULL;
	struct err err = ERR_INIT;
	int r = 0;

	*ret = (struct template_hold){ .templates = NULL };
	if (!request->start || request->origin)
		return;
	if (!request->is_cold)
		r = templates_find(daemon, vm, job, ret, &why, &err);
	if (r < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &err },
			  "cannot look for a template");
	if (r < 0)
		progress_report(job->progress, "cold", err.message, 0, 0);
	else if (r == 0 && why)
		progress_report(job->progress, "cold", why, 0, 0);
	else if (r > 0)
		progress_report(job->progress, "template", ret->record.id, 0, 0);
}

/* Its disks, and if it is to start, that. `origin`: as for vm_boot(). */
static int make_and_boot(const struct job *job, const struct vm *vm, bool starts,
			 const struct vm_origin *origin, struct strv *warnings, struct err *err)
{
	struct daemon *daemon = job->daemon;
	int r;

	r = vm_disks_make(daemon, vm, origin ? origin->folder : NULL, job, err);
	if (r < 0)
		return r;
	failpoint("vm.create.disks");
	return starts ? vm_boot(daemon, vm, origin, job, warnings, err) : 0;
}

/* Takes back what came of going on from a template, so that the VM can boot: nobody needs one. */
static int undo_beginning(struct daemon *daemon, const struct vm *vm, const struct job *job,
			  struct err *err)
{
	struct err undo_err = ERR_INIT;
	int r;

	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = err },
		  "cannot go on from its template, booting it");
	progress_report(job->progress, "cold", "its template cannot be used", 0, 0);
	r = vm_teardown(daemon, vm->id, &undo_err);
	if (r == 0)
		r = vm_disks_remove(daemon, vm, &undo_err);
	if (r < 0)
		err_append(err, &undo_err);
	else
		*err = ERR_INIT;
	return r;
}

/* A VM that comes up without its template, on the same host: so it was the template. */
static int begin_anew(struct daemon *daemon, const struct vm *vm, const struct job *job,
		      struct template_hold *template, struct strv *warnings, struct err *err)
{
	AUTO_FREE char *id = mem_strdup(template->record.id);
	const struct err why = *err;
	int r;

	template_release(template);
	r = undo_beginning(daemon, vm, job, err);
	if (r == 0)
		r = make_and_boot(job, vm, true, NULL, warnings, err);
	if (r == 0)
		template_give_up(daemon, id, &why);
	return r;
}

static int bring_up(struct daemon *daemon, const struct vm_create_request *request,
		    const struct vm *vm, const struct job *job, struct strv *warnings,
		    struct err *err)
{
	AUTO_TEMPLATE_HOLD template;
	struct vm_origin origin;
	bool has_template;
	int r;

	find_template(daemon, request, vm, job, &template);
	has_template = template.templates != NULL;
	origin = template_origin(&template);
	r = make_files(daemon, vm, err);
	if (r < 0)
		return r;
	r = make_and_boot(job, vm, request->start, has_template ? &origin : request->origin,
			  warnings, err);
	if (r < 0 && has_template && err->kind != ERR_CANCELLED) {
		has_template = false;
		r = begin_anew(daemon, vm, job, &template, warnings, err);
	}
	if (r == 0 && has_template)
		template_note_use(daemon, &template);
	else if (r == 0 && request->start && !request->is_cold && !request->origin)
		template_builder_want(daemon->template_builder, vm);
	return r;
}

static int create_locked(struct daemon *daemon, const struct vm_create_request *request,
			 const struct job *job, struct vm *vm, struct strv *warnings,
			 struct err *err)
{
	struct rollback rollback = { .daemon = daemon, .id = vm->id };
	int r;

	for (;;) {
		r = ensure_artifacts(daemon, request, vm, job, err);
		if (r < 0)
			return r;
		r = insert_row(daemon, job, vm, request->start, err);
		if (r == 0)
			break;
		if (err->kind != ERR_BUSY) {
			struct err ignored = ERR_INIT;

			/* The TAP that was promised to it. */
			IGNORE_RESULT(network_detach(daemon->network, vm->id, &ignored));
			return r;
		}
		/* The image was replaced or deleted in between: it is waited for, or made, again.
		 */
		*err = ERR_INIT;
		r = cancel_check(job->cancel, err);
		if (r < 0)
			return r;
	}
	failpoint("vm.create.row");
	rollback_push(&rollback, vm_erase);
	if (vm->ephemeral)
		lease_put(daemon->leases, vm->id, &request->lease);
	r = bring_up(daemon, request, vm, job, warnings, err);
	if (r == 0)
		r = cancel_check(job->cancel, err);
	if (r == 0 && request->start) {
		vm->started_at = clock_wall_seconds();
		vm->state = VM_RUNNING;
		r = store_vm_set_started(daemon->store, vm->id, vm->started_at, daemon->boot_id,
					 err);
	} else if (r == 0) {
		r = store_vm_set_state(daemon->store, vm->id, VM_CREATED, NULL, err);
	}
	if (r < 0) {
		/* What cannot be undone now has its intent still: reconcile goes on with it. */
		IGNORE_RESULT(rollback_run(&rollback, err));
		return r;
	}
	failpoint("vm.create.stored");
	autostop_touch(daemon->autostop, vm->id);
	return 0;
}

int vm_create(const struct job *job, const struct vm_create_request *request, struct vm *ret,
	      struct strv *warnings, struct err *err)
{
	struct daemon *daemon = job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm;
	int r;

	vm_init(&vm);
	r = prepare(daemon, request, &vm, err);
	if (r < 0)
		return r;
	r = daemon_lock_vm(daemon, vm.id, job->cancel, &hold, err);
	if (r < 0) {
		publish_close(daemon->publish, vm.id);
		return r;
	}
	r = create_locked(daemon, request, job, &vm, warnings, err);
	if (r < 0 || !request->start)
		publish_close(daemon->publish, vm.id);
	if (r < 0)
		return err_context(err, r, "cannot create%s%s%s", vm.name ? " '" : " a VM",
				   vm.name ? vm.name : "", vm.name ? "'" : "");
	vm.intent = VM_INTENT_NONE;
	vm_copy(ret, &vm);
	return 0;
}
