#include "agent/own_init.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/console.h"
#include "agent/power.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"

#define POLL_MS		 20   /* between looks at who is left */
#define KILL_MS		 2000 /* what has not gone by then hangs in the kernel */
#define AGENT_RESTART_MS 1000

static void reap_all(struct own_init *init)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (pid == init->agent) {
			init->agent = 0;
			/* Not at once: should it die at every start, the machine must not be busy
			 * with it. */
			init->restart_ns = clock_now_ns() + AGENT_RESTART_MS * NSEC_PER_MSEC;
		}
	}
}

struct census {
	int proc;
	pid_t spared; /* 0: nobody */
	size_t count;
};

static int visit_process(void *context, const char *name)
{
	struct census *census = context;
	AUTO_CLOSE int folder = -1;
	AUTO_CLOSE int fd = -1;
	uint64_t pid;
	char first = '\0';

	if (!parse_u64_text(name, INT32_MAX, &pid) || pid == 1 || (pid_t)pid == census->spared)
		return 0;
	folder = dir_open_at(census->proc, name);
	if (folder >= 0)
		fd = openat(folder, "cmdline", O_RDONLY | O_CLOEXEC);
	/* Kernel threads and zombies have no command line; '@' is the agent's own kind. */
	if (fd >= 0 && read(fd, &first, 1) == 1 && (first != '@' || census->spared == 0))
		census->count++;
	return 0;
}

/* The processes besides us and the kernel's; with `spared`, besides the agent's too. */
static size_t processes_left(pid_t spared)
{
	AUTO_CLOSE int proc = dir_open("/proc");
	struct census census = { .proc = proc, .spared = spared };

	if (proc < 0 || dir_each(proc, visit_process, &census) < 0)
		return 0;
	return census.count;
}

/* Waits until nobody is left, reaping, for `wait_ms` at most. */
static void await_gone(struct own_init *init, pid_t spared, uint64_t wait_ms)
{
	const uint64_t deadline_ns = clock_now_ns() + wait_ms * NSEC_PER_MSEC;

	do {
		reap_all(init);
		if (processes_left(spared) == 0)
			return;
		(void)poll(NULL, 0, POLL_MS);
	} while (clock_now_ns() < deadline_ns);
}

static NORETURN void shut_down(struct own_init *init, bool is_reboot)
{
	/* Shells on terminals ignore SIGTERM and end with SIGHUP; what is stopped must go on to
	 * end. */
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGHUP);
	(void)kill(-1, SIGCONT);
	await_gone(init, init->agent > 0 ? init->agent : -1, OWN_INIT_GRACE_MS);
	(void)kill(-1, SIGKILL);
	await_gone(init, 0, KILL_MS);

	sync();
	/* What cannot be unmounted is still clean: its journal is on disk. */
	(void)umount2("/root", 0);
	(void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	power_end(is_reboot);
	console_print("the machine cannot be ended");
	for (;;)
		(void)pause();
}

static sigset_t awaited_signals(void)
{
	sigset_t awaited;

	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, POWER_SIGNAL_OFF);
	sigaddset(&awaited, POWER_SIGNAL_REBOOT);
	return awaited;
}

void own_init_prepare(void)
{
	const sigset_t awaited = awaited_signals();

	(void)sigprocmask(SIG_SETMASK, &awaited, NULL); // NOLINT(concurrency-mt-unsafe): one thread
	/* Ctrl-Alt-Del comes to us as SIGINT instead of resetting the machine. */
	(void)reboot(RB_DISABLE_CAD);
}

void own_init_run(struct own_init *init)
{
	const sigset_t awaited = awaited_signals();
	const struct timespec restart_pause = { .tv_sec = AGENT_RESTART_MS / 1000 };

	for (;;) {
		const int number = init->agent > 0 ? sigwaitinfo(&awaited, NULL)
						   : sigtimedwait(&awaited, NULL, &restart_pause);

		if (number > 0 && number != SIGCHLD)
			shut_down(init, number == POWER_SIGNAL_REBOOT);
		reap_all(init);
		if (init->agent <= 0 && clock_now_ns() >= init->restart_ns)
			init->agent = init->start_agent(init->context);
	}
}
