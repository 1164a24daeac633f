/*
 * The host's end of a guest's virtio-serial port, for tests that run QEMU themselves: connects to
 * the port's socket and serves a VMM's vsock socket ("CONNECT 1024"), with banger-vmm's own code.
 *
 * usage: agent_bridge PORT_SOCKET VSOCK_SOCKET
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/unix_socket.h"
#include "vmmshim/vsock.h"

static int bridge(const char *port_path, const char *vsock_path, struct err *err)
{
	static struct vsock vsock;
	static struct pollfd fds[VSOCK_FDS_MAX];
	struct unix_listener listener = UNIX_LISTENER_INIT;
	int channel = -1;
	int r = unix_connect(port_path, &channel, err);

	if (r == 0)
		r = unix_listen(vsock_path, 64, &listener, err);
	if (r == 0)
		r = vsock_init(&vsock, listener.fd, vsock_path, channel, err);
	while (r == 0) {
		const uint64_t due = vsock_deadline(&vsock);
		const size_t count = vsock_poll_fds(&vsock, fds, ARRAY_LEN(fds));

		if (poll(fds, count, due == UINT64_MAX ? -1 : clock_poll_ms(due)) < 0)
			return err_sys(err, -errno, "poll");
		r = vsock_step(&vsock, fds, count, err);
	}
	unix_listener_done(&listener);
	return r;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	(void)signal(SIGPIPE, SIG_IGN);
	if (argc != 3)
		return 2;
	if (bridge(argv[1], argv[2], &err) < 0)
		(void)fprintf(stderr, "agent_bridge: %s\n", err.message);
	return 1;
}
