/* What census.c and census_processes.c share. */
#pragma once

#include <jansson.h>

#include "daemon/census.h"
#include "model/vm.h"

struct census {
	struct daemon *daemon;
	pid_t pid;
	const struct vm_list *vms;
	json_t *objects;
};

/* Adds one of ours: of the VM with that id, of none that there is, or (NULL) of banger itself. The
 * object is borrowed, for what else is known of it. */
json_t *census_add(const struct census *census, const char *kind, const char *name,
		   const char *vm_id);
json_t *census_add_foreign(const struct census *census, const char *kind, const char *name);

int census_processes(const struct census *census, struct err *err) MUST_CHECK;
