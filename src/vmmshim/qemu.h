/*
 * One QEMU process: started confined, watched by its pidfd, its standard error read line by line.
 *
 * Confinement: its own process group, dead when we die (PDEATHSIG), no environment, no descriptors
 * but those of the plan, no_new_privs, no core dumps, and QEMU's own seccomp filter. With a user of
 * its own (confine.h) also namespaces of its own.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/spawn.h"
#include "vmmshim/memory_gate.h"
#include "vmmshim/qemu_args.h"

#define QEMU_MAJOR_MIN	     7	 /* the oldest whose microvm has all that is used here */
#define QEMU_ERROR_LINE_MAX  400 /* of its standard error, per line */
#define QEMU_ERROR_LINES_MAX 200 /* a guest may cause lines: more are counted only */

struct qemu {
	struct process process;
	int qmp_fd;	  /* owned; our ends, -1 when closed */
	int console_fd;	  /* owned, until taken */
	int agent_fd;	  /* owned, until taken; -1 without a vsock device */
	int error_fd;	  /* owned; its standard error */
	int saved_fd;	  /* owned; the device state that it has saved */
	int saved_end_fd; /* owned; what it writes that through, whose offset is shared */
	int saved_number; /* of that in QEMU: /dev/fdset/N */
	int state_number; /* of the device state to load, fd:N */
	struct gate gate; /* of a clone's memory */
	char line[QEMU_ERROR_LINE_MAX + 1];
	size_t line_len;
	char last_line[QEMU_ERROR_LINE_MAX + 1]; /* the last complete one, "" for none */
	unsigned lines;
};

#define QEMU_INIT                                \
	((struct qemu){ .process = PROCESS_INIT, \
			.qmp_fd = -1,            \
			.console_fd = -1,        \
			.agent_fd = -1,          \
			.error_fd = -1,          \
			.saved_fd = -1,          \
			.saved_end_fd = -1,      \
			.gate = GATE_INIT })

/* `settings` without its descriptors. */
int qemu_start(const char *program, const struct vm_config *config,
	       const struct qemu_settings *settings, struct qemu *ret, struct err *err) MUST_CHECK;

/* Reads its standard error; each line goes to the journal, escaped. */
void qemu_read_errors(struct qemu *qemu);

/* Kills what is left and closes everything. */
void qemu_done(struct qemu *qemu);
