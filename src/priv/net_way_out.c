#include "priv/net_way_out.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "priv/net.h"

#define PROGRAM	       "pasta"
#define PAUSE_FIRST_MS 500
#define PAUSE_MAX_MS   30000

/* Never anybody's: RFC 7335. The namespace's own end, and the one that its route leads to. */
#define OWN_ADDRESS "192.0.0.2"
#define GATEWAY	    "192.0.0.1"
#define NETMASK	    "29"

int priv_net_check_way_out(struct err *err)
{
	AUTO_FREE char *path = spawn_find(PROGRAM);
	int r;

	if (path)
		return 0;
	r = err_set(err, ERR_UNSUPPORTED,
		    "the isolated network has no way out without '" PROGRAM "', and that is not "
		    "installed");
	err_hint(err, "apt install passt");
	return r;
}

void net_way_out_argv(pid_t inside, struct strv *ret)
{
	static const char *const fixed[] = {
		PROGRAM,       "--foreground",
		"--quiet",     "--config-net",
		"--ipv4-only", "--tcp-ports",
		"none",	       "--udp-ports",
		"none",	       "--tcp-ns",
		"none",	       "--udp-ns",
		"none",	       "--no-map-gw",
		"--no-dhcp",   "--no-dhcpv6",
		"--no-ndp",    "--no-ra",
		"--address",   OWN_ADDRESS,
		"--netmask",   NETMASK,
		"--gateway",   GATEWAY,
		"--ns-ifname", NET_WAY_OUT_DEVICE,
	};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		strv_add(ret, fixed[i]);
	strv_add(ret, "--userns");
	strv_addf(ret, "/proc/%d/ns/user", (int)inside);
	strv_add(ret, "--netns");
	strv_addf(ret, "/proc/%d/ns/net", (int)inside);
}

static int start(struct net_way_out *way, struct err *err)
{
	struct spawn spawn = { .path = PROGRAM,
			       .new_process_group = true,
			       .dies_with_parent = true,
			       .no_new_privs = true };
	AUTO_STRV argv = { 0 };
	AUTO_CLOSE int write_end = -1;
	int ends[2], r;

	r = priv_net_check_way_out(err);
	if (r < 0)
		return r;
	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe for '" PROGRAM "'");
	fd_assign(&way->output_fd, ends[0]);
	write_end = ends[1];
	r = fd_set_nonblocking(way->output_fd, true);
	if (r < 0)
		return err_sys(err, r, "make a pipe for '" PROGRAM "'");
	net_way_out_argv(way->inside, &argv);
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, write_end, STDERR_FILENO);
	spawn_add_rlimit(&spawn, RLIMIT_CORE, 0);
	way->said_len = 0;
	return spawn_start(&spawn, &way->process, err);
}

static void end(struct net_way_out *way)
{
	process_kill(&way->process);
	fd_closep(&way->output_fd);
}

void net_way_out_want(struct net_way_out *way, bool is_wanted)
{
	if (way->is_wanted == is_wanted)
		return;
	way->is_wanted = is_wanted;
	way->pause_ms = PAUSE_FIRST_MS;
	way->retry_ns = 0;
	if (!is_wanted)
		end(way);
}

void net_way_out_done(struct net_way_out *way)
{
	end(way);
	*way = NET_WAY_OUT_INIT;
}

void net_way_out_polls(const struct net_way_out *way, struct pollfd ret[static NET_WAY_OUT_POLLS])
{
	ret[0] = (struct pollfd){ .fd = way->process.pidfd, .events = POLLIN };
	ret[1] = (struct pollfd){ .fd = way->output_fd, .events = POLLIN };
}

uint64_t net_way_out_deadline(const struct net_way_out *way)
{
	return way->is_wanted && way->process.pid == 0 ? way->retry_ns : UINT64_MAX;
}

/* Keeps the last line, cut where it is too long. */
static void hear(struct net_way_out *way)
{
	char bytes[512];
	ssize_t n;

	if (way->output_fd < 0)
		return;
	while ((n = fd_read_some(way->output_fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (bytes[i] == '\n') {
				way->is_line_over = true;
				continue;
			}
			if (way->is_line_over)
				way->said_len = 0;
			way->is_line_over = false;
			if (way->said_len < NET_WAY_OUT_TEXT)
				way->said[way->said_len++] = bytes[i];
		}
	}
	if (n == 0)
		fd_closep(&way->output_fd);
}

static bool has_ended(const struct net_way_out *way)
{
	struct pollfd wait = { .fd = way->process.pidfd, .events = POLLIN };

	return way->process.pid != 0 && poll(&wait, 1, 0) > 0;
}

/* What it says is why only when it ended by itself. */
static void describe_end(struct net_way_out *way, struct err *ret)
{
	int status = 0;

	if (process_wait(&way->process, NULL, UINT64_MAX, &status) == 0 && WIFSIGNALED(status))
		IGNORE_RESULT(err_set(ret, ERR_SYSTEM, "'" PROGRAM "' was killed by signal %d",
				      WTERMSIG(status)));
	else
		IGNORE_RESULT(err_set(ret, ERR_SYSTEM, "'" PROGRAM "' ended%s%s",
				      way->said_len > 0 ? ": " : "", way->said));
}

static void postpone(struct net_way_out *way)
{
	way->retry_ns = clock_now_ns() + way->pause_ms * NSEC_PER_MSEC;
	way->pause_ms = way->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : way->pause_ms * 2;
}

bool net_way_out_tend(struct net_way_out *way, struct err *ret)
{
	hear(way);
	if (has_ended(way)) {
		way->said[way->said_len] = '\0';
		describe_end(way, ret);
		end(way);
		postpone(way);
		return true;
	}
	if (!way->is_wanted || way->process.pid != 0 || clock_now_ns() < way->retry_ns)
		return false;
	if (start(way, ret) < 0) {
		fd_closep(&way->output_fd);
		postpone(way);
		return true;
	}
	return false;
}
