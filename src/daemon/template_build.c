#include "daemon/template_build.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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
#include "daemon/template_key.h"
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
#define FREEZE_MS	  60000		     /* it is not to go on, but as a clone */
#define WRITE_TIMEOUT_MS  300000	     /* all of the memory, to a slow disk */
#define PAUSE_NS	  (2 * NSEC_PER_SEC) /* for who wants the next VM at once */
#define RETRY_NS	  (600 * NSEC_PER_SEC)
#define WANTED_MAX	  16

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

int template_build(const struct job *job, const struct template_request *request,
		   struct template_record *ret, bool *ret_built, struct err *err)
{
	struct job own_job = *job;
	CLEANUP(build_done) struct build build = { .job = &own_job, .begun_ns = clock_now_ns() };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	int r;

	own_job.is_for_copies = true;
	*ret_built = false;
	r = keylock_acquire(job->daemon->locks, "templates", job->cancel, &hold, err);
	if (r == 0)
		r = build_locked(&build, request, ret_built, err);
	if (r < 0)
		return err_context(err, r, "cannot build a template");
	*ret = build.record;
	template_record_init(&build.record);
	return 0;
}

/* --- the worker --- */

struct wanted {
	char *image; /* owned, as the next */
	char *kernel;
	struct template_request request; /* with these texts */
	uint64_t not_before_ns;
};

struct template_builder {
	struct daemon *daemon; /* borrowed */
	struct cancel stop;
	struct cancel wake;
	pthread_t thread;
	pthread_mutex_t lock; /* around what follows */
	struct wanted wanted[WANTED_MAX];
	size_t count;
};

static void wanted_done(struct wanted *wanted)
{
	mem_free(wanted->image);
	mem_free(wanted->kernel);
	*wanted = (struct wanted){ .image = NULL };
}

static bool is_same(const struct template_request *a, const struct template_request *b)
{
	return str_eq(a->image, b->image) && str_eq(a->kernel, b->kernel) && a->vcpu == b->vcpu &&
	       a->memory_bytes == b->memory_bytes && a->system_bytes == b->system_bytes &&
	       a->work_bytes == b->work_bytes;
}

/* One with texts of its own. */
static struct wanted wanted_of(const struct template_request *request, uint64_t not_before_ns)
{
	struct wanted wanted = { .image = mem_strdup(request->image),
				 .kernel = mem_strdup(request->kernel),
				 .request = *request,
				 .not_before_ns = not_before_ns };

	wanted.request.image = wanted.image;
	wanted.request.kernel = wanted.kernel;
	return wanted;
}

/* Its place in the list, or how many there are; behind the lock. */
static size_t find_wanted(const struct template_builder *builder,
			  const struct template_request *request)
{
	size_t i = 0;

	while (i < builder->count && !is_same(&builder->wanted[i].request, request))
		i++;
	return i;
}

void template_builder_want(struct template_builder *builder, const struct vm *vm)
{
	struct template_request request = { .image = vm->spec.image,
					    .kernel = vm->spec.kernel,
					    .vcpu = vm->spec.vcpu,
					    .memory_bytes = vm->spec.memory_bytes };
	bool is_new;

	if (!builder)
		return;
	template_disk_sizes(builder->daemon, &vm->spec, &request.system_bytes, &request.work_bytes);
	(void)pthread_mutex_lock(&builder->lock);
	/* When there are too many it is the next one's turn. */
	is_new = find_wanted(builder, &request) == builder->count && builder->count < WANTED_MAX;
	if (is_new)
		builder->wanted[builder->count++] = wanted_of(&request, clock_now_ns() + PAUSE_NS);
	(void)pthread_mutex_unlock(&builder->lock);
	if (is_new)
		cancel_fire(&builder->wake);
}

