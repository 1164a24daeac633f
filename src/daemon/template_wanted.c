#include "daemon/template_wanted.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define PAUSE_NS     (2 * NSEC_PER_SEC) /* for who wants the next VM at once */
#define RETRY_NS     (600 * NSEC_PER_SEC)
#define FAILURES_MAX 3

/* One with texts of its own. */
static struct template_wanted wanted_of(const struct template_request *request)
{
	struct template_wanted wanted = { .image = mem_strdup(request->image),
					  .kernel = mem_strdup(request->kernel),
					  .request = *request };

	wanted.request.image = wanted.image;
	wanted.request.kernel = wanted.kernel;
	return wanted;
}

void template_wanted_done(struct template_wanted *wanted)
{
	mem_free(wanted->image);
	mem_free(wanted->kernel);
	*wanted = (struct template_wanted){ .image = NULL };
}

void template_wanted_list_done(struct template_wanted_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		template_wanted_done(&list->items[i]);
	list->count = 0;
}

static bool is_same(const struct template_request *a, const struct template_request *b)
{
	return str_eq(a->image, b->image) && str_eq(a->kernel, b->kernel) && a->vcpu == b->vcpu &&
	       a->memory_bytes == b->memory_bytes && a->system_bytes == b->system_bytes &&
	       a->work_bytes == b->work_bytes;
}

/* Its place in the list, or how many there are. */
static size_t find(const struct template_wanted_list *list, const struct template_request *request)
{
	size_t i = 0;

	while (i < list->count && !is_same(&list->items[i].request, request))
		i++;
	return i;
}

bool template_wanted_add(struct template_wanted_list *list, const struct template_request *request,
			 uint64_t now_ns)
{
	const size_t i = find(list, request);

	if (i < list->count)
		list->items[i].failures = 0;
	/* When there are too many it is the next one's turn. */
	if (i < list->count || i == TEMPLATE_WANTED_MAX)
		return false;
	list->items[i] = wanted_of(request);
	list->items[i].not_before_ns = now_ns + PAUSE_NS;
	list->count++;
	return true;
}

bool template_wanted_due(const struct template_wanted_list *list, uint64_t now_ns,
			 struct template_wanted *ret, uint64_t *ret_when_ns)
{
	*ret_when_ns = UINT64_MAX;
	for (size_t i = 0; i < list->count; i++) {
		const struct template_wanted *each = &list->items[i];

		if (each->not_before_ns <= now_ns) {
			*ret = wanted_of(&each->request);
			return true;
		}
		if (each->not_before_ns < *ret_when_ns)
			*ret_when_ns = each->not_before_ns;
	}
	return false;
}

bool template_wanted_note(struct template_wanted_list *list, const struct template_request *request,
			  enum template_outcome outcome, uint64_t now_ns)
{
	const size_t i = find(list, request);
	struct template_wanted *wanted = &list->items[i];

	if (i == list->count)
		return false;
	if (outcome == TEMPLATE_INTERRUPTED) {
		wanted->not_before_ns = now_ns + PAUSE_NS;
		return true;
	}
	if (outcome == TEMPLATE_FAILED && ++wanted->failures < FAILURES_MAX) {
		wanted->not_before_ns = now_ns + RETRY_NS;
		return true;
	}
	template_wanted_done(wanted);
	*wanted = list->items[--list->count];
	return false;
}
