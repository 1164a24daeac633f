#include "daemon/engine.h"

#include <pthread.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "config/config.h"

struct engine {
	pthread_mutex_t mutex;
	const struct config *config; /* borrowed */
	const char *state_dir;	     /* borrowed */
	bool is_decided;
	struct vmm_decision decision;
};

struct engine *engine_new(const struct config *config, const char *state_dir)
{
	struct engine *engine = mem_alloc(1, sizeof(*engine));

	(void)pthread_mutex_init(&engine->mutex, NULL);
	engine->config = config;
	engine->state_dir = state_dir;
	return engine;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	vmm_decision_done(&engine->decision);
	(void)pthread_mutex_destroy(&engine->mutex);
	mem_free(engine);
}

enum vmm_choice engine_choice(const struct engine *engine)
{
	switch (engine->config->vmm) {
	case CONFIG_VMM_FIRECRACKER:
		return VMM_CHOICE_FIRECRACKER;
	case CONFIG_VMM_QEMU:
		return VMM_CHOICE_QEMU;
	case CONFIG_VMM_AUTO:
	case CONFIG_VMM_COUNT:
		break;
	}
	return VMM_CHOICE_AUTO;
}

static void copy_decision(const struct vmm_decision *from, struct vmm_decision *ret)
{
	*ret = *from;
	ret->binary = mem_strdup(from->binary);
	ret->qemu_path = mem_strdup(from->qemu_path);
	ret->processor = mem_strdup(from->processor);
}

int engine_look(struct engine *engine, const struct cancel *cancel, struct vmm_host *ret,
		struct err *err)
{
	AUTO_CLOSE int state_fd = dir_open(engine->state_dir);
	const struct vmm_host_options options = {
		.firecracker_bin = engine->config->firecracker_bin,
		.qemu_bin = engine->config->qemu_bin,
		.state_dir_fd = state_fd < 0 ? -1 : state_fd,
	};
	struct vmm_decision decision = { 0 };
	struct err ignored = ERR_INIT;
	int r;

	r = vmm_host_gather(&options, cancel, ret, err);
	if (r < 0)
		return r;
	if (vmm_choose(engine_choice(engine), ret, &decision, &ignored) < 0)
		return 0;
	(void)pthread_mutex_lock(&engine->mutex);
	vmm_decision_done(&engine->decision);
	engine->decision = decision;
	engine->is_decided = true;
	(void)pthread_mutex_unlock(&engine->mutex);
	return 0;
}

int engine_get(struct engine *engine, const struct cancel *cancel, struct vmm_decision *ret,
	       struct err *err)
{
	struct vmm_host host = { 0 };
	bool is_decided;
	int r;

	(void)pthread_mutex_lock(&engine->mutex);
	is_decided = engine->is_decided;
	if (is_decided)
		copy_decision(&engine->decision, ret);
	(void)pthread_mutex_unlock(&engine->mutex);
	if (is_decided)
		return 0;

	/* Two that look at the same time find the same. */
	r = engine_look(engine, cancel, &host, err);
	if (r < 0)
		return r;
	r = vmm_choose(engine_choice(engine), &host, ret, err);
	vmm_host_done(&host);
	return r;
}
