#include "agent/console.h"

#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "agent/power.h"
#include "base/buf.h"
#include "base/fd.h"

void console_open(void)
{
	const int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	/* Without one there is nothing to say it on; init goes on all the same. */
	for (int standard = STDIN_FILENO; fd >= 0 && standard <= STDERR_FILENO; standard++) {
		if (fd == standard)
			(void)fcntl(fd, F_SETFD, 0);
		else
			(void)dup2(fd, standard);
	}
	if (fd > STDERR_FILENO)
		fd_close(fd);
}

void console_print(const char *format, ...)
{
	AUTO_BUF line = BUF_INIT;
	va_list args;

	buf_add_str(&line, "banger-init: ");
	va_start(args, format);
	buf_vaddf(&line, format, args);
	va_end(args);
	buf_add_str(&line, "\r\n");
	IGNORE_RESULT(
		fd_write_all(STDERR_FILENO, buf_span(&line))); /* there is nobody else to tell */
}

void console_fatal(const struct err *err)
{
	console_print("%s", err->message);
	power_end(false);
	for (;;)
		(void)pause();
}
