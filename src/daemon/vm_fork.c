#include "daemon/vm_fork.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/templates.h"
#include "daemon/vm_machine.h"
#include "daemon/vm_service.h"
#include "model/names.h"

#define WORKERS_MAX 4 /* a start is half waiting, half work for a processor */

struct fork {
	const struct job *job;
	const struct vm_fork_request *request;
	struct vm source;      /* owned: as it was when it was captured */
	char *folder;	       /* owned; NULL: not made */
	pthread_mutex_t lock;  /* around what follows, and job->progress */
	uint64_t begun;	       /* how many were, counted from 0 */
	struct vm_forks *made; /* borrowed; the warnings of the first: the others' are the same */
	uint64_t numbers[VM_FORK_MAX]; /* of those made, which are in that order */
	int r;			       /* of the first that failed */
	struct err err;
};

void vm_forks_done(struct vm_forks *forks)
{
	vm_list_done(&forks->vms);
	strv_done(&forks->warnings);
}

static void fork_done(struct fork *fork)
{
	if (fork->folder) {
		/* VMs that run keep what they have mapped. */
		const int r = dir_remove_tree(AT_FDCWD, fork->folder);

		if (r < 0)
			log_error("cannot remove '%s', leaving that to the next start",
				  fork->folder);
	}
	mem_free(fork->folder);
	vm_done(&fork->source);
	(void)pthread_mutex_destroy(&fork->lock);
}

/* Of the VM with that number, from 0; NULL: made up. Owned by the caller. */
static char *name_of(const struct vm_fork_request *request, uint64_t number)
{
	if (!request->name)
		return NULL;
	return request->count == 1 ? mem_strdup(request->name)
				   : mem_printf("%s-%" PRIu64, request->name, number + 1);
}

/* Before anything has been done for them. */
static int check_names(const struct job *job, const struct vm_fork_request *request,
		       struct err *err)
{
	for (uint64_t i = 0; request->name && i < request->count; i++) {
		AUTO_FREE char *name = name_of(request, i);
		bool is_taken = false;
		int r;

		r = name_check_vm(name, err);
		if (r == 0)
			r = store_vm_name_taken(job->daemon->store, name, &is_taken, err);
		if (r < 0)
			return r;
		if (is_taken)
			return err_set(err, ERR_EXISTS, "a VM named '%s' exists already", name);
	}
	return 0;
}

static int capture(struct fork *fork, const char *reference, struct vm_captured *ret,
		   struct err *err)
{
	struct daemon *daemon = fork->job->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	AUTO_VM vm = { 0 };
	char key[MACHINE_KEY_SIZE];
	char id[VM_ID_SIZE];
	int r;

	r = daemon_claim_vm(daemon, reference, fork->job->cancel, &hold, &vm, err);
	if (r == 0)
		r = vm_check_verb(&vm, VM_VERB_FORK, err);
	if (r < 0)
		return r;
	r = vm_machine_check(fork->job, &vm, key, err);
	if (r < 0)
		return err_context(err, r, "cannot fork '%s'", vm.name);
	r = model_new_id(id);
	if (r < 0)
		return err_sys(err, r, "make an id");
	/* As a template that is being built: swept at the next start. */
	fork->folder = template_staging(daemon, id);
	if (mkdir(fork->folder, 0700) < 0)
		return err_sys(err, -errno, "make '%s'", fork->folder);
	vm_copy(&fork->source, &vm);
	r = vm_capture(fork->job, &vm, fork->folder, ret, err);
	return r < 0 ? err_context(err, r, "cannot fork '%s'", vm.name) : 0;
}

static int make_one(struct fork *fork, uint64_t number, struct strv *warnings, struct vm *ret,
		    struct err *err)
{
	const struct vm_spec *spec = &fork->source.spec;
	AUTO_FREE char *name = name_of(fork->request, number);
	const struct vm_origin origin = { .folder = fork->folder,
					  .system_bytes = spec->system_overlay_bytes,
					  .work_bytes = spec->disk_bytes };
	const struct vm_create_request create = {
		.name = name,
		.image = spec->image,
		.kernel = spec->kernel,
		.vcpu = spec->vcpu,
		.memory_bytes = spec->memory_bytes,
		.disk_bytes = spec->disk_bytes,
		.system_overlay_bytes = spec->system_overlay_bytes,
		.nat = spec->nat,
		.start = true,
		.origin = &origin,
		.workspace = &fork->source.workspace,
	};
	const struct job job = { .daemon = fork->job->daemon, .cancel = fork->job->cancel };

