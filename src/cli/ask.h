/* What most commands are: connect, ask one thing, hand the answer on. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/macros.h"

struct cli;

/* Connects (starting the daemon) and calls `method`; `params` is given and may be NULL. */
int ask(struct cli *cli, const char *method, json_t *params, json_t **ret, struct err *err)
	MUST_CHECK;

/* The same with one parameter. */
int ask_about(struct cli *cli, const char *method, const char *key, const char *value, json_t **ret,
	      struct err *err) MUST_CHECK;

/*
 * Deletes an artifact and says so: the exit status. `what` is "image" or "kernel", and the
 * parameter's name, too.
 */
int ask_to_delete(struct cli *cli, const char *method, const char *what, const char *name)
	MUST_CHECK;

/* Puts "WHAT 'NAME': " in front of an error, unless that names it already. */
void ask_context(struct err *err, const char *what, const char *name);

/* Puts `what` ("cannot run the VM") before the message, unless bangerd says by itself that it could
 * not create one. */
void ask_context_of_making(struct err *err, const char *what);
