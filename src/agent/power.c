#include "agent/power.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#define READY_DEADLINE_MS 30000 /* how long systemd may take before it listens to signals */
#define READY_PAUSE_MS	  50
#define STATUS_MAX	  (64UL * 1024)
#define ACPI_TABLE	  "/sys/firmware/acpi/tables/FACP"
#define ACPI_TABLE_MAX	  4096

bool power_off_is_reset(void)
{
	AUTO_BUF table = BUF_INIT;

	/*
	 * Firecracker's guests have no power switch, only a keyboard controller's reset, at which
	 * the VMM ends. It either has no ACPI at all (before v1.8) or signs its tables, at byte 10,
	 * with its name.
	 */
	if (file_read(AT_FDCWD, ACPI_TABLE, ACPI_TABLE_MAX, &table) < 0 || table.len < 16)
		return true;
	return memcmp(table.ptr + 10, "FIRECK", 6) == 0;
}

void power_end(bool is_reboot)
{
	sync();
	(void)reboot(is_reboot || power_off_is_reset() ? RB_AUTOBOOT : RB_POWER_OFF);
}

bool power_init_is_systemd(void)
{
	char path[256];
	const ssize_t n = readlink("/proc/1/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return false;
	path[n] = '\0';
	return str_ends(path, "/systemd");
}

/* Whether PID 1 has `number` blocked (for a signalfd) or a handler for it: before that it would be
 * lost. */
static bool init_awaits_signal(int number)
{
	static const char *const masks[] = { "\nSigBlk:\t", "\nSigCgt:\t" };
	AUTO_BUF status = BUF_INIT;

	if (file_read(AT_FDCWD, "/proc/1/status", STATUS_MAX, &status) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		const char *mask = strstr(status.ptr, masks[i]);
		const size_t bit = (size_t)number - 1;
		const char *digits = "0123456789abcdef";
		const char *digit;

		/* 16 hexadecimal digits, the highest first. */
		if (!mask || strlen(mask + strlen(masks[i])) < 16)
			continue;
		digit = strchr(digits, mask[strlen(masks[i]) + 15 - bit / 4]);
		if (digit && ((size_t)(digit - digits) >> bit % 4 & 1) != 0)
			return true;
	}
	return false;
}

static void signal_systemd(int number)
{
	const uint64_t deadline_ns = clock_now_ns() + READY_DEADLINE_MS * NSEC_PER_MSEC;

	while (!init_awaits_signal(number) && clock_now_ns() < deadline_ns)
		(void)poll(NULL, 0, READY_PAUSE_MS);
	(void)kill(1, number);
}

/* OpenRC, sysvinit, runit, busybox: each brings the program that knows how to tell it. */
static bool run_program(const char *name)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { path, NULL };
	int status = 0;
	const pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid == 0) {
		(void)signal(SIGPIPE, SIG_DFL);
		environ = env;
		(void)execlp(name, name, NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int shutdown_serve(struct conn *conn, const struct request *request, struct err *err)
{
	const bool is_reboot = request->is_reboot || power_off_is_reset();
	int r;

	if (!conn->state->is_booted)
		return err_set(err, ERR_UNSUPPORTED,
			       "this agent did not boot the machine and does not stop it");
	r = conn_reply(conn, NULL, err);
	if (r < 0)
		return r;
	/* The host has its answer now, not when this process is killed. */
	(void)shutdown(conn->fd, SHUT_WR);

	if (conn->state->has_own_init)
		(void)kill(1, is_reboot ? POWER_SIGNAL_REBOOT : POWER_SIGNAL_OFF);
	else if (power_init_is_systemd())
		signal_systemd(is_reboot ? POWER_SIGNAL_REBOOT : POWER_SIGNAL_OFF);
	else if (!run_program(is_reboot ? "reboot" : "poweroff"))
		power_end(is_reboot);
	return 0;
}
