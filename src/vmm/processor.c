#include "vmm/processor.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"

#define CPUINFO	      "/proc/cpuinfo"
#define CPUINFO_BYTES 65536 /* its first processor, of at most some kilobytes, is all we want */

/* Names of lines. "address sizes" is how much memory a guest believes that it can address. */
static const char *const kept[] = {
	"vendor_id",
	"cpu family",
	"model",
	"stepping",
	"flags",
	"address sizes",
	/* Arm */
	"CPU implementer",
	"CPU architecture",
	"CPU variant",
	"CPU part",
	"CPU revision",
	"Features",
};

/* What is before the colon, without the tabs that align it. */
static bool name_of(struct span line, struct span *ret)
{
	if (!parse_until(&line, ':', ret))
		return false;
	while (ret->len > 0 && (ret->ptr[ret->len - 1] == '\t' || ret->ptr[ret->len - 1] == ' '))
		ret->len--;
	return true;
}

static bool is_kept(struct span line)
{
	struct span name;

	if (!name_of(line, &name))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (span_eq(name, span_str(kept[i])))
			return true;
	}
	return false;
}

void processor_describe(struct span cpuinfo, struct buf *out)
{
	struct span line;

	/* An empty line ends each processor. */
	while (parse_until(&cpuinfo, '\n', &line) && line.len > 0) {
		if (!is_kept(line))
			continue;
		buf_add(out, line);
		buf_add_byte(out, '\n');
	}
}

int processor_read(struct buf *out, struct err *err)
{
	AUTO_CLOSE int fd = open(CPUINFO, O_RDONLY | O_CLOEXEC);
	AUTO_BUF text = BUF_INIT;
	ssize_t n = 1;

	if (fd < 0)
		return err_sys(err, -errno, "open '" CPUINFO "'");
	buf_reserve(&text, CPUINFO_BYTES);
	/* The kernel gives it in pieces. */
	while (n > 0 && text.len < CPUINFO_BYTES) {
		n = fd_read_some(fd, text.ptr + text.len, CPUINFO_BYTES - text.len);
		if (n > 0)
			buf_advance(&text, (size_t)n);
	}
	if (n < 0)
		return err_sys(err, (int)n, "read '" CPUINFO "'");
	processor_describe(buf_span(&text), out);
	return 0;
}
