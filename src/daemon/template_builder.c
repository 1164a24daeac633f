#include "daemon/template_builder.h"

#include <poll.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/keylock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/private.h"
#include "daemon/template_key.h"
#include "daemon/template_wanted.h"

/* Held while one is built, until the last of its VM is gone. */
#define BUSY_KEY "template-builder"
#define SHORT_NS (10 * NSEC_PER_SEC) /* until there may be descriptors again */

struct template_builder {
	struct daemon *daemon; /* borrowed */
	struct cancel stop;
	struct cancel wake;
	pthread_t thread;
	pthread_mutex_t lock; /* around what follows */
	struct template_wanted_list wanted;
	struct template_wanted built; /* what is being built, as long as `current` is one */
	struct cancel current;	      /* ends that */
	size_t pauses;		      /* how many keep it from beginning */
};

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
	is_new = template_wanted_add(&builder->wanted, &request, clock_now_ns());
	(void)pthread_mutex_unlock(&builder->lock);
	if (is_new)
		cancel_fire(&builder->wake);
}

/* --- being in somebody's way --- */

/* Behind the lock. */
static void interrupt(struct template_builder *builder)
{
	if (builder->current.fd >= 0)
		cancel_fire(&builder->current);
}

void template_builder_interrupt(struct template_builder *builder)
{
	if (!builder)
		return;
	(void)pthread_mutex_lock(&builder->lock);
	interrupt(builder);
	(void)pthread_mutex_unlock(&builder->lock);
}

/* Whether it is at one that needs this image or kernel; behind the lock. */
static bool is_at(const struct template_builder *builder, const char *image, const char *kernel)
{
	return builder->current.fd >= 0 && ((image && str_eq(builder->built.image, image)) ||
					    (kernel && str_eq(builder->built.kernel, kernel)));
}

int template_builder_pause(struct template_builder *builder, const char *image, const char *kernel,
			   struct template_builder_pause *ret, struct err *err)
{
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	bool is_in_the_way;
	int r;

	ret->builder = builder;
	if (!builder)
		return 0;
	(void)pthread_mutex_lock(&builder->lock);
	builder->pauses++;
	is_in_the_way = is_at(builder, image, kernel);
	if (is_in_the_way)
		interrupt(builder);
	(void)pthread_mutex_unlock(&builder->lock);
	if (!is_in_the_way)
		return 0;
	/* Its own waiting has been cancelled: so callers may hold the key of what it is at. */
	r = keylock_acquire(builder->daemon->locks, BUSY_KEY, NULL, &hold, err);
	if (r < 0)
		template_builder_resume(ret);
	return r;
}

void template_builder_resume(struct template_builder_pause *pause)
{
	struct template_builder *builder = pause->builder;

	if (!builder)
		return;
	pause->builder = NULL;
	(void)pthread_mutex_lock(&builder->lock);
	builder->pauses--;
	(void)pthread_mutex_unlock(&builder->lock);
	cancel_fire(&builder->wake);
}

/* --- the worker --- */

/* Begins with what is to be built now; false when nothing is, and *ret_when_ns says when to ask
 * again. */
static bool begin(struct template_builder *builder, uint64_t *ret_when_ns)
{
	const uint64_t now_ns = clock_now_ns();
	bool is_due = false;

	*ret_when_ns = UINT64_MAX;
	(void)pthread_mutex_lock(&builder->lock);
	if (builder->pauses == 0 && !cancel_is_fired(&builder->stop))
		is_due =
			template_wanted_due(&builder->wanted, now_ns, &builder->built, ret_when_ns);
	if (is_due && cancel_init(&builder->current) < 0) {
		template_wanted_done(&builder->built);
		*ret_when_ns = now_ns + SHORT_NS;
		is_due = false;
	}
	(void)pthread_mutex_unlock(&builder->lock);
	return is_due;
}

/* `why`: of one that failed. */
static void end(struct template_builder *builder, enum template_outcome outcome,
		const struct err *why)
{
	bool is_retried;

	(void)pthread_mutex_lock(&builder->lock);
	is_retried = template_wanted_note(&builder->wanted, &builder->built.request, outcome,
					  clock_now_ns());
	if (outcome == TEMPLATE_FAILED)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = why },
			  "no template of '%s': VMs boot cold, %s", builder->built.image,
			  is_retried ? "retrying in ten minutes" : "given up until the next one");
	template_wanted_done(&builder->built);
	cancel_done(&builder->current);
	(void)pthread_mutex_unlock(&builder->lock);
}

/* As a build would find them: with a job of the background's nothing is made. */
static bool are_parts_here(const struct job *job, const struct template_request *request)
{
	AUTO_IMAGE_RECORD image = { 0 };
	AUTO_KERNEL_RECORD kernel = { 0 };
	struct err err = ERR_INIT;
	int r;

	r = artifact_ensure_image(job->daemon, request->image, request->image, job, &image, &err);
	if (r == 0)
		r = artifact_ensure_kernel(job->daemon, request->kernel, job, &kernel, &err);
	return r == 0 || err.kind != ERR_NOT_FOUND;
}

static enum template_outcome build(const struct job *job, const struct template_request *request,
				   struct err *err)
{
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	bool is_new = false;
	int r;

	r = keylock_acquire(job->daemon->locks, BUSY_KEY, job->cancel, &hold, err);
	/* Who has interrupted it does not expect it to begin. */
	if (r == 0)
		r = cancel_check(job->cancel, err);
	if (r == 0 && !are_parts_here(job, request))
		return TEMPLATE_UNBUILDABLE;
	if (r == 0)
		r = template_build(job, request, &record, &is_new, err);
	if (r < 0 && cancel_is_fired(job->cancel))
		return TEMPLATE_INTERRUPTED;
	if (r < 0)
		return TEMPLATE_FAILED;
	if (is_new)
		log_info("made a template of '%s'", request->image);
	return TEMPLATE_BUILT;
}

static void *builder_run(void *context)
{
	struct template_builder *builder = context;
	const struct job job = { .daemon = builder->daemon,
				 .cancel = &builder->current,
				 .is_background = true };

	for (;;) {
		struct err err = ERR_INIT;
		uint64_t when_ns, wakes;
		int r;

		if (begin(builder, &when_ns)) {
			end(builder, build(&job, &builder->built.request, &err), &err);
			continue;
		}
		r = cancel_poll(&builder->stop, builder->wake.fd, POLLIN, when_ns);
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
	template_wanted_list_done(&builder->wanted);
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
	*builder = (struct template_builder){
		.daemon = daemon, .stop = CANCEL_INIT, .wake = CANCEL_INIT, .current = CANCEL_INIT
	};
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
	template_builder_interrupt(builder);
	(void)pthread_join(builder->thread, NULL);
	builder_free(builder);
}
