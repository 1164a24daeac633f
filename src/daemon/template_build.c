#include "daemon/template_build.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "daemon/template_builder.h"
#include "daemon/templates.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "disk/disk.h"
#include "guest/agent.h"
#include "guest/renew.h"
#include "vmm/fc_client.h"

#define NAME_DIGITS	  8
#define QUIET_TIMEOUT_NS  (120 * NSEC_PER_SEC) /* a boot of systemd under TCG takes 20 s */
#define FREEZE_TIMEOUT_NS (30 * NSEC_PER_SEC)
#define FREEZE_MS	  60000	 /* it is not to go on, but as a clone */
#define WRITE_TIMEOUT_MS  300000 /* all of the memory, to a slow disk */

/* --- from a VM that runs to a folder --- */

struct build {
	const struct job *job;
	struct template_record record;
	char *staging; /* owned */
	uint64_t begun_ns;
};

static void build_done(struct build *build)
{
	if (build->staging) {
		const int r = dir_remove_tree(AT_FDCWD, build->staging);

		if (r < 0)
			log_error("cannot remove '%s', leaving that to the next start",
				  build->staging);
	}
	mem_free(build->staging);
	template_record_done(&build->record);
}

static int wait_until_quiet(const struct build *build, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *socket = vm_file(build->job->daemon, vm->id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = build->job->cancel,
		.deadline_ns = clock_now_ns() + QUIET_TIMEOUT_NS,
	};

	progress_report(build->job->progress, "quiet", NULL, 0, 0);
	return guest_wait_quiet(&target, err);
}

/* Its file systems are clean on the disk, and nothing of it moves. */
static int freeze(const struct build *build, const struct vm *vm, const struct vmm_api *api,
		  struct err *err)
{
	AUTO_FREE char *socket = vm_file(build->job->daemon, vm->id, VM_FILE_VSOCK_SOCKET);
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = build->job->cancel,
		.deadline_ns = clock_now_ns() + FREEZE_TIMEOUT_NS,
	};
	int r;

	r = guest_freeze(&target, FREEZE_MS, err);
	if (r == 0)
		r = vmm_pause(api, err);
	return r < 0 ? err_context(err, r, "bring the guest to rest") : 0;
}

static int write_down(struct build *build, const struct vm *vm, const struct vmm_api *api,
		      struct err *err)
{
	struct daemon *daemon = build->job->daemon;
	AUTO_FREE char *state = mem_printf("%s/" VM_CAPTURE_STATE, build->staging);
	AUTO_FREE char *memory = mem_printf("%s/" VM_CAPTURE_MEMORY, build->staging);
	const struct vmm_snapshot snapshot = { .state_path = state, .memory_path = memory };
	int r;

	progress_report(build->job->progress, "snapshot", NULL, 0, 0);
	r = vmm_create_snapshot(api, &snapshot, err);
	if (r < 0)
		return err_context(err, r, "write the guest down");
	failpoint("template.build.written");
	r = vm_teardown(daemon, vm->id, err);
	if (r == 0)
		r = vm_disks_move(daemon, vm, build->staging, err);
	if (r == 0)
		r = vm_capture_sync(build->staging, err);
	if (r == 0)
		r = disk_used_bytes(build->staging, &build->record.used_bytes, err);
	if (r == 0)
		failpoint("template.build.stored");
	return r;
}

/* Of a VM whose lock is held. */
static int capture(struct build *build, const struct vm *vm, struct err *err)
{
	struct daemon *daemon = build->job->daemon;
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket,
				     .cancel = build->job->cancel,
				     .timeout_ms = WRITE_TIMEOUT_MS };
	int r;

	build->staging = template_staging(daemon, build->record.id);
	if (mkdir(build->staging, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", build->staging);
	r = freeze(build, vm, &api, err);
	if (r == 0)
		r = write_down(build, vm, &api, err);
	return r;
}

/* `is_quiet`: else nothing is made of it. The VM is gone afterwards in any case. */
static int finish(struct build *build, const char *vm_id, bool is_quiet, struct err *err)
{
	struct daemon *daemon = build->job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	struct err erase_err = ERR_INIT;
	AUTO_VM vm = { 0 };
	int r = 0;

	/* Not to be cancelled: somebody must remove it. */
	r = daemon_claim_vm_as_is(daemon, vm_id, NULL, &hold, &vm, &erase_err);
	if (r == 0 && is_quiet)
		r = vm.state == VM_RUNNING
			    ? capture(build, &vm, err)
			    : err_set(err, ERR_BAD_STATE, "somebody has stopped '%s'", vm.name);
	else if (r < 0 && is_quiet)
		*err = erase_err;
	if (hold.locks && vm_erase(daemon, vm_id, &erase_err) < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .vm = vm_id, .err = &erase_err },
			  "cannot remove the VM of a template, leaving that to reconcile");
	return r;
}

