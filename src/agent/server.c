#include "agent/server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/port.h"
#include "agent/serve.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "mux/pump.h"
#include "wire/protocol.h"

#define BACKLOG	     128
#define RETRY_MS     1000 /* what failed for want of memory or descriptors is tried again then */
#define LOOK_MS	     5000 /* should an event about the port ever be missed */
#define FILES_WANTED (4 * SERVER_PROCESSES_MAX + MUX_STREAMS_MAX)
#define UEVENT_SIZE  8192
#define UEVENT_GROUP 1 /* the kernel's own announcements */

enum port_state {
	PORT_ABSENT, /* there is no such device (yet) */
	PORT_LOST,   /* it is open, but the host's side is not connected */
	PORT_SERVED,
};

struct server {
	const struct server_options *options;
	int signals;		       /* owned: signalfd */
	int vsock;		       /* owned listener, or -1 */
	struct unix_listener unix_way; /* owned; fd -1 when there is none */
	int uevents;		       /* owned while the port is absent, else -1 */
	enum port_state port_state;
	int port;	       /* owned, or -1 */
	int port_watch;	       /* owned: epoll, edge triggered: says when a lost port may be back */
	struct mux_pump *pump; /* owned, or NULL */
	size_t processes;
	uint64_t accept_again_ns; /* accept() failed: not before this */
	bool is_ending;
};

/* Where poll() entries are: the pump's come first, then these. */
enum own_slot { SLOT_SIGNALS, SLOT_VSOCK, SLOT_UNIX, SLOT_UEVENTS, SLOT_WATCH, SLOT_COUNT };

/* Nothing of the supervisor may stay open in a process that runs for a connection. */
static void close_others(int fd)
{
	if ((fd == 3 || syscall(SYS_close_range, 3U, (unsigned)fd - 1, 0U) == 0) &&
	    syscall(SYS_close_range, (unsigned)fd + 1, ~0U, 0U) == 0)
		return;
	/* Before Linux 5.9: the supervisor never has more than it asked for. */
	for (int other = 3; other < FILES_WANTED; other++) {
		if (other != fd)
			(void)close(other);
	}
}

static NORETURN void child_serve(const struct server *server, int fd)
{
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); // NOLINT(concurrency-mt-unsafe): one thread
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGHUP, SIG_DFL);
	close_others(fd);
	serve_connection(fd, server->options->state);
	_exit(0);
}

/* Starts a process for `fd`, which stays the caller's. 0 or -errno. */
static int start_process(struct server *server, int fd)
{
	pid_t pid;

	if (server->processes >= SERVER_PROCESSES_MAX)
		return -EMFILE;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_serve(server, fd);
	server->processes++;
	return 0;
}

static int open_stream(void *context, uint32_t port)
{
	struct server *server = context;
	int ends[2];
	int r;

	if (port != WIRE_PORT)
		return -ECONNREFUSED;
	r = fd_socketpair(ends);
	if (r < 0)
		return r;
	r = start_process(server, ends[1]);
	fd_close(ends[1]);
	if (r < 0) {
		fd_close(ends[0]);
		return r;
	}
	return ends[0];
}

static const struct mux_pump_ops pump_ops = { .open = open_stream };

static void reap(struct server *server)
{
	struct signalfd_siginfo info;

	while (fd_read_some(server->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGCHLD)
			server->is_ending = true;
	}
	/* One SIGCHLD may stand for many. */
	while (waitpid(-1, NULL, WNOHANG) > 0) {
		if (server->processes > 0)
			server->processes--;
	}
}

static void accept_one(struct server *server, int listener, bool is_vsock)
{
	struct sockaddr_vm peer = { .svm_family = AF_UNSPEC };
	socklen_t size = sizeof(peer);
	AUTO_CLOSE int fd = accept4(listener, is_vsock ? (struct sockaddr *)&peer : NULL,
				    is_vsock ? &size : NULL, SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			server->accept_again_ns = clock_now_ns() + RETRY_MS * NSEC_PER_MSEC;
		return;
	}
	/* Over vsock loopback any user of the guest could call: only the host may. */
	if (is_vsock && peer.svm_cid != VMADDR_CID_HOST)
		return;
	/* The host of a connection that cannot be served sees it closed. */
	if (start_process(server, fd) < 0)
		server->accept_again_ns = clock_now_ns() + RETRY_MS * NSEC_PER_MSEC;
}

static int listen_vsock(void)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_port = WIRE_PORT,
		.svm_cid = VMADDR_CID_ANY,
	};
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int open_uevents(void)
{
	const struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = UEVENT_GROUP,
	};
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void port_leave(struct server *server)
{
	fd_assign(&server->port_watch, -1);
	fd_assign(&server->port, -1);
	server->port_state = PORT_ABSENT;
	fd_assign(&server->uevents, open_uevents());
}

/* The port is open: serves it, or waits for the host to connect. */
static void port_join(struct server *server)
{
	struct epoll_event nothing;
	int r;

	/* Taken before looking, so that a change after the look is a new event. */
	(void)epoll_wait(server->port_watch, &nothing, 1, 0);
	if (!port_is_connected(server->port)) {
		server->port_state = PORT_LOST;
		return;
	}
	r = mux_pump_new(MUX_GUEST, server->port, &pump_ops, server, &server->pump);
	server->port_state = r < 0 ? PORT_LOST : PORT_SERVED;
}