	return vm_create(&job, &create, ret, warnings, err);
}

/* At its place, whichever was done first. */
static void keep(struct fork *fork, uint64_t number, const struct vm *vm)
{
	struct vm_list *made = &fork->made->vms;
	size_t at;

	vm_copy(vm_list_add(made), vm);
	for (at = made->count - 1; at > 0 && fork->numbers[at - 1] > number; at--) {
		const struct vm later = made->items[at - 1];

		made->items[at - 1] = made->items[at];
		made->items[at] = later;
		fork->numbers[at] = fork->numbers[at - 1];
	}
	fork->numbers[at] = number;
}

/* Until there are enough of them or one has failed. */
static void *work(void *context)
{
	struct fork *fork = context;

	(void)pthread_mutex_lock(&fork->lock);
	while (fork->r == 0 && fork->begun < fork->request->count) {
		const uint64_t number = fork->begun++;
		AUTO_STRV warnings = { .items = NULL };
		AUTO_VM vm = { 0 };
		struct err err = ERR_INIT;
		int r;

		(void)pthread_mutex_unlock(&fork->lock);
		r = make_one(fork, number, &warnings, &vm, &err);
		(void)pthread_mutex_lock(&fork->lock);
		if (r == 0) {
			keep(fork, number, &vm);
			progress_report(fork->job->progress, "fork", vm.name, fork->made->vms.count,
					fork->request->count);
		} else if (fork->r == 0) {
			fork->r = r;
			fork->err = err;
		}
		for (size_t i = 0; number == 0 && i < warnings.count; i++)
			strv_add(&fork->made->warnings, warnings.items[i]);
	}
	(void)pthread_mutex_unlock(&fork->lock);
	return NULL;
}

static void make_all(struct fork *fork)
{
	pthread_t workers[WORKERS_MAX];
	size_t count = 0;

	/* This thread works, too: with none of the others it takes longer. */
	while (count + 1 < fork->request->count && count < WORKERS_MAX - 1 &&
	       pthread_create(&workers[count], NULL, work, fork) == 0)
		count++;
	(void)work(fork);
	for (size_t i = 0; i < count; i++)
		(void)pthread_join(workers[i], NULL);
}

/* None stays when one could not be made. */
static int take_back(struct fork *fork, struct err *err)
{
	const struct job job = { .daemon = fork->job->daemon };

	*err = fork->err;
	for (size_t i = 0; i < fork->made->vms.count; i++) {
		struct err undo_err = ERR_INIT;
		AUTO_VM vm = { 0 };

		if (vm_delete(&job, fork->made->vms.items[i].id, &vm, &undo_err) < 0 &&
		    undo_err.kind != ERR_NOT_FOUND)
			err_append(err, &undo_err);
	}
	vm_list_done(&fork->made->vms);
	return err_context(err, fork->r, "cannot fork '%s'", fork->source.name);
}

int vm_fork(const struct job *job, const char *reference, const struct vm_fork_request *request,
	    struct vm_forks *ret, struct err *err)
{
	CLEANUP(fork_done)
	struct fork fork = { .job = job, .request = request, .made = ret };
	int r;

	(void)pthread_mutex_init(&fork.lock, NULL);
	vm_init(&fork.source);
	r = check_names(job, request, err);
	if (r == 0)
		r = capture(&fork, reference, &ret->captured, err);
	if (r < 0)
		return r;
	failpoint("vm.fork.captured");
	make_all(&fork);
	if (fork.r < 0)
		return take_back(&fork, err);
	if (fork.source.spec.port_count > 0)
		strv_addf(&ret->warnings, "the ports that '%s' publishes stay its own",
			  fork.source.name);
	return 0;
}
