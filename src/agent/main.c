#include "agent/main.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/init.h"
#include "agent/server.h"
#include "agent/state.h"
#include "base/text.h"
#include "base/version.h"

#define EXIT_USAGE 2

static const char usage[] =
	"usage: banger-vsock-agent --listen-unix PATH | --help | --version\n"
	"\n"
	"The guest side of banger. As PID 1 of a VM's initramfs it boots the image, and then "
	"answers the host\n"
	"on vsock port 1024 and on the virtio-serial port org.banger.agent.\n"
	"\n"
	"  --listen-unix PATH  answer the same protocol on a Unix socket (mode 0600), here and "
	"now:\n"
	"                      commands run on this machine. Requests that would change or stop "
	"the\n"
	"                      machine are refused. For looking into problems without a VM.\n"
	"  --help              this text\n"
	"  --version           version, commit and build time\n";

static int serve_unix(const char *path)
{
	struct agent_state *state = state_new();
	const struct server_options options = {
		.state = state,
		.unix_path = path,
		.ends_on_signal = true,
	};
	struct err err = ERR_INIT;

	if (!state) {
		(void)fprintf(stderr, "banger-vsock-agent: no memory\n");
		return 1;
	}
	if (server_run(&options, &err) < 0) {
		(void)fprintf(stderr, "banger-vsock-agent: %s\n", err.message);
		return 1;
	}
	return 0;
}

/* Descriptors 0 to 2 must be something, or a connection would become standard output. */
static bool open_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

int agent_main(int argc, char **argv)
{
	/* A container's first process that was given an option is not a machine's init. */
	if (getpid() == 1 && !(argc > 1 && str_starts(argv[1], "--")))
		init_run(argc, argv);
	if (!open_standard_files())
		return 1;
	if (argc == 3 && str_eq(argv[1], "--listen-unix"))
		return serve_unix(argv[2]);
	if (argc == 2 && str_eq(argv[1], "--help")) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && str_eq(argv[1], "--version")) {
		(void)printf("banger-vsock-agent %s (%s, built %s)\n", banger_version.version,
			     banger_version.commit, banger_version.built);
		return 0;
	}
	(void)fprintf(stderr, "banger-vsock-agent: wrong usage, see --help\n");
	return EXIT_USAGE;
}
