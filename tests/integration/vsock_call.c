/* In a guest: loads kernel modules and calls an AF_VSOCK port, with standard input and output as
 * the connection. Static, as the guest's image has nothing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void give_up(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

/* Until the end, or until the other side is gone: what it said before counts. */
static void copy(int from, int to)
{
	char bytes[4096];
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) > 0) {
		if (write(to, bytes, (size_t)n) != n)
			break;
	}
	if (n != 0 && errno != EPIPE && errno != ECONNRESET)
		give_up("copy");
}

/* vsock_call MODULE... calls port 1024 of this machine itself. */
int main(int argc, char **argv)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_port = 1024,
		.svm_cid = VMADDR_CID_LOCAL,
	};
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			give_up(argv[i]);
		(void)close(fd);
	}
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		give_up("connect");
	(void)fprintf(stderr, "connected\n");
	copy(STDIN_FILENO, fd);
	(void)shutdown(fd, SHUT_WR);
	copy(fd, STDOUT_FILENO);
	return 0;
}
