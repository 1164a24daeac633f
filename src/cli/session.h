/*
 * A command or a shell in a VM: asks the daemon for a stream to the guest's agent and pumps
 * standard input, output and error over it, until the command ends. With a terminal: raw mode while
 * it lasts, the window's size passed on, Ctrl-C as a byte. Without: SIGINT, SIGTERM and SIGHUP are
 * passed to the command, and the second of a kind ends this program.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"

struct cli;

struct session {
	const char *vm;		/* name or id */
	const char *vm_name;	/* in messages; NULL: `vm` */
	char *const *argv;	/* NULL-terminated; NULL for a login shell */
	const struct strv *env; /* "NAME=VALUE"; may be NULL */
	const char *cwd;	/* NULL: home */
	const char *user;	/* NULL: root */
	bool has_mise;		/* run the command through mise where folder and guest have it */
	bool has_tty;		/* give the command a terminal */
};

/* The command's exit status (128 + n after a signal), 127 when it does not exist in the guest. */
int session_run(struct cli *cli, const struct session *session, int *ret_status, struct err *err)
	MUST_CHECK;

/* Whether a shell gets a terminal: when standard input is one. */
bool session_is_interactive(const struct cli *cli);

/* An option's rule: NAME=VALUE with a NAME. */
int session_check_env(const char *text, struct err *err) MUST_CHECK;
int session_check_path(const char *text, struct err *err) MUST_CHECK;
