#include "daemon/operations.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#define STAGE_SIZE 32 /* stages are our own short words */

struct operation {
	uint64_t id;
	const char *method;    /* borrowed */
	const char *vm;	       /* borrowed, or NULL */
	struct cancel *cancel; /* borrowed */
	char stage[STAGE_SIZE];
	uint64_t started_ns;
	struct operation *next;
};

struct operations {
	pthread_mutex_t mutex;
	struct operation *first; /* oldest first; as many as clients at most, so a list will do */
	size_t count;
	uint64_t last_id;
};

struct operations *operations_new(void)
{
	struct operations *operations = mem_alloc(1, sizeof(*operations));

	(void)pthread_mutex_init(&operations->mutex, NULL);
	return operations;
}

void operations_free(struct operations *operations)
{
	if (!operations)
		return;
	assert(!operations->first);
	(void)pthread_mutex_destroy(&operations->mutex);
	mem_free(operations);
}

/* Where the pointer to the operation `id` is, or to the end. */
static struct operation **find(struct operations *operations, uint64_t id)
{
	struct operation **at = &operations->first;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

uint64_t operations_begin(struct operations *operations, const char *method, const char *vm,
			  struct cancel *cancel)
{
	struct operation *operation = mem_alloc(1, sizeof(*operation));
	uint64_t id;

	*operation = (struct operation){
		.method = method, .vm = vm, .cancel = cancel, .started_ns = clock_now_ns()
	};
	(void)pthread_mutex_lock(&operations->mutex);
	id = ++operations->last_id;
	operation->id = id;
	*find(operations, 0) = operation;
	operations->count++;
	(void)pthread_mutex_unlock(&operations->mutex);
	return id;
}

void operations_end(struct operations *operations, uint64_t id)
{
	struct operation **at, *operation;

	(void)pthread_mutex_lock(&operations->mutex);
	at = find(operations, id);
	operation = *at;
	assert(operation);
	*at = operation->next;
	operations->count--;
	(void)pthread_mutex_unlock(&operations->mutex);
	mem_free(operation);
}

void operations_stage(struct operations *operations, uint64_t id, const char *stage)
{
	struct operation *operation;

	(void)pthread_mutex_lock(&operations->mutex);
	operation = *find(operations, id);
	if (operation)
		(void)snprintf(operation->stage, sizeof(operation->stage), "%s", stage);
	(void)pthread_mutex_unlock(&operations->mutex);
}

size_t operations_count(struct operations *operations)
{
	size_t count;

	(void)pthread_mutex_lock(&operations->mutex);
	count = operations->count;
	(void)pthread_mutex_unlock(&operations->mutex);
	return count;
}

json_t *operations_json(struct operations *operations)
{
	const uint64_t now = clock_now_ns();
	json_t *list = json_new_array();

	(void)pthread_mutex_lock(&operations->mutex);
	for (const struct operation *each = operations->first; each; each = each->next) {
		json_t *json = json_new_object();

		json_put_u64(json, "id", each->id);
		json_put_str(json, "method", each->method);
		json_put_str(json, "vm", each->vm);
		json_put_str(json, "stage", each->stage[0] ? each->stage : NULL);
		json_put_u64(json, "elapsed_ms", (now - each->started_ns) / NSEC_PER_MSEC);
		json_add(list, json);
	}
	(void)pthread_mutex_unlock(&operations->mutex);
	return list;
}

int operations_cancel(struct operations *operations, uint64_t id, struct err *err)
{
	const struct operation *operation;

	(void)pthread_mutex_lock(&operations->mutex);
	operation = *find(operations, id);
	if (operation)
		cancel_fire(operation->cancel);
	(void)pthread_mutex_unlock(&operations->mutex);
	if (!operation)
		return err_set(err, ERR_NOT_FOUND, "no operation %llu is in flight",
			       (unsigned long long)id);
	return 0;
}
