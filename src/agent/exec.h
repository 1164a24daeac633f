/*
 * Commands in the guest. One process per command watches it: it moves bytes between the stream and
 * the command's pipes or terminal, never faster than either side takes them, and reports how the
 * command ended.
 *
 * Output that a command's own children write after it ended does not hold the end back: what is in
 * the pipes when it ends is sent, then EXIT, as ssh and docker do.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/conn.h"
#include "agent/request.h"
#include "agent/user.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "wire/frame.h"

#define EXEC_GRACE_MS 5000 /* from SIGHUP to SIGKILL when the host is gone */

struct exec_command {
	const struct user *user; /* borrowed */
	const char *cwd;	 /* borrowed; NULL: the user's home, or / where that is missing */
	const char *program;	 /* borrowed; looked up in PATH when it has no slash */
	char *const *argv;	 /* borrowed */
	char *const *env;	 /* borrowed */
	size_t bytes;		 /* of argv and env, for the stack limit */
	bool has_tty;
	struct wire_winsize size;
};

struct exec_process {
	pid_t pid; /* also its process group and session; 0 once reaped */
	int pidfd; /* owned */
	bool has_tty;
	int input;  /* owned: the command's stdin or terminal; -1 once closed */
	int output; /* owned: its stdout or terminal; -1 at the end */
	int errors; /* owned: its stderr; -1 with a terminal, or at the end */
};

#define EXEC_PROCESS_INIT \
	((struct exec_process){ .pidfd = -1, .input = -1, .output = -1, .errors = -1 })

/*
 * In a child just before exec: what a program of the guest gets that is not the agent's own any
 * more (descriptors, room for `arg_bytes` of arguments, umask, the kernel's favour when memory runs
 * out).
 */
void exec_set_limits(size_t arg_bytes);

/*
 * Starts it; returns once the program was executed. ERR_NOT_FOUND names the program or folder that
 * is not there. On success the caller must have it reaped: exec_run() or exec_hang_up().
 */
int exec_spawn(const struct exec_command *command, struct exec_process *ret, struct err *err)
	MUST_CHECK;
void exec_process_done(struct exec_process *process);

/*
 * Moves bytes until the command has ended and the host has its output and EXIT. When the stream
 * ends before, or the host breaks the protocol, the command is hung up.
 */
int exec_run(struct conn *conn, struct wire_reader *reader, struct exec_process *process,
	     bool has_tty, struct err *err) MUST_CHECK;

/* SIGHUP to the process group, SIGKILL after the grace time; reaps. Nothing when it is reaped
 * already. */
void exec_hang_up(struct exec_process *process);

/*
 * The environment: `given` as it came, then HOME, USER, LOGNAME, SHELL, PATH, LANG and, with a
 * terminal, TERM unless given. Pure.
 */
void exec_build_env(const struct user *user, const struct strv *given, bool has_tty,
		    struct strv *ret);

/* The `exec` request. */
int exec_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
