#include "model/template.h"

#include "base/mem.h"

void template_record_init(struct template_record *record)
{
	*record = (struct template_record){ .image = NULL };
}

void template_record_done(struct template_record *record)
{
	if (!record)
		return;

	mem_free(record->image);
	mem_free(record->kernel);
	template_record_init(record);
}

void template_record_list_done(struct template_record_list *list)
{
	if (!list)
		return;

	for (size_t i = 0; i < list->count; i++)
		template_record_done(&list->items[i]);
	mem_free(list->items);
	*list = (struct template_record_list){ .items = NULL };
}

struct template_record *template_record_list_add(struct template_record_list *list)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}

	template_record_init(&list->items[list->count]);
	return &list->items[list->count++];
}
