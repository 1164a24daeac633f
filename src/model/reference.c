#include "model/reference.h"

#include <stdbool.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define LISTED_MAX 5 /* candidates named in the message of an ambiguous reference */

/* Which targets match, as far as a message needs them. */
struct matches {
	size_t first;
	size_t count;
	struct buf listed;
};

static void add_match(struct matches *matches, const struct reference_target *target, size_t index)
{
	if (matches->count == 0)
		matches->first = index;
	if (matches->count < LISTED_MAX)
		buf_addf(&matches->listed, "%s'%s' (%.12s)", matches->count ? ", " : "",
			 target->name, target->id);
	matches->count++;
}

static void find(const char *reference, const struct reference_target *targets, size_t count,
		 bool exact, struct matches *matches)
{
	for (size_t i = 0; i < count; i++) {
		const struct reference_target *t = &targets[i];
		bool hit;

		if (exact)
			hit = str_eq(t->name, reference) || str_eq(t->id, reference);
		else
			hit = str_starts(t->name, reference) || str_starts(t->id, reference);
		if (hit)
			add_match(matches, t, i);
	}
}

static int not_found(const char *reference, const struct reference_target *targets, size_t count,
		     struct err *err)
{
	AUTO_FREE const char **names = mem_alloc(count + 1, sizeof(*names));
	const char *nearest;
	int r;

	for (size_t i = 0; i < count; i++)
		names[i] = targets[i].name;
	nearest = text_nearest(reference, names, count);

	r = err_set(err, ERR_NOT_FOUND, "there is no VM '%.100s'", reference);
	if (nearest)
		err_hint(err, "did you mean '%s'?", nearest);
	return r;
}

static int ambiguous(const char *reference, const struct matches *matches, struct err *err)
{
	if (matches->count > LISTED_MAX)
		return err_set(err, ERR_INVALID, "'%s' could be any of %zu VMs: %s, ...", reference,
			       matches->count, matches->listed.ptr);
	return err_set(err, ERR_INVALID, "'%s' could be any of %zu VMs: %s", reference,
		       matches->count, matches->listed.ptr);
}

int reference_resolve(const char *reference, const struct reference_target *targets, size_t count,
		      size_t *ret_index, struct err *err)
{
	struct matches matches = { .listed = BUF_INIT };
	int r = 0;

	if (str_empty(reference))
		return err_set(err, ERR_INVALID,
			       "a VM must be named: its name, id or a prefix of either");

	find(reference, targets, count, true, &matches);
	if (matches.count == 0)
		find(reference, targets, count, false, &matches);

	if (matches.count == 0)
		r = not_found(reference, targets, count, err);
	else if (matches.count > 1)
		r = ambiguous(reference, &matches, err);
	else
		*ret_index = matches.first;

	buf_done(&matches.listed);
	return r;
}
