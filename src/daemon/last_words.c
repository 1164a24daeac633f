#include "daemon/last_words.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "vmm/supervise.h"

#define TAIL_BYTES     16384 /* a panic's registers and stack are about 3 KiB */
#define LOG_LINES      2
#define CONSOLE_LINES  20
#define PANIC_LINE_MAX 200

/* Appends the end of a file; nothing when it cannot be read. */
static void read_tail(const char *path, struct buf *ret)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;
	off_t from;
	ssize_t n;

	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return;
	from = status.st_size > TAIL_BYTES ? status.st_size - TAIL_BYTES : 0;
	buf_reserve(ret, TAIL_BYTES);
	n = pread(fd, ret->ptr + ret->len, TAIL_BYTES, from);
	if (n > 0)
		buf_advance(ret, (size_t)n);
}

/* The last line that is not blank; empty when there is none. */
static struct span last_line(struct span text)
{
	size_t begin;

	while (text.len > 0 && strchr("\r\n\t ", text.ptr[text.len - 1]))
		text.len--;
	begin = text.len;
	while (begin > 0 && text.ptr[begin - 1] != '\n')
		begin--;
	return span_skip(text, begin);
}

static bool has(struct span line, const char *part)
{
	return memmem(line.ptr, line.len, part, strlen(part)) != NULL;
}

static bool ends_with(struct span line, const char *end)
{
	const size_t len = strlen(end);

	return line.len >= len && memcmp(line.ptr + line.len - len, end, len) == 0;
}

bool last_words_log_is_good(struct span log)
{
	const struct span line = last_line(log);

	return ends_with(line, "banger-vmm ends, exit status 0") ||
	       ends_with(line, "Firecracker exiting successfully. exit_code=0");
}

bool last_words_is_panic(struct span console, struct span *ret_line)
{
	const struct span end = last_line(console);
	struct span line;

	/* Later than any word of an earlier boot, and the last that the kernel says. */
	if (!has(end, "Rebooting in ") || !ends_with(end, " seconds.."))
		return false;
	*ret_line = span_of(NULL, 0);
	while (parse_until(&console, '\n', &line)) {
		if (has(line, "Kernel panic - not syncing: "))
			*ret_line = line;
	}
	return true;
}

static void add_console(const char *path, struct buf *out)
{
	buf_add_str(out, "; console: ");
	vmm_log_tail(path, CONSOLE_LINES, out);
}

static char *describe_panic(const char *console_path, struct span line)
{
	AUTO_BUF text = BUF_INIT;

	while (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	buf_add_str(&text, "the guest's kernel panicked");
	if (line.len > 0) {
		buf_add_str(&text, ": ");
		text_escape(&text, line, PANIC_LINE_MAX);
	}
	add_console(console_path, &text);
	return buf_detach(&text);
}

static char *describe_end(const char *console_path, const char *log_path,
			  const struct vmm_exit *status)
{
	AUTO_BUF text = BUF_INIT;

	buf_add_str(&text, "the VMM ");
	if (status)
		vmm_exit_text(status, &text);
	else
		buf_add_str(&text, "ended in disorder");
	buf_add_str(&text, "; log: ");
	vmm_log_tail(log_path, LOG_LINES, &text);
	add_console(console_path, &text);
	return buf_detach(&text);
}

char *last_words(const char *console_path, const char *log_path, const struct vmm_exit *status)
{
	AUTO_BUF console = BUF_INIT;
	AUTO_BUF log = BUF_INIT;
	struct span panic;
	bool is_good;

	read_tail(log_path, &log);
	is_good = status ? status->code == CLD_EXITED && status->status == 0
			 : last_words_log_is_good(buf_span(&log));
	if (!is_good)
		return describe_end(console_path, log_path, status);
	read_tail(console_path, &console);
	if (last_words_is_panic(buf_span(&console), &panic))
		return describe_panic(console_path, panic);
	return NULL;
}
