#include "agent/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/bus.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/text.h"

#define PROC_FILE_MAX	65536
#define SSHD_WAIT_MS	300
#define SSHD_LOOK_MS	1
#define SSHD_UP_LOOK_MS 10
#define LOWEST_PRIORITY 19
#define FIELD_PARENT	4
#define FIELD_STACK	28 /* where its stack begins: execve() draws another place */

/* A look at /proc that goes on. */
struct search {
	int proc_fd; /* borrowed */
	struct programs found;
};

static int read_of(int proc_fd, pid_t pid, const char *name, struct buf *ret)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	return file_read(proc_fd, path, PROC_FILE_MAX, ret);
}

bool programs_stat_field(struct span stat, size_t number, uint64_t *ret)
{
	const uint8_t *end = memrchr(stat.ptr, ')', stat.len);
	struct span rest, word;

	/* The name is in parentheses and may have blanks and parentheses itself. */
	if (!end)
		return false;
	rest = span_skip(stat, (size_t)(end - stat.ptr) + 1);
	if (!parse_byte(&rest, ' '))
		return false;
	for (size_t at = 3; at < number; at++) {
		if (!parse_until(&rest, ' ', &word))
			return false;
	}
	return parse_u64(&rest, UINT64_MAX, ret);
}

static uint64_t stat_field_of(int proc_fd, pid_t pid, size_t number)
{
	AUTO_BUF text = BUF_INIT;
	uint64_t value = 0;

	if (read_of(proc_fd, pid, "stat", &text) < 0 ||
	    !programs_stat_field(buf_span(&text), number, &value))
		return 0;
	return value;
}

bool programs_sshd_listens(struct span arguments)
{
	const bool has_title = arguments.len >= 6 && memcmp(arguments.ptr, "sshd: ", 6) == 0;
	struct span word;

	if (has_title)
		return memmem(arguments.ptr, arguments.len, "[listener]", 10) != NULL;
	while (parse_until(&arguments, '\0', &word)) {
		/* For one connection: of inetd, or of a listener. */
		if (span_eq(word, span_str("-i")) || span_eq(word, span_str("-R")))
			return false;
	}
	return true;
}

/* PID 1's own: a container's in the guest is its affair. */
static void take_service(const struct search *search, pid_t pid, pid_t *slot)
{
	if (stat_field_of(search->proc_fd, pid, FIELD_PARENT) == 1)
		*slot = pid;
}

static void take_sshd(struct search *search, pid_t pid)
{
	struct programs *found = &search->found;
	AUTO_BUF arguments = BUF_INIT;

	if (found->sshd_count < PROGRAMS_SSHD_MAX &&
	    read_of(search->proc_fd, pid, "cmdline", &arguments) == 0 &&
	    programs_sshd_listens(buf_span(&arguments)))
		found->sshd[found->sshd_count++] = pid;
}

static int visit_process(void *context, const char *name)
{
	struct search *search = context;
	AUTO_BUF comm = BUF_INIT;
	uint64_t number;
	pid_t pid;

	if (!parse_u64_text(name, INT32_MAX, &number))
		return 0;
	pid = (pid_t)number;
	if (read_of(search->proc_fd, pid, "comm", &comm) < 0)
		return 0;
	/* At most 15 bytes and a newline. */
	if (str_eq(comm.ptr, "sshd\n"))
		take_sshd(search, pid);
	else if (str_eq(comm.ptr, "systemd-journal\n"))
		take_service(search, pid, &search->found.journald);
	else if (str_eq(comm.ptr, "systemd-network\n"))
		take_service(search, pid, &search->found.networkd);
	return 0;
}

int programs_find(struct programs *ret, struct err *err)
{
	AUTO_CLOSE int proc = dir_open("/proc");
	struct search search = { .proc_fd = proc };
	const int r = proc < 0 ? proc : dir_each(proc, visit_process, &search);

	if (r < 0)
		return err_sys(err, r, "look for programs in /proc");
	*ret = search.found;
	return 0;
}

/* Returns when the process has executed itself anew, or is gone. */
static void hang_up(int proc_fd, pid_t pid)
{
	const uint64_t stack = stat_field_of(proc_fd, pid, FIELD_STACK);
	const uint64_t deadline_ns = clock_now_ns() + SSHD_WAIT_MS * NSEC_PER_MSEC;

	if (stack == 0 || kill(pid, SIGHUP) < 0)
		return;
	while (stat_field_of(proc_fd, pid, FIELD_STACK) == stack) {
		if (clock_now_ns() >= deadline_ns) {
			(void)kill(pid, SIGKILL);
			return;
		}
		(void)poll(NULL, 0, SSHD_LOOK_MS);
	}
	(void)setpriority(PRIO_PROCESS, (id_t)pid, LOWEST_PRIORITY);
}

void programs_renew_sshd(const struct programs *programs)
{
	AUTO_CLOSE int proc = dir_open("/proc");

	for (size_t i = 0; proc >= 0 && i < programs->sshd_count; i++)
		hang_up(proc, programs->sshd[i]);
}

/* It says so in its title once it listens, and keeps its number when it executes itself. */
static bool is_up(int proc_fd, pid_t pid)
{
	AUTO_BUF arguments = BUF_INIT;

	return read_of(proc_fd, pid, "cmdline", &arguments) < 0 ||
	       str_starts(arguments.ptr, "sshd: ");
}

static int restore_priority(void *context, const char *name)
{
	const int *proc_fd = context;
	AUTO_BUF comm = BUF_INIT;
	uint64_t pid;

	if (parse_u64_text(name, INT32_MAX, &pid) &&
	    read_of(*proc_fd, (pid_t)pid, "comm", &comm) == 0 && str_eq(comm.ptr, "sshd\n") &&
	    getpriority(PRIO_PROCESS, (id_t)pid) == LOWEST_PRIORITY)
		(void)setpriority(PRIO_PROCESS, (id_t)pid, 0);
	return 0;
}

void programs_restore_sshd(const struct programs *programs, uint64_t deadline_ns)
{
	AUTO_CLOSE int proc = dir_open("/proc");

	if (proc < 0 || programs->sshd_count == 0)
		return;
	for (size_t i = 0; i < programs->sshd_count; i++) {
		while (!is_up(proc, programs->sshd[i]) && clock_now_ns() < deadline_ns)
			(void)poll(NULL, 0, SSHD_UP_LOOK_MS);
	}
	/* Also the processes of connections that came at once, which have inherited it. */
	IGNORE_RESULT(dir_each(proc, restore_priority, &proc));
}

void programs_reload_networkd(const struct programs *programs)
{
	static const struct bus_call reload = {
		.destination = "org.freedesktop.network1",
		.path = "/org/freedesktop/network1",
		.interface = "org.freedesktop.network1.Manager",
		.member = "Reload",
	};
	AUTO_CLOSE int bus = -1;
	struct err err = ERR_INIT;
	struct bus_value nothing;

	if (programs->networkd == 0)
		return;
	bus = bus_connect(BUS_SOCKET_SYSTEM, &err);
	/* Without a bus it is started anew: systemd does that for a service that was killed. */
	if (bus < 0 || bus_call(bus, &reload, &nothing, &err) < 0)
		(void)kill(programs->networkd, SIGKILL);
}

void programs_renew_journald(const struct programs *programs)
{
	if (programs->journald > 0)
		(void)kill(programs->journald, SIGTERM);
}
