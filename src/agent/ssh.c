#include "agent/ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <shadow.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/forward.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "base/text.h"

#define SSH_PORT	22
#define HOST_KEY	"/etc/ssh/ssh_host_ed25519_key"
#define RUN_WAIT_MS	10000
#define RUN_LOOK_MS	10
#define SHADOW_LINE_MAX 1024 /* a longer one ends the search: then root is not locked */

/* sshd must be started by its absolute path: it executes itself anew. */
static const char *find_sshd(void)
{
	static const char *const places[] = {
		"/usr/sbin/sshd",
		"/usr/local/sbin/sshd",
		"/usr/bin/sshd",
		"/run/current-system/sw/bin/sshd",
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		if (access(places[i], X_OK) == 0)
			return places[i];
	}
	return NULL;
}

/*
 * systemd mounts a new /run as one of the first things that it does: what is made before is gone
 * when sshd looks. An image that has another init is not waited for.
 */
static void wait_for_run(void)
{
	const uint64_t deadline_ns = clock_now_ns() + RUN_WAIT_MS * NSEC_PER_MSEC;
	char target[256];
	const ssize_t length = readlink("/sbin/init", target, sizeof(target) - 1);

	if (length < 0)
		return;
	target[length] = '\0';
	if (!str_ends(target, "/systemd"))
		return;
	while (access("/run/systemd/system", F_OK) < 0 && clock_now_ns() < deadline_ns)
		(void)poll(NULL, 0, RUN_LOOK_MS);
}

/* Whether sshd would refuse root without PAM, as it does accounts that are locked. */
static bool is_locked(void)
{
	FILE *file = fopen("/etc/shadow", "re");
	struct spwd entry, *found = NULL;
	char text[SHADOW_LINE_MAX];
	bool locked = false;

	if (!file)
		return false;
	while (!locked && fgetspent_r(file, &entry, text, sizeof(text), &found) == 0)
		locked = str_eq(found->sp_namp, "root") && found->sp_pwdp[0] == '!';
	(void)fclose(file);
	return locked;
}

/* The stream becomes standard input and output of this process, which becomes sshd. */
static int become_sshd(const char *path, int stream, struct err *err)
{
	char *const argv[] = {
		(char *)(uintptr_t)path, // NOLINT(performance-no-int-to-ptr)
		(char[]){ "-i" },
		/* The one that the host has pinned, whatever else the image carries. */
		(char[]){ "-h" },
		(char[]){ HOST_KEY },
		/* The host has put its key there for this very purpose. */
		(char[]){ "-o" },
		(char[]){ "PermitRootLogin=prohibit-password" },
		/* While services come up, sessions of PAM's wait half a minute for logind. */
		is_locked() ? NULL : (char[]){ "-o" },
		(char[]){ "UsePAM=no" },
		NULL,
	};
	char *const env[] = {
		(char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
		NULL,
	};
	AUTO_CLOSE int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	wait_for_run();
	/* Debian's sshd wants this folder, which its service would make; others want none. */
	(void)mkdir("/run/sshd", 0755);
	process_reset_signals();
	exec_set_limits(0);
	if (nowhere < 0 || fd_set_nonblocking(stream, false) < 0 || setsid() < 0 ||
	    chdir("/") < 0 || dup2(stream, STDIN_FILENO) < 0 || dup2(stream, STDOUT_FILENO) < 0 ||
	    dup2(nowhere, STDERR_FILENO) < 0)
		return err_sys(err, -errno, "set up sshd's files");
	(void)execve(path, argv, env);
	return err_sys(err, -errno, "exec '%s'", path);
}

int ssh_serve(struct conn *conn, const struct request *request, struct err *err)
{
	AUTO_CLOSE int fd = forward_connect_tcp(SSH_PORT);
	const char *sshd = NULL;
	int r;

	(void)request;
	if (fd < 0)
		sshd = find_sshd();
	if (fd < 0 && !sshd)
		return err_set(err, ERR_NOT_FOUND, "the guest has no sshd");
	/* An sshd of its own is given the stream alone, not what was read from it. */
	if (conn->input.len > 0)
		return err_set(err, ERR_PROTOCOL, "the host did not wait for the answer");
	r = conn_reply(conn, NULL, err);
	if (r < 0)
		return r;
	if (sshd)
		return become_sshd(sshd, conn->fd, err);
	relay_run(conn->fd, fd, buf_span(&conn->input));
	return 0;
}
