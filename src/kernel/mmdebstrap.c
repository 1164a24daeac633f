#include "kernel/mmdebstrap.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/apt_sources.h"
#include "kernel/mmdebstrap_group.h"

#define APT_FOLDER "/etc/apt"
#define TIMEOUT_MS (60ULL * 60 * 1000)
#define QUOTED_MAX 300 /* bytes of its messages in an error */
#define DETAIL_MAX 200 /* bytes of a progress line */

struct mmdebstrap {
	struct process process;
	int tar_fd;	   /* owned; -1 at the end of the tar */
	int message_fd;	   /* owned; its stderr, not blocking; -1 at the end */
	struct buf tail;   /* the end of what it said */
	struct buf line;   /* its unfinished last line */
	char *shared_dir;  /* owned: what it works in below /var/tmp, or NULL */
	const char *stage; /* borrowed from the request */
	uint64_t deadline_ns;
	bool is_reaped;
	int status;
};

/* --- Starting and stopping --- */

void mmdebstrap_free(struct mmdebstrap *run)
{
	if (!run)
		return;
	/* Nobody reads any more: whoever still writes gets SIGPIPE and ends. */
	fd_closep(&run->tar_fd);
	fd_closep(&run->message_fd);
	if (run->process.pid > 0)
		group_stop(run->process.pid, run->process.pidfd);
	process_kill(&run->process);
	if (run->shared_dir)
		group_remove_shared(run->shared_dir);
	mem_free(run->shared_dir);
	buf_done(&run->tail);
	buf_done(&run->line);
	mem_free(run);
}

/* Makes the folder for mode "unshare", which other ids must be able to enter. */
static int make_shared_dir(struct mmdebstrap *run, struct err *err)
{
	char path[] = GROUP_SHARED_PREFIX "XXXXXX";

	if (!mkdtemp(path))
		return err_sys(err, -errno, "make a folder below '/var/tmp'");
	run->shared_dir = mem_strdup(path);
	if (chmod(path, 0755) < 0)
		return err_sys(err, -errno, "open '%s' to subordinate ids", path);
	return 0;
}

static void add_variable(struct strv *environment, const char *name)
{
	const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody calls setenv()

	if (value)
		strv_addf(environment, "%s=%s", name, value);
}

static void fill_environment(struct strv *environment, const char *temporary_dir)
{
	static const char *const passed[] = {
		"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "SOURCE_DATE_EPOCH", "HOME",
	};

	strv_add(environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	strv_add(environment, "LC_ALL=C.UTF-8");
	strv_add(environment, "DEBIAN_FRONTEND=noninteractive");
	strv_addf(environment, "TMPDIR=%s", temporary_dir);
	for (size_t i = 0; i < ARRAY_LEN(passed); i++)
		add_variable(environment, passed[i]);
}

static const char *mode_for(const struct mmdebstrap_request *request)
{
	if (!request->owners_matter)
		return "chrootless";
	return geteuid() == 0 ? "root" : "unshare";
}

static int fill_arguments(const struct mmdebstrap_request *request, struct strv *arguments,
			  struct err *err)
{
	// NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv()
	const char *mirror = getenv(MMDEBSTRAP_MIRROR_VARIABLE);
	int r;

	/* "-" would read the package sources from standard input. */
	if (mirror && (mirror[0] == '\0' || mirror[0] == '-'))
		return err_set(err, ERR_INVALID, "%s='%s' is no mirror", MMDEBSTRAP_MIRROR_VARIABLE,
			       mirror);

	strv_add(arguments, MMDEBSTRAP_PROGRAM);
	strv_addf(arguments, "--variant=%s", request->variant);
	strv_addf(arguments, "--mode=%s", mode_for(request));
	strv_add(arguments, "--format=tar");
	strv_add(arguments, "--architectures=amd64");
	for (size_t i = 0; i < request->package_count; i++)
		strv_addf(arguments, "--include=%s", request->packages[i]);
	for (size_t i = 0; i < request->option_count; i++)
		strv_add(arguments, request->options[i]);
	strv_add(arguments, "--");
	strv_add(arguments, request->suite);
	strv_add(arguments, "-");
	if (mirror) {
		strv_add(arguments, mirror);
		return 0;
	}
	/* Without any, mmdebstrap takes Debian's own. */
	r = apt_sources_read(APT_FOLDER, request->suite, arguments);
	return r < 0 ? err_sys(err, r, "read the package sources in '%s'", APT_FOLDER) : 0;
}

static int start_process(struct mmdebstrap *run, const struct mmdebstrap_request *request,
			 struct err *err)
{
	AUTO_STRV arguments = { 0 };
	AUTO_STRV environment = { 0 };
	AUTO_CLOSE int tar_end = -1;
	AUTO_CLOSE int message_end = -1;
	struct spawn spawn = { .path = MMDEBSTRAP_PROGRAM, .cwd = "/", .new_process_group = true };
	int ends[2];
	int r;

	r = fill_arguments(request, &arguments, err);
	if (r < 0)
		return r;
	fill_environment(&environment, run->shared_dir ? run->shared_dir : request->work_dir_path);

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "start '%s'", MMDEBSTRAP_PROGRAM);
	run->tar_fd = ends[0];
	tar_end = ends[1];
	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "start '%s'", MMDEBSTRAP_PROGRAM);
	run->message_fd = ends[0];
	message_end = ends[1];
	r = fd_set_nonblocking(run->message_fd, true);
	if (r < 0)
		return err_sys(err, r, "start '%s'", MMDEBSTRAP_PROGRAM);

	spawn.argv = strv_argv(&arguments);
	spawn.envp = strv_argv(&environment);
	spawn_add_fd(&spawn, tar_end, STDOUT_FILENO);
	spawn_add_fd(&spawn, message_end, STDERR_FILENO);
	r = spawn_start(&spawn, &run->process, err);
	if (r < 0 && err->errnum == ENOENT)
		err_hint(err, "install Debian's package of that name: apt-get install mmdebstrap");
	return r;
}

