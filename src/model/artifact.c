#include "model/artifact.h"

#include "base/mem.h"
#include "base/text.h"

static const char *const state_names[] = {
	[ARTIFACT_PULLING] = "pulling",
	[ARTIFACT_READY] = "ready",
	[ARTIFACT_DELETING] = "deleting",
};
_Static_assert(ARRAY_LEN(state_names) == ARTIFACT_STATE_COUNT, "every state has a name");

const char *artifact_state_name(enum artifact_state state)
{
	return state_names[state];
}

bool artifact_state_from_name(const char *name, enum artifact_state *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
		if (!str_eq(name, state_names[i]))
			continue;
		*ret = (enum artifact_state)i;
		return true;
	}
	return false;
}

void image_record_init(struct image_record *image)
{
	*image = (struct image_record){ .state = ARTIFACT_PULLING };
}

void image_record_done(struct image_record *image)
{
	if (!image)
		return;

	mem_free(image->name);
	mem_free(image->kind);
	mem_free(image->recipe);
	mem_free(image->kernel);
	mem_free(image->source);
	mem_free(image->digest);
	image_record_init(image);
}

void kernel_record_init(struct kernel_record *kernel)
{
	*kernel = (struct kernel_record){ .state = ARTIFACT_PULLING };
}

void kernel_record_done(struct kernel_record *kernel)
{
	if (!kernel)
		return;

	mem_free(kernel->name);
	mem_free(kernel->kind);
	mem_free(kernel->package);
	mem_free(kernel->version);
	mem_free(kernel->release);
	kernel_record_init(kernel);
}

void image_record_list_done(struct image_record_list *list)
{
	if (!list)
		return;

	for (size_t i = 0; i < list->count; i++)
		image_record_done(&list->items[i]);
	mem_free(list->items);
	*list = (struct image_record_list){ .items = NULL };
}

void kernel_record_list_done(struct kernel_record_list *list)
{
	if (!list)
		return;

	for (size_t i = 0; i < list->count; i++)
		kernel_record_done(&list->items[i]);
	mem_free(list->items);
	*list = (struct kernel_record_list){ .items = NULL };
}

struct image_record *image_record_list_add(struct image_record_list *list)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}

	image_record_init(&list->items[list->count]);
	return &list->items[list->count++];
}

struct kernel_record *kernel_record_list_add(struct kernel_record_list *list)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}

	kernel_record_init(&list->items[list->count]);
	return &list->items[list->count++];
}
