/*
 * The tools of a checkout that has a mise file (https://mise.jdx.dev): whether there is one, before
 * a VM is made, and their installation in the guest.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "workspace/git.h"

struct cli;

#define BOOTSTRAP_LOG "/root/.cache/banger/mise.log" /* in the guest */

/*
 * The mise file that the guest will get, at the top of the checkout; NULL in *ret: none. One that
 * is not tracked goes along only with `includes_untracked`.
 */
int bootstrap_find(struct cli *cli, const struct git *git, bool includes_untracked,
		   const char **ret, struct err *err) MUST_CHECK;

/* ERR_INVALID with both ways out: it needs a network that the VM is not to have. */
int bootstrap_refuse(const char *file, struct err *err) MUST_CHECK;

/*
 * Installs in the folder of the guest; its log is BOOTSTRAP_LOG there. With `waits` until it has
 * ended: a failure is told and sets *ret_failed; else it goes on by itself. A guest without mise is
 * told, and is no failure.
 */
int bootstrap_run(struct cli *cli, const char *vm, const char *folder, bool waits, bool *ret_failed,
		  struct err *err) MUST_CHECK;
