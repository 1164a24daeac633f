#include "kernel/modules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define PATH_MAX_BYTES 512 /* of a module's path in its tree */

struct module {
	char name[MODULE_NAME_MAX + 1];
	char *path;	     /* owned; NULL when it is built in */
	struct strv depends; /* owned: names */
};

struct module_set {
	struct module **items; /* owned, sorted by name */
	size_t count;
	size_t cap;
	size_t builtin_count;
};

/* The walk over what depends on what: depth first, without recursion, because the depth is the
 * files' choice. */
enum visit {
	VISIT_NEW = 0,
	VISIT_OPEN, /* on the stack: met again, it depends on itself */
	VISIT_DONE,
};

struct step {
	size_t module; /* index in the set */
	size_t next;   /* index of the dependency to look at next */
};

struct walk {
	const struct module_set *set; /* borrowed */
	uint8_t *visits;	      /* owned: enum visit by module */
	struct step *stack;	      /* owned */
	size_t depth;
};

static void module_free(struct module *module)
{
	if (!module)
		return;
	mem_free(module->path);
	strv_done(&module->depends);
	mem_free(module);
}
DEFINE_FREEP(module, module_free);

struct module_set *module_set_new(void)
{
	return mem_alloc(1, sizeof(struct module_set));
}

void module_set_free(struct module_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->count; i++)
		module_free(set->items[i]);
	mem_free(set->items);
	mem_free(set);
}

size_t module_set_count(const struct module_set *set)
{
	return set->count - set->builtin_count;
}

/* Where `name` is or belongs. */
static size_t position(const struct module_set *set, const char *name, bool *ret_found)
{
	size_t low = 0;
	size_t high = set->count;

	*ret_found = false;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strcmp(set->items[middle]->name, name);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool module_set_has(const struct module_set *set, const char *name)
{
	bool is_found;

	(void)position(set, name, &is_found);
	return is_found;
}

/* Takes a module over; false, with the module still the caller's, when its name is there already.
 */
static bool insert(struct module_set *set, struct module *module)
{
	bool is_found;
	const size_t at = position(set, module->name, &is_found);

	if (is_found)
		return false;
	if (set->count == set->cap) {
		set->cap = set->cap ? set->cap * 2 : 64;
		set->items = mem_grow(set->items, set->cap, sizeof(struct module *));
	}
	memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof(struct module *));
	set->items[at] = module;
	set->count++;
	return true;
}

/* A path of ours is relative and tame; it becomes a line of modules.dep and a file name. */
static bool is_path(const char *path)
{
	const size_t len = strnlen(path, PATH_MAX_BYTES + 1);

	if (len == 0 || len > PATH_MAX_BYTES || path[0] == '/')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)path[i] <= ' ' || (uint8_t)path[i] >= 0x7f || path[i] == ':')
			return false;
	return !strstr(path, "//") && !str_starts(path, "../") && !strstr(path, "/../");
}

static int module_new(const struct module_set *set, const char *path, struct module **ret,
		      struct err *err)
{
	struct module *module;
	char name[MODULE_NAME_MAX + 1];

	if (set->count >= MODULES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d kernel modules", MODULES_MAX);
	if (!is_path(path) || !module_name_of_path(path, name))
		return err_set(err, ERR_INVALID, "'%s' is no path of a kernel module", path);

	module = mem_alloc(1, sizeof(*module));
	memcpy(module->name, name, sizeof(name));
	*ret = module;
	return 0;
}

int module_set_add(struct module_set *set, const char *path, const struct strv *depends,
		   struct err *err)
{
	CLEANUP(module_freep) struct module *module = NULL;
	int r;

