/*
 * Module files. Property: what is refused has a kind and a message and leaves the result alone;
 * what is accepted has only names that are safe in a path and a line, in the kernel's own spelling.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernel/modules.h"

static void check_name(const char *name)
{
	if (strlen(name) > MODULE_NAME_MAX || strpbrk(name, "-/. ,\n"))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(modinfo_done) struct modinfo info = { .name = "" };
	struct err err = ERR_INIT;

	if (modinfo_read(span_of(data, size), &info, &err) < 0) {
		if (err.kind == ERR_NONE || err.message[0] == '\0' || info.depends.count > 0 ||
		    info.name[0] != '\0')
			abort();
		return 0;
	}
	check_name(info.name);
	if (info.depends.count > MODULE_DEPENDS_MAX)
		abort();
	for (size_t i = 0; i < info.depends.count; i++) {
		check_name(info.depends.items[i]);
		if (info.depends.items[i][0] == '\0')
			abort();
	}
	return 0;
}
