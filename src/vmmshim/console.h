/*
 * The guest's serial console: what QEMU sends goes to the file that was asked for (kept bounded,
 * see sink.h) or to standard output. It is always read, so that a guest that writes without end
 * holds up neither QEMU nor us. Nothing is typed into it.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "vmmshim/sink.h"

struct console {
	int fd; /* owned; our end of QEMU's serial line, -1 when it ended */
	struct sink sink;
	uint64_t bytes; /* read so far */
};

#define CONSOLE_INIT ((struct console){ .fd = -1, .sink = { .fd = -1 } })

/* `path` NULL: standard output. `fd` is given on success. */
int console_open(struct console *console, const char *path, int fd, struct err *err) MUST_CHECK;

/* Reads what there is. */
void console_step(struct console *console);
void console_done(struct console *console);
