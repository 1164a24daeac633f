/*
 * What the user's ssh needs to reach VMs as NAME.vm from any terminal, in two files of banger's own
 * in state/ssh: `config`, which "banger ssh-config --install" has the user's configuration include,
 * and `config.all`, for "banger vm ssh": the same in front of the user's and the system's.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct daemon;

/* Absolute paths, borrowed. */
struct ssh_config_facts {
	const char *program; /* banger */
	const char *config_dir;
	const char *state_dir;
	const char *cache_dir;
	const char *runtime_dir;
	const char *identity;
	const char *known_hosts;
};

/*
 * Appends the text of `config`. ERR_INVALID names a path that ssh's configuration cannot express
 * (one with a quotation mark, a backslash or a control character). Pure.
 */
int ssh_config_format(const struct ssh_config_facts *facts, struct buf *out, struct err *err)
	MUST_CHECK;

/* Writes both files where they differ from what they should be, and appends the text of `config`.
 */
int ssh_config_write(const struct daemon *daemon, struct buf *ret_text, struct err *err) MUST_CHECK;

/* Paths of the two; owned by the caller. */
char *ssh_config_path(const struct daemon *daemon) MUST_CHECK;
char *ssh_config_all_path(const struct daemon *daemon) MUST_CHECK;
