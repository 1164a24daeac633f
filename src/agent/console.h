/* What init says on the console: one line a message, "banger-init: ...". */
#pragma once

#include "base/err.h"
#include "base/macros.h"

/* Gives this process /dev/console as standard input, output and error where it has none. */
void console_open(void);

void console_print(const char *format, ...) PRINTF_LIKE(1, 2);

/* Says what failed and ends the machine, so that the VMM ends and the host shows this line. */
NORETURN void console_fatal(const struct err *err);