static struct vm_create_request create_request(const struct template_request *request)
{
	return (struct vm_create_request){
		.image = request->image,
		.kernel = request->kernel,
		.vcpu = request->vcpu,
		.memory_bytes = request->memory_bytes,
		.disk_bytes = request->work_bytes,
		.system_overlay_bytes = request->system_bytes,
		.start = true,
		.ephemeral = true,
		.is_cold = true,
		.lease = { .pid = getpid() },
	};
}

static int make_vm(struct build *build, const struct template_request *request, struct vm *ret,
		   struct err *err)
{
	AUTO_FREE char *name = mem_printf("template-%.*s", NAME_DIGITS, build->record.id);
	struct vm_create_request create = create_request(request);
	AUTO_STRV warnings = { .items = NULL };
	int r;

	create.name = name;
	r = process_start_time(create.lease.pid, &create.lease.start_time);
	if (r < 0)
		return err_sys(err, r, "find when this process began");
	return vm_create(build->job, &create, ret, &warnings, err);
}

static int build_new(struct build *build, const struct template_request *request, struct err *err)
{
	AUTO_VM vm = { 0 };
	int r;

	r = model_new_id(build->record.id);
	if (r < 0)
		return err_sys(err, r, "make an id");
	r = make_vm(build, request, &vm, err);
	if (r < 0)
		return r;
	failpoint("template.build.booted");
	build->record.image = mem_strdup(vm.spec.image);
	build->record.kernel = mem_strdup(vm.spec.kernel);
	build->record.vcpu = vm.spec.vcpu;
	build->record.memory_bytes = vm.spec.memory_bytes;
	build->record.system_bytes = vm.spec.system_overlay_bytes;
	build->record.work_bytes = vm.spec.disk_bytes;
	r = wait_until_quiet(build, &vm, err);
	if (finish(build, vm.id, r == 0, err) < 0 || r < 0)
		return -EIO; /* err says which */
	build->record.created_at = build->record.used_at = clock_wall_seconds();
	build->record.build_ms = (clock_now_ns() - build->begun_ns) / NSEC_PER_MSEC;
	return 0;
}

/* With the lock that lets one be built at a time. */
static int build_locked(struct build *build, const struct template_request *request,
			bool *ret_built, struct err *err)
{
	const struct vm_create_request create = create_request(request);
	const struct job *job = build->job;
	AUTO_TEMPLATE_RECORD found = { .image = NULL };
	char key[TEMPLATE_KEY_SIZE];
	AUTO_VM vm;
	int r;

	vm_init(&vm);
	r = vm_resolve(job, &create, &vm, err);
	if (r == 0)
		r = templates_get(job->daemon, &vm, job, build->record.key, &build->record, err);
	if (r != 0)
		return r < 0 ? r : 0; /* there is one */
	r = build_new(build, request, err);
	if (r == 0)
		r = templates_get(job->daemon, &vm, job, key, &found, err);
	if (r < 0)
		return r;
	if (!str_eq(key, build->record.key))
		return err_set(err, ERR_BUSY,
			       "what the template was made of has changed meanwhile");
	r = templates_add(job->daemon, &build->record, err);
	*ret_built = r == 0;
	return r;
}

/* One is built at a time. Nobody waits for what is built in the background. */
static int wait_for_turn(const struct job *job, struct keyhold *ret, struct err *err)
{
	if (keylock_try(job->daemon->locks, "templates", ret))
		return 0;
	progress_report(job->progress, "template", "waiting for another build", 0, 0);
	if (!job->is_background)
		template_builder_interrupt(job->daemon->template_builder);
	return keylock_acquire(job->daemon->locks, "templates", job->cancel, ret, err);
}

int template_build(const struct job *job, const struct template_request *request,
		   struct template_record *ret, bool *ret_built, struct err *err)
{
	struct job own_job = *job;
	CLEANUP(build_done) struct build build = { .job = &own_job, .begun_ns = clock_now_ns() };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	own_job.is_for_copies = true;
	*ret_built = false;
	r = wait_for_turn(job, &hold, err);
	if (r == 0)
		r = build_locked(&build, request, ret_built, err);
	if (r < 0)
		return err_context(err, r, "cannot build a template");
	*ret = build.record;
	template_record_init(&build.record);
	return 0;
}
