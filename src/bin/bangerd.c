/* bangerd: the daemon, and the worker processes that it starts of itself. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/version.h"
#include "daemon/daemon.h"
#include "image/worker.h"
#include "priv/net_holder.h"

static const char usage[] =
	"usage: bangerd [--ready-fd FD] | --check-migrations | --defaults | --plan | --census | "
	"--version | --help\n"
	"\n"
	"Runs in the foreground and logs JSON lines to standard error; the CLI starts it in the "
	"background.\n"
	"  --ready-fd FD        write 'r' and a newline to FD when it listens, or one JSON line "
	"saying why not\n"
	"  --check-migrations   exit 0: the database is up to date; 1: it will be migrated; 2: a "
	"newer version made it\n"
	"  --defaults           print as JSON what a VM gets where nothing is said\n"
	"  --plan               print as JSON what a daemon would put right that starts now\n"
	"  --census             print as JSON everything of banger's that exists\n"
	"  --version            print the version\n";

struct arguments {
	int ready_fd;
	bool check_migrations;
	bool defaults;
	bool plan;
	bool census;
	bool version;
	bool help;
};

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
	for (int i = 1; i < argc; i++) {
		uint64_t fd;

		if (str_eq(argv[i], "--version")) {
			ret->version = true;
		} else if (str_eq(argv[i], "--help")) {
			ret->help = true;
		} else if (str_eq(argv[i], "--check-migrations")) {
			ret->check_migrations = true;
		} else if (str_eq(argv[i], "--defaults")) {
			ret->defaults = true;
		} else if (str_eq(argv[i], "--plan")) {
			ret->plan = true;
		} else if (str_eq(argv[i], "--census")) {
			ret->census = true;
		} else if (str_eq(argv[i], "--ready-fd") && i + 1 < argc &&
			   parse_u64_text(argv[i + 1], 1023, &fd) && fd > STDERR_FILENO) {
			ret->ready_fd = (int)fd;
			i++;
		} else {
			(void)fprintf(stderr, "bangerd: unknown or incomplete argument '%s'\n%s",
				      argv[i], usage);
			return false;
		}
	}
	return true;
}

static int fail(const struct err *err)
{
	(void)fprintf(stderr, "bangerd: %s\n", err->message);
	if (err->hint[0])
		(void)fprintf(stderr, "hint: %s\n", err->hint);
	return 1;
}

static int print_defaults(void)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	if (daemon_defaults(&text, &err) < 0)
		return fail(&err);
	return fd_write_all(STDOUT_FILENO, buf_span(&text)) < 0 ? 1 : 0;
}

static int print_view(enum daemon_view view)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	if (daemon_look(view, &text, &err) < 0)
		return fail(&err);
	return fd_write_all(STDOUT_FILENO, buf_span(&text)) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .ready_fd = -1 };
	struct err err = ERR_INIT;
	int r;

	if (argc > 2 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	if (argc > 1 && str_eq(argv[1], NET_HOLDER_OPTION))
		return net_holder_main(argc, argv);
	if (!parse_arguments(argc, argv, &arguments))
		return 2;
	if (arguments.help || arguments.version) {
		(void)printf(arguments.help ? "%s" : "bangerd %s",
			     arguments.help ? usage : banger_version.version);
		if (!arguments.help)
			(void)printf(" (%s, %s)\n", banger_version.commit, banger_version.built);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (arguments.check_migrations) {
		r = daemon_check_migrations(&err);
		if (r < 0)
			(void)fail(&err);
		return r < 0 ? 3 : r;
	}
	if (arguments.defaults)
		return print_defaults();
	if (arguments.plan || arguments.census)
		return print_view(arguments.plan ? DAEMON_VIEW_PLAN : DAEMON_VIEW_CENSUS);
	log_init("bangerd", STDERR_FILENO, LOG_LEVEL_INFO);
	struct daemon_options options = { .ready_fd = arguments.ready_fd };

	r = daemon_run(&options, &err);
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err }, "cannot go on");
	return r < 0 ? fail(&err) : 0;
}
