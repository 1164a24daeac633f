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
#define LOWEST_PRIORITY 19
#define FIELD_PARENT	4
#define FIELD_STACK	28 /* where its stack begins: execve() draws another place */

struct search {
	const char *comm; /* borrowed; as the kernel has it: at most 15 bytes */
	int proc_fd;	  /* borrowed */
	size_t count;
	pid_t pids[PROGRAMS_SSHD_MAX];
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

static int visit_process(void *context, const char *name)
{
	struct search *search = context;
	AUTO_BUF comm = BUF_INIT;
	uint64_t pid;

	if (!parse_u64_text(name, INT32_MAX, &pid) ||
	    read_of(search->proc_fd, (pid_t)pid, "comm", &comm) < 0 || comm.len == 0)
		return 0;
	buf_truncate(&comm, comm.len - 1);
	if (str_eq(comm.ptr, search->comm) && search->count < PROGRAMS_SSHD_MAX)
		search->pids[search->count++] = (pid_t)pid;
	return 0;
}

/* Fills `search` and returns a descriptor of /proc, or -errno. */
static int find(struct search *search)
{
	AUTO_CLOSE int proc = dir_open("/proc");
	int r;

	if (proc < 0)
		return proc;
	search->proc_fd = proc;
	r = dir_each(proc, visit_process, search);
	return r < 0 ? r : TAKE_FD(proc);
}

/* PID 1's own: a container's in the guest is its affair. */
static pid_t find_child_of_init(const char *comm)
{
	struct search search = { .comm = comm };
	AUTO_CLOSE int proc = find(&search);

	for (size_t i = 0; proc >= 0 && i < search.count; i++) {
		if (stat_field_of(proc, search.pids[i], FIELD_PARENT) == 1)
			return search.pids[i];
	}
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

int programs_renew_sshd(struct err *err)
{
	struct search search = { .comm = "sshd" };
	AUTO_CLOSE int proc = find(&search);

	if (proc < 0)
		return err_sys(err, proc, "look for sshd in /proc");
	for (size_t i = 0; i < search.count; i++) {
		AUTO_BUF arguments = BUF_INIT;

		if (read_of(proc, search.pids[i], "cmdline", &arguments) == 0 &&
		    programs_sshd_listens(buf_span(&arguments)))
			hang_up(proc, search.pids[i]);
	}
	return 0;
}

void programs_restore_sshd(void)
{
	struct search search = { .comm = "sshd" };
	AUTO_CLOSE int proc = find(&search);

	for (size_t i = 0; proc >= 0 && i < search.count; i++) {
		const id_t id = (id_t)search.pids[i];

		/* Connections that came meanwhile have inherited it. */
		if (getpriority(PRIO_PROCESS, id) == LOWEST_PRIORITY)
			(void)setpriority(PRIO_PROCESS, id, 0);
	}
}

void programs_reload_networkd(void)
{
	static const struct bus_call reload = {
		.destination = "org.freedesktop.network1",
		.path = "/org/freedesktop/network1",
		.interface = "org.freedesktop.network1.Manager",
		.member = "Reload",
	};
	const pid_t pid = find_child_of_init("systemd-network");
	AUTO_CLOSE int bus = -1;
	struct err err = ERR_INIT;
	struct bus_value nothing;

	if (pid == 0)
		return;
	bus = bus_connect(BUS_SOCKET_SYSTEM, &err);
	/* Without a bus it is started anew: systemd does that for a service that was killed. */
	if (bus < 0 || bus_call(bus, &reload, &nothing, &err) < 0)
		(void)kill(pid, SIGKILL);
}

void programs_renew_journald(void)
{
	const pid_t pid = find_child_of_init("systemd-journal");

	if (pid > 0)
		(void)kill(pid, SIGTERM);
}
