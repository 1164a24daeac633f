/* A VM's workspace as it is recorded, and whether the checkout on the host has moved on since. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/macros.h"
#include "workspace/prepare.h"

struct cli;

/* Asks for the VM; *ret_answer is the caller's. */
int workspace_state_ask(struct cli *cli, const char *vm, json_t **ret_answer, struct err *err)
	MUST_CHECK;

/* Its workspace with "guest_path" and "host_path"; NULL: it has none. Borrowed. */
const json_t *workspace_state_of(const json_t *answer);

/* How the workspace at guest_path was asked for; all NULL: that is not recorded. Borrowed. */
struct workspace_last workspace_state_last(const json_t *answer, const char *guest_path);

/*
 * Ships what is different on the host, as the last prepare did: with its mode, branch and untracked
 * files if that had them. ERR_BAD_STATE when the guest's own work is in the way.
 */
int workspace_state_renew(struct cli *cli, const json_t *answer, struct err *err) MUST_CHECK;

enum workspace_state {
	WORKSPACE_CURRENT,
	WORKSPACE_STALE,   /* HEAD is another commit */
	WORKSPACE_DIRTY,   /* the files, the index, or where --from leads, have changed */
	WORKSPACE_PENDING, /* the last prepare has not ended: the guest may have half of it */
	WORKSPACE_UNKNOWN, /* the checkout is gone, or git cannot look at it */
};

/* Looks at the checkout on the host. Fails only when cancelled; with WORKSPACE_UNKNOWN `err` has
 * the reason. */
int workspace_state_look(struct cli *cli, const json_t *workspace, enum workspace_state *ret,
			 struct err *err) MUST_CHECK;
