#include "cli/bootstrap.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/progress_view.h"
#include "cli/request.h"
#include "guest/exec.h"
#include "wire/mise.h"

#define START_TIMEOUT_MS 30000
#define STATUS_NO_MISE	 90

/* $1 folder, $2 log, $3 "wait" or "go". The folder's files are trusted, as in the agent's exec. */
static const char script[] =
	"cd -- \"$1\" || exit 1\n"
	"mise=$(command -v mise) || mise=$HOME/.local/bin/mise\n"
	"[ -x \"$mise\" ] || exit 90\n"
	"mkdir -p \"${2%/*}\" || exit 1\n"
	"export MISE_YES=1 MISE_TRUSTED_CONFIG_PATHS=\"$PWD\"\n"
	"install() {\n"
	"	\"$mise\" install </dev/null\n"
	"	status=$?\n"
	"	echo \"mise install ended with status $status\"\n"
	"	return $status\n"
	"}\n"
	"if [ \"$3\" = wait ]; then install >\"$2\" 2>&1; exit $(($? != 0)); fi\n"
	"(trap '' HUP; install) >\"$2\" 2>&1 &\n";

int bootstrap_find(struct cli *cli, const struct git *git, bool includes_untracked,
		   const char **ret, struct err *err)
{
	const char *const tracked[] = { "ls-files",	    "-z",
					"--cached",	    "--",
					wire_mise_files[0], wire_mise_files[1],
					wire_mise_files[2], NULL };
	/* Of what git does not track all that is not ignored. */
	const char *const all[] = { "ls-files",		  "-z",
				    "--cached",		  "--others",
				    "--exclude-standard", "--",
				    wire_mise_files[0],	  wire_mise_files[1],
				    wire_mise_files[2],	  NULL };
	const struct git_call call = { .args = includes_untracked ? all : tracked,
				       .cancel = &cli->cancel };
	AUTO_BUF found = BUF_INIT;
	int r;

	*ret = NULL;
	r = git_run(git, &call, &found, err);
	if (r < 0 || found.len == 0)
		return r;
	for (size_t i = 0; i < WIRE_MISE_FILE_COUNT; i++)
		if (str_eq(found.ptr, wire_mise_files[i]))
			*ret = wire_mise_files[i];
	return 0;
}

int bootstrap_refuse(const char *file, struct err *err)
{
	const int r = err_set(err, ERR_INVALID,
			      "the checkout has '%s', and installing the tools that it names needs "
			      "the network",
			      file);

	err_hint(err, "--nat gives the VM a network, --no-bootstrap does without the tools");
	return r;
}

static int open_stream(struct cli *cli, const char *vm, int *ret_fd, struct err *err)
{
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	int r;

	json_put_str(params, "vm", vm);
	r = request_call(cli, "vm.exec", params, ret_fd, &result, err);
	if (r == 0 && *ret_fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", vm);
	return r;
}

static int run_script(struct cli *cli, int fd, const char *folder, bool waits, int *ret_status,
		      struct err *err)
{
	const char *const words[] = {
		"sh", "-c", script, "banger-bootstrap", folder, BOOTSTRAP_LOG, waits ? "wait" : "go"
	};
	const struct guest_exec_io io = {
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.signal_fd = -1,
		.window_fd = -1,
		.cancel = &cli->cancel,
	};
	struct guest_exec_status status = { .status = 0 };
	AUTO_STRV argv = { .items = NULL };
	struct guest_exec exec = { .cwd = "/" };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		strv_add(&argv, words[i]);
	exec.argv = strv_argv(&argv);
	r = guest_exec_start(fd, &exec, &cli->cancel,
			     clock_now_ns() + START_TIMEOUT_MS * NSEC_PER_MSEC, NULL, err);
	if (r == 0)
		r = guest_exec_run(fd, &io, &status, err);
	*ret_status = status.status;
	return r;
}

int bootstrap_run(struct cli *cli, const char *vm, const char *folder, bool waits, bool *ret_failed,
		  struct err *err)
{
	struct progress_view view;
	struct progress progress;
	AUTO_CLOSE int fd = -1;
	int status = 0;
	int r;

	*ret_failed = false;
	progress_view_init(&view, &cli->out, NULL);
	progress = progress_view_sink(&view);
	progress_report(&progress, "mise",
			waits ? "installing tools" : "installing tools meanwhile", 0, 0);
	progress_view_tick(&view);
	r = open_stream(cli, vm, &fd, err);
	if (r == 0)
		r = run_script(cli, fd, folder, waits, &status, err);
	progress_view_finish(&view, r == 0 && status == 0);
	progress_view_done(&view);
	if (r < 0)
		return err_context(err, r, "install the tools of the workspace");
	if (status == STATUS_NO_MISE) {
		out_note(&cli->out, "the guest has no mise: the tools that the workspace names are "
				    "not installed");
	} else if (status != 0) {
		*ret_failed = true;
		out_note(
			&cli->out,
			"warning: not all tools of the workspace were installed; the log is in the "
			"guest's '%s'",
			BOOTSTRAP_LOG);
	}
	return 0;
}
