#include "cli/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/macros.h"
#include "cli/out.h"

static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

/*
 * What the handlers touch. They run on the only thread and call nothing but async-signal-safe
 * functions: write, tcsetattr, sigaction, raise, exit_group.
 */
static struct {
	struct cancel *cancel;
	int pipe[2];
	volatile sig_atomic_t mode; /* enum signals_mode */
	volatile sig_atomic_t caught;
	volatile sig_atomic_t was_recorded[ARRAY_LEN(ending)];
	volatile sig_atomic_t is_raw;
	int terminal_fd;
	struct termios cooked;
	struct termios raw;
} state = { .pipe = { -1, -1 }, .terminal_fd = -1 };

/* A record is smaller than PIPE_BUF, so it is written whole or not at all. */
static void record(int signal)
{
	const struct signalfd_siginfo info = { .ssi_signo = (uint32_t)signal };
	ssize_t n = write(state.pipe[1], &info, sizeof(info));

	(void)n; /* a full pipe has dozens of the same already */
}

void signals_restore_terminal(void)
{
	if (!state.is_raw)
		return;
	state.is_raw = 0;
	/* TCSANOW: an ending program must not wait for a terminal that nobody drains. */
	(void)tcsetattr(state.terminal_fd, TCSANOW, &state.cooked);
}

/* Whether the mode takes the signal as a record: the first of its kind. */
static bool is_recorded(int signal)
{
	if (state.mode != SIGNALS_COMMAND || state.caught)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
		if (ending[i] == signal && !state.was_recorded[i]) {
			state.was_recorded[i] = 1;
			return true;
		}
	}
	return false;
}

/* Not _exit(): sanitizers look for leaks in it, which hangs when the program was just doing so. */
static NORETURN void end_at_once(int status)
{
	for (;;)
		(void)syscall(SYS_exit_group, status);
}

static void on_ending(int signal)
{
	const int saved = errno;

	if (is_recorded(signal)) {
		record(signal);
	} else if (state.caught || state.mode == SIGNALS_COMMAND) {
		signals_restore_terminal();
		end_at_once(EXIT_SIGNAL + signal);
	} else {
		state.caught = signal;
		cancel_fire(state.cancel);
	}
	errno = saved;
}

static void on_resize(int signal)
{
	const int saved = errno;

	if (state.mode == SIGNALS_TERMINAL)
		record(signal);
	errno = saved;
}

static void install(int signal, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	(void)sigemptyset(&action.sa_mask);
	/* Fails only for a signal number that does not exist. */
	(void)sigaction(signal, &action, NULL);
}

/*
 * Stops for real, with the shell's terminal back in place, and goes on here after SIGCONT. The
 * signal is blocked while its handler runs, so it is unblocked for the stop itself.
 */
static void on_stop(int signal)
{
	const int saved = errno;
	const bool was_raw = state.is_raw;
	sigset_t set;

	if (was_raw)
		signals_restore_terminal();
	install(signal, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, signal);
	(void)kill(getpid(), signal);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL); // NOLINT(concurrency-mt-unsafe): one thread
	install(signal, on_stop);
	if (was_raw && tcsetattr(state.terminal_fd, TCSANOW, &state.raw) == 0)
		state.is_raw = 1;
	if (state.mode == SIGNALS_TERMINAL)
		record(SIGWINCH); /* the window may have changed meanwhile */
	errno = saved;
}

/* A shell's background job, or nohup, has a signal ignored on purpose: that stays so. */
static void install_unless_ignored(int signal, void (*handler)(int))
{
	struct sigaction before;

	if (sigaction(signal, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
		return;
	install(signal, handler);
}

int signals_init(struct cancel *cancel)
{
	int r;

	r = fd_pipe(state.pipe);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(state.pipe); i++) {
		r = fd_set_nonblocking(state.pipe[i], true);
		if (r < 0)
			return r;
	}
	state.cancel = cancel;
	install(SIGPIPE, SIG_IGN);
	install(SIGWINCH, on_resize);
	install_unless_ignored(SIGTSTP, on_stop);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		install_unless_ignored(ending[i], on_ending);
	return 0;
}

void signals_done(void)
{
	struct sigaction now;

	for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == on_ending)
			install(ending[i], SIG_DFL);
	}
	state.cancel = NULL;
}

int signals_caught(void)
{
	return state.caught;
}

int signals_fd(void)
{
	return state.pipe[0];
}

void signals_set_mode(enum signals_mode mode)
{
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		state.was_recorded[i] = 0;
	state.mode = (sig_atomic_t)mode;
}

int signals_raw_terminal(int fd)
{
	if (tcgetattr(fd, &state.cooked) < 0)
		return -errno;
	state.raw = state.cooked;
	cfmakeraw(&state.raw);
	state.terminal_fd = fd;
	/* TCSADRAIN keeps what was typed ahead. */
	if (tcsetattr(fd, TCSADRAIN, &state.raw) < 0)
		return -errno;
	state.is_raw = 1;
	return 0;
}
