/*
 * One verb, many VMs. The references are resolved first, side by side, so that a VM named twice (by
 * name and by id) is only done once; then the verb runs on all of them side by side. What happened
 * is told in the order given; one failure does not stop the others, and makes the exit status 1.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/strv.h"

struct cli;
struct invocation;
struct opt_parsed;

struct many {
	const char *method;
	const char *phrase; /* "cannot PHRASE 'x'", as bangerd says it */
	/* Adds the parameters beside "vm" from the command's arguments; may be NULL. */
	void (*put_params)(const void *args, json_t *params);
	/* Appends what one line says of a result, after the VM's name and a colon. */
	void (*describe)(const char *name, const json_t *result, struct buf *out);
};

/* Runs it on the invocation's operands; the exit status. */
int many_run(struct cli *cli, const struct invocation *invocation, const struct many *many)
	MUST_CHECK;

/*
 * Only finds them: `ret` gets the ids, each once, in the order given. Who is not found is told at
 * once; the exit status so far.
 */
int many_find(struct cli *cli, const struct opt_parsed *parsed, struct strv *ret) MUST_CHECK;

#define MANY_DESCRIPTION                                                                     \
	"A VM is given by its name, its id, or a unique prefix of either. Several are done " \
	"side by side; one that fails does not stop the others, and the exit status is then 1."