int mmdebstrap_start(const struct mmdebstrap_request *request, struct mmdebstrap **ret,
		     struct err *err)
{
	CLEANUP(mmdebstrap_freep) struct mmdebstrap *run = mem_alloc(1, sizeof(*run));
	const uint64_t timeout_ms = request->timeout_ms ? request->timeout_ms : TIMEOUT_MS;
	int r;

	assert(request->owners_matter || str_eq(request->variant, "extract"));
	run->process = PROCESS_INIT;
	run->tar_fd = -1;
	run->message_fd = -1;
	run->tail = BUF_INIT;
	run->line = BUF_INIT;
	run->stage = request->stage;
	run->deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;

	if (request->owners_matter && geteuid() != 0) {
		r = make_shared_dir(run, err);
		if (r < 0)
			return r;
	}
	r = start_process(run, request, err);
	if (r < 0)
		return r;
	r = group_write_identity(run->process.pid, run->shared_dir, request->work_dir_fd, err);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(run);
	return 0;
}

/* --- Its messages --- */

/* "I: running apt-get update..." is a step that it has begun; all else, warnings too, stays in the
 * tail. */
static void report_line(const struct mmdebstrap *run, struct span line,
			const struct progress *progress)
{
	AUTO_BUF detail = BUF_INIT;
	const size_t dots = 3;

	if (!parse_literal(&line, "I: ") || line.len <= dots ||
	    memcmp(line.ptr + line.len - dots, "...", dots) != 0)
		return;
	line.len -= dots;
	if (parse_literal(&line, "removing tempdir"))
		return;
	text_escape(&detail, line, DETAIL_MAX);
	progress_report(progress, run->stage, detail.ptr, 0, 0);
}

static void take_messages(struct mmdebstrap *run, struct span text, const struct progress *progress)
{
	struct span line;
	struct span rest;

	buf_add(&run->tail, text);
	if (run->tail.len > MMDEBSTRAP_TAIL_SIZE)
		buf_consume(&run->tail, run->tail.len - MMDEBSTRAP_TAIL_SIZE);

	buf_add(&run->line, text);
	rest = buf_span(&run->line);
	while (parse_until(&rest, '\n', &line))
		report_line(run, line, progress);
	buf_consume(&run->line, run->line.len - rest.len);
	/* A line without end is no step. */
	if (run->line.len > MMDEBSTRAP_TAIL_SIZE)
		buf_clear(&run->line);
}

/* Takes what is there. 0 or -errno. */
static int read_messages(struct mmdebstrap *run, const struct progress *progress)
{
	uint8_t bytes[4096];
	const ssize_t n = fd_read_some(run->message_fd, bytes, sizeof(bytes));

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	if (n == 0)
		fd_closep(&run->message_fd);
	else
		take_messages(run, span_of(bytes, (size_t)n), progress);
	return 0;
}

