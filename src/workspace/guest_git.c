#include "workspace/guest_git.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "guest/exec.h"

#define START_TIMEOUT_MS 30000
#define ERRORS_MAX	 65536
#define ERRORS_SHOWN	 300

static int open_sink(int *ret, struct err *err)
{
	*ret = memfd_create("guest-output", MFD_CLOEXEC);
	return *ret < 0 ? err_sys(err, -errno, "make room for what the guest says") : 0;
}

static int read_sink(int fd, struct buf *ret, struct err *err)
{
	const off_t len = lseek(fd, 0, SEEK_CUR);

	if (len < 0)
		return err_sys(err, -EIO, "read what the guest said");
	if (len == 0)
		return 0;
	buf_reserve(ret, (size_t)len);
	if (lseek(fd, 0, SEEK_SET) < 0 || fd_read_exact(fd, ret->ptr + ret->len, (size_t)len) < 0)
		return err_sys(err, -EIO, "read what the guest said");
	buf_advance(ret, (size_t)len);
	return 0;
}

/* What is told while input is on its way. */
struct feed {
	const struct guest_script *script;
	const struct workspace_way *way;
	uint64_t moved;
	struct span rest; /* of script->input */
};

static ssize_t feed_read(void *context, void *into, size_t size, struct err *err)
{
	struct feed *feed = context;
	const size_t count = feed->rest.len < size ? feed->rest.len : size;

	if (feed->script->read)
		return feed->script->read(feed->script->context, into, size, err);
	if (count > 0)
		memcpy(into, feed->rest.ptr, count);
	feed->rest = span_skip(feed->rest, count);
	return (ssize_t)count;
}

static void feed_moved(void *context, uint64_t bytes)
{
	struct feed *feed = context;
	AUTO_BUF detail = BUF_INIT;

	feed->moved += bytes;
	if (!feed->script->stage)
		return;
	text_size(&detail, feed->moved);
	progress_report(feed->way->progress, feed->script->stage, detail.ptr, 0, 0);
}

static int start(const struct workspace_way *way, const struct guest_script *script, int fd,
		 struct err *err)
{
	/* The guest's own settings could change what plumbing does. */
	static const char *const env[] = { "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
					   "GIT_CONFIG_GLOBAL=/dev/null", NULL };
	AUTO_STRV words = { 0 };
	AUTO_STRV variables = { 0 };
	struct guest_exec exec = { .cwd = "/" };

	strv_add(&words, "sh");
	strv_add(&words, "-c");
	strv_add(&words, script->text);
	strv_add(&words, "banger");
	for (size_t i = 0; script->args && script->args[i]; i++)
		strv_add(&words, script->args[i]);
	for (size_t i = 0; env[i]; i++)
		strv_add(&variables, env[i]);
	exec.argv = strv_argv(&words);
	exec.env = strv_argv(&variables);
	return guest_exec_start(fd, &exec, way->cancel,
				clock_now_ns() + START_TIMEOUT_MS * NSEC_PER_MSEC, NULL, err);
}

/* Begins with one of the words by which git says why it ends. */
static bool is_reason(struct span line)
{
	return parse_literal(&line, "fatal: ") || parse_literal(&line, "error: ");
}

struct span guest_git_reason(struct span said)
{
	struct span last = span_of("", 0), line;

	while (said.len > 0) {
		if (!parse_until(&said, '\n', &line)) {
			line = said;
			said.len = 0;
		}
		if (line.len > 0)
			last = line;
		if (is_reason(line))
			return line;
	}
	return last;
}

static int explain(const struct guest_script *script, int status, const struct buf *said,
		   struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	text_escape(&text, guest_git_reason(buf_span(said)), ERRORS_SHOWN);
	r = err_set(err, ERR_SYSTEM, "cannot %s: status %d in the guest%s%s", script->what, status,
		    text.len ? ": " : "", text.ptr);
	if (text.ptr && strstr(text.ptr, ".lock': File exists"))
		err_hint(err,
			 "another git or prepare is at work there: wait for it; or remove that "
			 "file in the guest, where one was killed");
	return r;
}

int guest_script_hold(const struct workspace_way *way, const struct guest_script *script,
		      int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = way->open(way->context, &fd, err);
	if (r == 0)
		r = start(way, script, fd, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int guest_script_run(const struct workspace_way *way, const struct guest_script *script,
		     struct buf *ret, struct err *err)
{
	const size_t output_max = script->output_max ? script->output_max : GUEST_SAID_MAX;
	struct feed feed = { .script = script, .way = way, .rest = script->input };
	struct guest_exec_status status = { .status = 0 };
	AUTO_CLOSE int errors_fd = -1;
	AUTO_CLOSE int output_fd = -1;
	AUTO_CLOSE int fd = -1;
	AUTO_BUF said = BUF_INIT;
	int r;

	r = way->open(way->context, &fd, err);
	if (r == 0)
		r = start(way, script, fd, err);
	if (r == 0)
		r = open_sink(&errors_fd, err);
	if (r == 0 && ret)
		r = open_sink(&output_fd, err);
	if (r < 0)
		return r;
	const struct guest_exec_io io = {
		.stdin_fd = script->input_fd,
		.stdout_fd = output_fd,
		.stderr_fd = errors_fd,
		.stdout_max = output_max,
		.stderr_max = ERRORS_MAX,
		.signal_fd = -1,
		.window_fd = -1,
		.cancel = way->cancel,
		.read = script->input_fd < 0 ? feed_read : NULL,
		.moved = feed_moved,
		.context = &feed,
	};

	r = guest_exec_run(fd, &io, &status, err);
	if (r < 0)
		return r;
	r = read_sink(errors_fd, &said, err);
	if (r == 0 && ret)
		r = read_sink(output_fd, ret, err);
	if (r < 0)
		return r;
	if (script->ret_status)
		*script->ret_status = status.status;
	if (status.status != 0 && !(script->ret_status && status.status == script->other_status))
		return explain(script, status.status, &said, err);
	return 0;
}