static void port_look(struct server *server)
{
	struct epoll_event edge = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	AUTO_CLOSE int fd = port_open();
	AUTO_CLOSE int watch = -1;

	if (fd < 0)
		return;
	watch = epoll_create1(EPOLL_CLOEXEC);
	if (watch < 0 || epoll_ctl(watch, EPOLL_CTL_ADD, fd, &edge) < 0)
		return;
	fd_assign(&server->uevents, -1);
	server->port = TAKE_FD(fd);
	server->port_watch = TAKE_FD(watch);
	port_join(server);
}

static void port_step(struct server *server, const struct pollfd *fds, size_t count)
{
	struct err err = ERR_INIT;

	if (mux_pump_step(server->pump, fds, count, &err) == 0)
		return;
	/* The streams end at once, not when the host is back: their commands are hung up. */
	mux_pump_free(server->pump);
	server->pump = NULL;
	/* ENODEV: the device was unplugged. Anything else is over when both sides begin again. */
	if (err.errnum == ENODEV)
		port_leave(server);
	else
		port_join(server);
}

static void drain_uevents(struct server *server)
{
	char text[UEVENT_SIZE];

	while (recv(server->uevents, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
}

static void fill_slots(const struct server *server, struct pollfd own[static SLOT_COUNT])
{
	const bool accepts = server->processes < SERVER_PROCESSES_MAX &&
			     clock_now_ns() >= server->accept_again_ns;

	own[SLOT_SIGNALS] = (struct pollfd){ .fd = server->signals, .events = POLLIN };
	own[SLOT_VSOCK] = (struct pollfd){ .fd = accepts ? server->vsock : -1, .events = POLLIN };
	own[SLOT_UNIX] =
		(struct pollfd){ .fd = accepts ? server->unix_way.fd : -1, .events = POLLIN };
	own[SLOT_UEVENTS] = (struct pollfd){ .fd = server->uevents, .events = POLLIN };
	own[SLOT_WATCH] = (struct pollfd){
		.fd = server->port_state == PORT_LOST ? server->port_watch : -1,
		.events = POLLIN,
	};
}

static int timeout_ms(const struct server *server)
{
	if (server->accept_again_ns > clock_now_ns())
		return RETRY_MS;
	if (server->options->has_port && server->port_state != PORT_SERVED)
		return LOOK_MS;
	return -1;
}

static void turn(struct server *server)
{
	/* Kept out of the stack frame; there is one loop. */
	static struct pollfd fds[MUX_PUMP_FDS_MAX + SLOT_COUNT];
	const bool has_pump = server->port_state == PORT_SERVED;
	const size_t count = has_pump ? mux_pump_poll_fds(server->pump, fds, MUX_PUMP_FDS_MAX) : 0;
	struct pollfd *own = fds + count;

	fill_slots(server, own);
	if (poll(fds, count + SLOT_COUNT, timeout_ms(server)) < 0)
		return; /* EINTR, or no memory: both pass */

	if (own[SLOT_SIGNALS].revents)
		reap(server);
	if (own[SLOT_VSOCK].revents)
		accept_one(server, server->vsock, true);
	if (own[SLOT_UNIX].revents)
		accept_one(server, server->unix_way.fd, false);
	if (own[SLOT_UEVENTS].revents)
		drain_uevents(server);
	if (has_pump)
		port_step(server, fds, count);
	else if (server->options->has_port && server->port_state == PORT_ABSENT)
		port_look(server);
	else if (server->port_state == PORT_LOST)
		port_join(server);
}

static int open_signals(const struct server_options *options)
{
	sigset_t taken;
	int fd;

	sigemptyset(&taken);
	sigaddset(&taken, SIGCHLD);
	if (options->ends_on_signal) {
		sigaddset(&taken, SIGTERM);
		sigaddset(&taken, SIGINT);
	}
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	if (sigprocmask(SIG_SETMASK, &taken, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void ignore_signals(const struct server_options *options)
{
	struct rlimit files;

	(void)signal(SIGPIPE, SIG_IGN);
	if (!options->ends_on_signal) {
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)signal(SIGHUP, SIG_IGN);
	}
	/* Each stream is a descriptor here. A limit that cannot be raised means fewer streams. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WANTED) {
		files.rlim_cur = FILES_WANTED;
		if (files.rlim_max < FILES_WANTED)
			files.rlim_max = FILES_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int server_run(const struct server_options *options, struct err *err)
{
	struct server server = {
		.options = options,
		.vsock = -1,
		.unix_way = UNIX_LISTENER_INIT,
		.uevents = -1,
		.port = -1,
		.port_watch = -1,
	};
	int r;

	ignore_signals(options);
	server.signals = open_signals(options);
	if (server.signals < 0)
		return err_sys(err, server.signals, "open a signalfd");
	if (options->unix_path) {
		r = unix_listen(options->unix_path, BACKLOG, &server.unix_way, err);
		if (r < 0) {
			fd_close(server.signals);
			return r;
		}
		IGNORE_RESULT(fd_set_nonblocking(server.unix_way.fd, true));
	}
	if (options->has_vsock)
		server.vsock = listen_vsock(); /* a kernel without vsock has the port instead */
	if (options->has_port) {
		fd_assign(&server.uevents, open_uevents());
		port_look(&server);
	}

	while (!server.is_ending)
		turn(&server);

	mux_pump_free(server.pump);
	fd_close(server.port);
	fd_close(server.port_watch);
	fd_close(server.uevents);
	fd_close(server.vsock);
	unix_listener_done(&server.unix_way);
	fd_close(server.signals);
	return 0;
}