	r = module_new(set, path, &module, err);
	if (r < 0)
		return r;
	module->path = mem_strdup(path);
	for (size_t i = 0; i < depends->count; i++)
		strv_add(&module->depends, depends->items[i]);
	if (!insert(set, module))
		return err_set(err, ERR_EXISTS, "two kernel modules are called '%s'", module->name);
	module = NULL;
	return 0;
}

int module_set_add_builtin(struct module_set *set, struct span text, struct err *err)
{
	while (text.len > 0) {
		CLEANUP(module_freep) struct module *module = NULL;
		struct span line = text;
		int r;

		if (!parse_until(&text, '\n', &line))
			text.len = 0;
		if (line.len == 0)
			continue;

		AUTO_FREE char *path = mem_strndup((const char *)line.ptr, line.len);

		r = module_new(set, path, &module, err);
		if (r < 0)
			return r;
		/* The same name twice happens: several files make one built-in module. */
		if (!insert(set, module))
			continue;
		module = NULL;
		set->builtin_count++;
	}
	return 0;
}

/* "path: path path", with the paths already known to be terminated in `words`. */
static int parse_dep_line(struct module_set *set, char *line, struct err *err)
{
	AUTO_STRV depends = { 0 };
	char *colon = strchr(line, ':');
	char *word;

	if (!colon)
		return err_set(err, ERR_INVALID, "modules.dep has a line without ':'");
	*colon = '\0';
	word = colon + 1;
	while (*word != '\0') {
		char name[MODULE_NAME_MAX + 1];
		char *end;

		if (*word == ' ') {
			word++;
			continue;
		}
		end = strchrnul(word, ' ');
		if (*end != '\0')
			*end++ = '\0';
		if (!module_name_of_path(word, name))
			return err_set(err, ERR_INVALID, "'%s' in modules.dep is no kernel module",
				       word);
		strv_add(&depends, name);
		word = end;
	}
	return module_set_add(set, line, &depends, err);
}

int module_set_parse_dep(struct module_set *set, struct span text, struct err *err)
{
	while (text.len > 0) {
		struct span line = text;
		int r;

		if (!parse_until(&text, '\n', &line))
			text.len = 0;
		if (line.len == 0)
			continue;

		AUTO_FREE char *copy = mem_strndup((const char *)line.ptr, line.len);

		r = parse_dep_line(set, copy, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- The order of loading --- */

static void walk_init(struct walk *walk, const struct module_set *set)
{
	*walk = (struct walk){
		.set = set,
		.visits = mem_alloc(set->count + 1, sizeof(uint8_t)),
		.stack = mem_alloc(set->count + 1, sizeof(struct step)),
	};
}

static void walk_done(struct walk *walk)
{
	mem_free(walk->visits);
	mem_free(walk->stack);
}

static void push(struct walk *walk, size_t module)
{
	assert(walk->depth < walk->set->count); /* each is open at most once */
	walk->visits[module] = VISIT_OPEN;
	walk->stack[walk->depth++] = (struct step){ .module = module };
}

static int enter_dependency(struct walk *walk, const struct module *module, const char *name,
			    struct err *err)
{
	bool is_found;
	const size_t index = position(walk->set, name, &is_found);

	if (!is_found)
		return err_set(err, ERR_INVALID,
			       "kernel module '%s' depends on '%s', which is not there",
			       module->name, name);
	if (walk->visits[index] == VISIT_OPEN)
		return err_set(err, ERR_INVALID, "kernel module '%s' depends on itself", name);
	if (walk->visits[index] == VISIT_NEW)
		push(walk, index);
	return 0;
}

/* Appends the indices of `from` and all that it needs and that was not visited yet, needed ones
 * first. */
static int walk_from(struct walk *walk, size_t from, size_t *order, size_t *count, struct err *err)
{
	if (walk->visits[from] == VISIT_DONE)
		return 0;
	push(walk, from);
	while (walk->depth > 0) {
		struct step *step = &walk->stack[walk->depth - 1];
		const struct module *module = walk->set->items[step->module];

		if (step->next < module->depends.count) {
			const int r = enter_dependency(walk, module,
						       module->depends.items[step->next++], err);
			if (r < 0)
				return r;
			continue;
		}
		walk->visits[step->module] = VISIT_DONE;
		if (module->path)
			order[(*count)++] = step->module;
		walk->depth--;
	}
	return 0;
}

int module_set_order(const struct module_set *set, const char *const *names, size_t count,
		     struct strv *paths, struct err *err)
{
	AUTO_FREE size_t *order = mem_alloc(set->count + 1, sizeof(size_t));
	CLEANUP(walk_done) struct walk walk;
	size_t found = 0;

	walk_init(&walk, set);
	for (size_t i = 0; i < count; i++) {
		bool is_found;
		const size_t index = position(set, names[i], &is_found);
		int r;

		if (!is_found)
			return err_set(err, ERR_NOT_FOUND, "the kernel has no module '%s'",
				       names[i]);
		r = walk_from(&walk, index, order, &found, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < found; i++)
		strv_add(paths, set->items[order[i]]->path);
	return 0;
}

static int compare_paths(const void *a, const void *b)
{
	const struct module *const *left = a;
	const struct module *const *right = b;

	return strcmp((*left)->path, (*right)->path);
}

static int write_line(const struct module_set *set, const char *name, size_t *order,
		      struct buf *out, struct err *err)
{
	CLEANUP(walk_done) struct walk walk;
	bool is_found;
	size_t count = 0;
	int r;

	walk_init(&walk, set);
	r = walk_from(&walk, position(set, name, &is_found), order, &count, err);
	if (r < 0)
		return r;

	/* The module itself comes last in the order, and what it needs first comes last in the
	 * line. */
	buf_addf(out, "%s:", set->items[order[--count]]->path);
	while (count > 0)
		buf_addf(out, " %s", set->items[order[--count]]->path);
	buf_add_byte(out, '\n');
	return 0;
}

int module_set_write_dep(const struct module_set *set, struct buf *out, struct err *err)
{
	AUTO_FREE struct module **sorted = mem_alloc(set->count + 1, sizeof(struct module *));
	AUTO_FREE size_t *order = mem_alloc(set->count + 1, sizeof(size_t));
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++)
		if (set->items[i]->path)
			sorted[count++] = set->items[i];
	qsort(sorted, count, sizeof(struct module *), compare_paths);

	for (size_t i = 0; i < count; i++) {
		const int r = write_line(set, sorted[i]->name, order, out, err);

		if (r < 0)
			return r;
	}
	return 0;
}
