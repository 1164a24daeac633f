/*
 * Signals of the program. The first SIGINT, SIGTERM or SIGHUP fires the cancel, so that what runs
 * ends in order: the daemon undoes what it had begun and the terminal is put back. A second one
 * ends the program at once with 128 + n. Whatever ends or stops it (SIGTSTP too) finds the terminal
 * as it was before.
 *
 * Only handlers change the state here; there is one per process, as signals are the process's.
 */
#pragma once

#include "base/cancel.h"
#include "base/macros.h"

/* Installs the handlers; `cancel` is borrowed until signals_done(). SIGPIPE is ignored from now on.
 */
int signals_init(struct cancel *cancel) MUST_CHECK;

/* There is nothing left to undo: what ends the program from now on ends it at once. */
void signals_done(void);

/* The signal that fired the cancel first, 0 while there is none. */
int signals_caught(void);

enum signals_mode {
	SIGNALS_CANCEL,	  /* as above; the terminal's size is nobody's business */
	SIGNALS_TERMINAL, /* as above, and SIGWINCH is recorded (also after SIGCONT) */
	SIGNALS_COMMAND,  /* the first of each ending signal is recorded instead of cancelling */
};

/*
 * The descriptor that is readable with records as a signalfd gives them, one for each signal that
 * the mode records. A pipe, not a signalfd: handlers must decide first (a second Ctrl-C ends the
 * program even when nobody reads), and those do not run for blocked signals.
 */
int signals_fd(void);
void signals_set_mode(enum signals_mode mode);

/*
 * Puts the terminal of `fd` into raw mode until signals_restore_terminal(), which is safe to call
 * at any time and more than once, and which every ending signal calls by itself. 0 or -errno.
 */
int signals_raw_terminal(int fd) MUST_CHECK;
void signals_restore_terminal(void);