/* Its errors are the lines with "E: "; the first says why, the others follow from it. Else the end
 * of all. */
static void quote_tail(const struct mmdebstrap *run, struct buf *out)
{
	struct span rest = buf_span(&run->tail);
	struct span best = rest;
	struct span line;

	while (parse_until(&rest, '\n', &line)) {
		if (!parse_literal(&line, "E: "))
			continue;
		best = line;
		break;
	}
	while (best.len > 0 && best.ptr[best.len - 1] == '\n')
		best.len--;
	if (best.len > QUOTED_MAX)
		best = span_skip(best, best.len - QUOTED_MAX);
	text_escape(out, best, QUOTED_MAX);
}

/* --- Reading --- */

/* Waits for bytes of the tar or messages; either may be closed already. */
static int wait_for_output(struct mmdebstrap *run, const struct cancel *cancel,
			   struct pollfd waits[static 3])
{
	int r;

	waits[0] = (struct pollfd){ .fd = run->tar_fd, .events = POLLIN };
	waits[1] = (struct pollfd){ .fd = run->message_fd, .events = POLLIN };
	waits[2] = (struct pollfd){ .fd = cancel ? cancel->fd : -1, .events = POLLIN };
	do
		r = poll(waits, 3, clock_poll_ms(run->deadline_ns));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (waits[2].revents || cancel_is_fired(cancel))
		return -ECANCELED;
	return r == 0 && clock_now_ns() >= run->deadline_ns ? -ETIMEDOUT : 0;
}

/* The tar has ended: takes the last messages and the exit status. */
static int finish(struct mmdebstrap *run, const struct cancel *cancel,
		  const struct progress *progress, struct err *err)
{
	AUTO_BUF quoted = BUF_INIT;
	int r;

	while (run->message_fd >= 0) {
		struct pollfd waits[3];

		r = wait_for_output(run, cancel, waits);
		if (r == 0 && waits[1].revents)
			r = read_messages(run, progress);
		if (r < 0)
			return err_sys(err, r, "run '%s'", MMDEBSTRAP_PROGRAM);
	}
	if (!run->is_reaped) {
		const pid_t leader = run->process.pid;

		r = cancel_poll(cancel, run->process.pidfd, POLLIN, run->deadline_ns);
		if (r < 0)
			return err_sys(err, r, "run '%s'", MMDEBSTRAP_PROGRAM);
		/* While it is not reaped, the number of its group cannot be anyone else's. */
		(void)kill(-leader, SIGKILL);
		r = process_wait(&run->process, NULL, UINT64_MAX, &run->status);
		if (r < 0)
			return err_sys(err, r, "wait for '%s'", MMDEBSTRAP_PROGRAM);
		run->is_reaped = true;
	}
	if (WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0)
		return 0;

	quote_tail(run, &quoted);
	r = err_set(err, ERR_SYSTEM, "'%s' failed: %s", MMDEBSTRAP_PROGRAM,
		    quoted.len > 0 ? quoted.ptr : "it said nothing");
	err_hint(err, "it needs a Debian mirror; set %s to the URL of one that this host reaches",
		 MMDEBSTRAP_MIRROR_VARIABLE);
	return r;
}

ssize_t mmdebstrap_read(struct mmdebstrap *run, void *into, size_t size,
			const struct cancel *cancel, const struct progress *progress,
			struct err *err)
{
	while (run->tar_fd >= 0) {
		struct pollfd waits[3];
		ssize_t n;
		int r;

		r = wait_for_output(run, cancel, waits);
		if (r == 0 && waits[1].revents)
			r = read_messages(run, progress);
		if (r < 0)
			return err_sys(err, r, "run '%s'", MMDEBSTRAP_PROGRAM);
		if (!waits[0].revents)
			continue;
		n = fd_read_some(run->tar_fd, into, size);
		if (n < 0)
			return err_sys(err, (int)n, "read from '%s'", MMDEBSTRAP_PROGRAM);
		if (n > 0)
			return n;
		fd_closep(&run->tar_fd);
	}
	return finish(run, cancel, progress, err);
}

int mmdebstrap_drain(struct mmdebstrap *run, const struct cancel *cancel,
		     const struct progress *progress, struct err *err)
{
	uint8_t bytes[8192];
	ssize_t n;

	do
		n = mmdebstrap_read(run, bytes, sizeof(bytes), cancel, progress, err);
	while (n > 0);
	return (int)n;
}