/* Copies what is to be built now; false when nothing is, and *ret_when says when to ask again. */
static bool take_due(struct template_builder *builder, struct wanted *ret, uint64_t *ret_when)
{
	const uint64_t now = clock_now_ns();
	bool is_due = false;

	*ret_when = UINT64_MAX;
	(void)pthread_mutex_lock(&builder->lock);
	for (size_t i = 0; i < builder->count && !is_due; i++) {
		const struct wanted *each = &builder->wanted[i];

		is_due = each->not_before_ns <= now;
		if (is_due)
			*ret = wanted_of(&each->request, 0);
		else if (each->not_before_ns < *ret_when)
			*ret_when = each->not_before_ns;
	}
	(void)pthread_mutex_unlock(&builder->lock);
	return is_due;
}

/* One that failed is tried again later, should it be asked for until then or not. */
static void note_result(struct template_builder *builder, const struct wanted *built, bool is_built)
{
	size_t i;

	(void)pthread_mutex_lock(&builder->lock);
	i = find_wanted(builder, &built->request);
	if (i < builder->count && is_built) {
		wanted_done(&builder->wanted[i]);
		builder->wanted[i] = builder->wanted[--builder->count];
	} else if (i < builder->count) {
		builder->wanted[i].not_before_ns = clock_now_ns() + RETRY_NS;
	}
	(void)pthread_mutex_unlock(&builder->lock);
}

static void build_one(struct template_builder *builder, const struct wanted *wanted)
{
	const struct job job = { .daemon = builder->daemon,
				 .cancel = &builder->stop,
				 .is_background = true };
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	struct err err = ERR_INIT;
	bool is_new;
	const int r = template_build(&job, &wanted->request, &record, &is_new, &err);

	if (r < 0 && err.kind != ERR_CANCELLED)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "no template of '%s': VMs boot cold, retrying in ten minutes",
			  wanted->image);
	else if (r == 0 && is_new)
		log_info("made a template of '%s'", wanted->image);
	note_result(builder, wanted, r == 0);
}

static void *builder_run(void *context)
{
	struct template_builder *builder = context;

	for (;;) {
		struct wanted wanted = { .image = NULL };
		uint64_t when, wakes;
		int r;

		if (take_due(builder, &wanted, &when)) {
			build_one(builder, &wanted);
			wanted_done(&wanted);
			if (cancel_is_fired(&builder->stop))
				return NULL;
			continue;
		}
		r = cancel_poll(&builder->stop, builder->wake.fd, POLLIN, when);
		if (r == -ECANCELED)
			return NULL;
		if (r > 0)
			IGNORE_RESULT(fd_read_some(builder->wake.fd, &wakes, sizeof(wakes)));
	}
}

static void builder_free(struct template_builder *builder)
{
	cancel_done(&builder->stop);
	cancel_done(&builder->wake);
	(void)pthread_mutex_destroy(&builder->lock);
	for (size_t i = 0; i < builder->count; i++)
		wanted_done(&builder->wanted[i]);
	mem_free(builder);
}

int template_builder_start(struct daemon *daemon, struct template_builder **ret, struct err *err)
{
	struct template_builder *builder;
	int r;

	*ret = NULL;
	if (!daemon->config.templates)
		return 0;
	builder = mem_alloc(1, sizeof(*builder));
	*builder = (struct template_builder){ .daemon = daemon,
					      .stop = CANCEL_INIT,
					      .wake = CANCEL_INIT };
	(void)pthread_mutex_init(&builder->lock, NULL);
	r = cancel_init(&builder->stop);
	if (r == 0)
		r = cancel_init(&builder->wake);
	if (r == 0)
		r = -pthread_create(&builder->thread, NULL, builder_run, builder);
	if (r < 0) {
		builder_free(builder);
		return err_sys(err, r, "start the builder of templates");
	}
	*ret = builder;
	return 0;
}

void template_builder_stop(struct template_builder *builder)
{
	if (!builder)
		return;
	cancel_fire(&builder->stop);
	(void)pthread_join(builder->thread, NULL);
	builder_free(builder);
}
