/*
 * modules.dep and modules.builtin, which share the input at its first empty line. Property: when
 * modules.dep can be written again, it can be read again, and the order of loading that it gives
 * for a module is the module last, and before it exactly what its line names.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "fuzz.h"
#include "kernel/modules.h"

/* One line of the file that was written: "path: path path". */
static void check_line(const struct module_set *set, char *line)
{
	AUTO_STRV paths = { 0 };
	char name[MODULE_NAME_MAX + 1];
	const char *const names[] = { name };
	char *rest = strchr(line, ':');
	struct err err = ERR_INIT;
	size_t count = 1;

	if (!rest)
		abort();
	*rest++ = '\0';
	if (!module_name_of_path(line, name) || module_set_order(set, names, 1, &paths, &err) < 0 ||
	    paths.count == 0 || strcmp(paths.items[paths.count - 1], line) != 0)
		abort();
	while (*rest == ' ') {
		char *end = strchrnul(++rest, ' ');
		const bool is_last = *end == '\0';

		*end = '\0';
		if (!strv_has(&paths, rest))
			abort();
		count++;
		rest = end;
		if (!is_last)
			*rest = ' ';
	}
	if (count != paths.count)
		abort();
}

static void check_again(const struct buf *text, size_t count)
{
	CLEANUP(module_set_freep) struct module_set *set = module_set_new();
	struct span rest = buf_span(text);
	struct err err = ERR_INIT;
	struct span line;

	if (module_set_parse_dep(set, rest, &err) < 0 || module_set_count(set) != count)
		abort();
	while (parse_until(&rest, '\n', &line)) {
		AUTO_FREE char *copy = mem_strndup((const char *)line.ptr, line.len);

		check_line(set, copy);
	}
	if (rest.len > 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(module_set_freep) struct module_set *set = module_set_new();
	const struct span whole = span_of(data, size);
	const uint8_t *gap = size > 0 ? memmem(data, size, "\n\n", 2) : NULL;
	const size_t dep_size = gap ? (size_t)(gap - data) + 1 : size;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	if (module_set_parse_dep(set, span_of(data, dep_size), &err) < 0 ||
	    module_set_add_builtin(set, span_skip(whole, dep_size), &err) < 0 ||
	    module_set_write_dep(set, &text, &err) < 0) {
		if (err.kind == ERR_NONE || err.message[0] == '\0')
			abort();
		return 0;
	}
	check_again(&text, module_set_count(set));
	return 0;
}
