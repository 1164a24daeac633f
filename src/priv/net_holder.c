#include "priv/net_holder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "priv/net_serve.h"
#include "priv/net_space.h"
#include "priv/net_way_out.h"

#define ARGUMENT_COUNT 9

struct holder {
	struct net_settings settings;
	struct net_space space;
	uid_t owner; /* bangerd's user */
	int inner_fd;
	struct process inner;
	struct net_way_out way_out;
};

static bool copy_text(const char *text, char *ret, size_t size)
{
	return (size_t)snprintf(ret, size, "%s", text) < size;
}

static bool read_arguments(int argc, char **argv, struct holder *ret)
{
	uint64_t ip, prefix, port, uid = geteuid();
	const bool is_again = argc == ARGUMENT_COUNT && str_eq(argv[8], "again");

	if (argc != ARGUMENT_COUNT ||
	    !copy_text(argv[2], ret->settings.tag, sizeof(ret->settings.tag)) ||
	    !copy_text(argv[3], ret->settings.bridge_name, sizeof(ret->settings.bridge_name)) ||
	    !parse_u64_text(argv[4], UINT32_MAX, &ip) || !parse_u64_text(argv[5], 30, &prefix) ||
	    !parse_u64_text(argv[6], UINT16_MAX, &port) ||
	    (!str_eq(argv[7], "-") && !parse_u64_text(argv[7], UINT32_MAX, &uid)) ||
	    (!is_again && !str_eq(argv[8], "new")))
		return false;
	ret->settings.subnet =
		(struct net_subnet){ .bridge = (uint32_t)ip, .prefix = (uint32_t)prefix };
	ret->settings.dns_port = (uint16_t)port;
	ret->space = (struct net_space){ .uid = (uid_t)uid,
					 .has_user = !str_eq(argv[7], "-"),
					 .user_fd = is_again ? NET_HOLDER_USER : -1,
					 .net_fd = is_again ? NET_HOLDER_NET : -1 };
	ret->owner = geteuid();
	return true;
}

/* --- the inner process --- */

/* Says whether it got that far, in one packet, and serves. */
static NORETURN void run_inner(struct holder *holder, int outer_fd, pid_t parent)
{
	struct err err = ERR_INIT;
	int r;

	fd_close(NET_HOLDER_LISTEN);
	fd_close(NET_HOLDER_LOCK);
	fd_close(NET_HOLDER_REPORT);
	r = net_space_enter(&holder->space, &err);
	if (r == 0 && holder->space.user_fd >= 0) {
		fd_close(NET_HOLDER_USER);
		fd_close(NET_HOLDER_NET);
	}
	/* After the change of user, which clears it. */
	if (r == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		_exit(1);
	failpoint("net.holder.inside");
	if (send(outer_fd, &err, sizeof(err), MSG_NOSIGNAL) < 0 || r < 0)
		_exit(1);
	_exit(net_serve(&holder->settings, outer_fd, &err) < 0 ? 1 : 0);
}

static int start_inner(struct holder *holder, struct err *err)
{
	const pid_t parent = getpid();
	int ends[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, -errno, "make a channel");
	child = fork();
	if (child == 0) {
		fd_close(ends[0]);
		run_inner(holder, ends[1], parent);
	}
	fd_close(ends[1]);
	holder->inner_fd = ends[0];
	if (child < 0)
		return err_sys(err, -errno, "start the inner process");
	holder->inner.pid = child;
	holder->inner.pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (holder->inner.pidfd < 0)
		return err_sys(err, -errno, "watch the inner process");
	holder->way_out.inside = child;
	return 0;
}

/* What it has to say of its start. */
static int await_inner(const struct holder *holder, struct err *err)
{
	struct err said;
	const ssize_t n = recv(holder->inner_fd, &said, sizeof(said), 0);

	if (n != (ssize_t)sizeof(said))
		return err_set(err, ERR_SYSTEM, "the inner process ended at once");
	if (said.kind == ERR_NONE)
		return 0;
	*err = said;
	return -EIO;
}

/* --- the outer process --- */

static void accept_client(const struct holder *holder)
{
	static const char word = NET_HOLDER_CLIENT;
	/* cppcheck-suppress nullPointer; accept4() may be told not to say who it is */
	AUTO_CLOSE int fd = accept4(NET_HOLDER_LISTEN, NULL, NULL, SOCK_CLOEXEC);
	struct unix_peer peer;

	if (fd < 0 || unix_peer_of(fd, &peer) < 0 || (peer.uid != holder->owner && peer.uid != 0))
		return;
	/* If that fails the client sees its connection closed. */
	IGNORE_RESULT(unix_send_fd(holder->inner_fd, span_of(&word, 1), fd));
}

static void hear_inner(struct holder *holder)
{
	char word;

	if (recv(holder->inner_fd, &word, 1, MSG_DONTWAIT) == 1)
		net_way_out_want(&holder->way_out, word == NET_HOLDER_OPEN);
}

static void tend_way_out(struct holder *holder)
{
	struct err failure = ERR_INIT;
	AUTO_BUF packet = BUF_INIT;

	if (!net_way_out_tend(&holder->way_out, &failure))
		return;
	buf_add_byte(&packet, NET_HOLDER_FAILED);
	buf_add_str(&packet, failure.message);
	(void)send(holder->inner_fd, packet.ptr, packet.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Until the inner process ends. */
static void loop(struct holder *holder)
{
	for (;;) {
		struct pollfd waits[3 + NET_WAY_OUT_POLLS] = {
			{ .fd = holder->inner.pidfd, .events = POLLIN },
			{ .fd = holder->inner_fd, .events = POLLIN },
			{ .fd = NET_HOLDER_LISTEN, .events = POLLIN },
		};

		net_way_out_polls(&holder->way_out, waits + 3);
		if (poll(waits, ARRAY_LEN(waits),
			 clock_poll_ms(net_way_out_deadline(&holder->way_out))) < 0 &&
		    errno != EINTR)
			return;
		if (waits[0].revents)
			return;
		if (waits[1].revents)
			hear_inner(holder);
		if (waits[2].revents)
			accept_client(holder);
		tend_way_out(holder);
	}
}

static int begin(struct holder *holder, struct err *err)
{
	const struct rlimit none = { 0, 0 };
	int r;

	(void)prctl(PR_SET_NAME, NET_HOLDER_NAME);
	(void)umask(S_IRWXG | S_IRWXO);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGHUP, SIG_IGN) == SIG_ERR)
		return err_sys(err, -errno, "ignore signals");
	r = net_space_prepare(&holder->space, err);
	if (r == 0)
		r = start_inner(holder, err);
	if (r == 0 && holder->space.has_user)
		r = net_space_drop(&holder->space, err);
	return r < 0 ? r : await_inner(holder, err);
}

int net_holder_main(int argc, char **argv)
{
	struct holder holder = { .inner_fd = -1,
				 .inner = PROCESS_INIT,
				 .way_out = NET_WAY_OUT_INIT };
	struct err err = ERR_INIT;
	int r;

	if (!read_arguments(argc, argv, &holder))
		return 2;
	r = begin(&holder, &err);
	failpoint("net.holder.ready");
	if (r == 0)
		err = ERR_INIT;
	if (fd_write_all(NET_HOLDER_REPORT, span_of(&err, sizeof(err))) < 0)
		r = -EPIPE; /* nobody is there any more */
	fd_close(NET_HOLDER_REPORT);
	if (r == 0)
		loop(&holder);
	net_way_out_done(&holder.way_out);
	process_kill(&holder.inner);
	fd_close(holder.inner_fd);
	return r < 0 ? 1 : 0;
}
