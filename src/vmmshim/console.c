#include "vmmshim/console.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"

#define READ_SIZE  8192
#define READS_TURN 16 /* so that others get their turn */

int console_open(struct console *console, const char *path, int fd, struct err *err)
{
	int r;

	if (path) {
		r = sink_open(path, &console->sink);
		if (r < 0)
			return err_sys(err, r, "open the serial output '%s'", path);
	} else {
		sink_borrow(&console->sink, STDOUT_FILENO);
	}
	r = fd_set_nonblocking(fd, true);
	if (r < 0)
		return err_sys(err, r, "prepare the serial console");
	console->fd = fd;
	return 0;
}

void console_step(struct console *console)
{
	char bytes[READ_SIZE];

	for (int i = 0; console->fd >= 0 && i < READS_TURN; i++) {
		const ssize_t n = fd_read_some(console->fd, bytes, sizeof(bytes));

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			fd_assign(&console->fd, -1);
			return;
		}
		console->bytes += (uint64_t)n;
		sink_write(&console->sink, span_of(bytes, (size_t)n));
	}
}

void console_done(struct console *console)
{
	fd_closep(&console->fd);
	sink_done(&console->sink);
}
