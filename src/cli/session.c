#include "cli/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/request.h"
#include "cli/signals.h"
#include "guest/exec.h"

#define START_TIMEOUT_MS \
	30000 /* from the request to the running command; a busy guest takes seconds */
#define STATUS_NOT_FOUND  127 /* as shells say it, the next too */
#define STATUS_NO_PROGRAM 126
#define ROWS_DEFAULT	  24
#define COLUMNS_DEFAULT	  80

bool session_is_interactive(const struct cli *cli)
{
	return isatty(cli->in_fd);
}

int session_check_env(const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return err_set(err, ERR_INVALID, "'%s' is no NAME=VALUE", text);
	return 0;
}

int session_check_path(const char *text, struct err *err)
{
	if (text[0] != '/')
		return err_set(err, ERR_INVALID, "'%s' is no absolute path in the guest", text);
	return 0;
}

static void read_window(int fd, uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize size = { 0 };

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){ .ws_row = ROWS_DEFAULT, .ws_col = COLUMNS_DEFAULT };
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
}

static int open_stream(struct cli *cli, const struct session *session, int *ret_fd, struct err *err)
{
	const char *method = session->argv ? "vm.exec" : "vm.shell";
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(params, "vm", session->vm);
	r = request_call(cli, method, params, &fd, &result, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", session->vm);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The terminal's kind goes along, so that editors and pagers draw for the terminal that is there.
 */
static void collect_env(const struct session *session, struct strv *ret)
{
	const char *term = getenv("TERM"); // NOLINT(concurrency-mt-unsafe): one thread

	if (session->has_tty && !str_empty(term))
		strv_addf(ret, "TERM=%s", term);
	for (size_t i = 0; session->env && i < session->env->count; i++)
		strv_add(ret, session->env->items[i]);
}

static int start(struct cli *cli, int fd, const struct session *session, struct err *err)
{
	AUTO_STRV env = { .items = NULL };
	struct guest_exec exec = {
		.argv = session->argv,
		.cwd = session->cwd,
		.user = session->user,
		.mise = session->has_mise && session->argv,
		.tty = session->has_tty,
	};

	collect_env(session, &env);
	exec.env = strv_argv(&env);
	if (exec.tty)
		read_window(cli->in_fd, &exec.rows, &exec.cols);
	return guest_exec_start(fd, &exec, &cli->cancel,
				clock_now_ns() + START_TIMEOUT_MS * NSEC_PER_MSEC, NULL, err);
}

/* The terminal and the signals belong to the session from here to the end of this function. */
static int pump(struct cli *cli, int fd, const struct session *session,
		struct guest_exec_status *ret, struct err *err)
{
	const bool is_raw = session->has_tty && isatty(cli->in_fd);
	const struct guest_exec_io io = {
		.stdin_fd = cli->in_fd,
		.stdout_fd = cli->out.out_fd,
		.stderr_fd = cli->out.err_fd,
		.signal_fd = signals_fd(),
		.window_fd = is_raw ? cli->in_fd : -1,
		.cancel = &cli->cancel,
	};
	int r;

	if (is_raw) {
		r = signals_raw_terminal(cli->in_fd);
		if (r < 0)
			return err_sys(err, r, "put the terminal into raw mode");
	}
	signals_set_mode(is_raw ? SIGNALS_TERMINAL : SIGNALS_COMMAND);
	r = guest_exec_run(fd, &io, ret, err);
	signals_set_mode(SIGNALS_CANCEL);
	signals_restore_terminal();
	return r;
}

int session_run(struct cli *cli, const struct session *session, int *ret_status, struct err *err)
{
	const char *vm = session->vm_name ? session->vm_name : session->vm;
	struct guest_exec_status status = { .status = 0 };
	AUTO_CLOSE int fd = -1;
	int r;

	r = open_stream(cli, session, &fd, err);
	if (r < 0)
		return r;

	r = start(cli, fd, session, err);
	if (r < 0 && session->argv &&
	    (err->kind == ERR_NOT_FOUND || err->kind == ERR_UNSUPPORTED)) {
		out_error(&cli->out, err);
		*ret_status = err->kind == ERR_NOT_FOUND ? STATUS_NOT_FOUND : STATUS_NO_PROGRAM;
		return 0;
	}
	if (r < 0 && !session->argv) {
		if (err->kind == ERR_NOT_FOUND)
			err_hint(err, "an image without a shell runs programs of its own: 'vm exec "
				      "VM -- PROGRAM', 'vm run --entrypoint'");
		return err_context(err, r, "cannot open a shell in '%s'", vm);
	}
	if (r < 0) {
		if (session->has_mise && err->kind == ERR_INVALID && strstr(err->message, "'mise'"))
			err_hint(err,
				 "its agent is of an older version: 'banger vm restart %s' renews "
				 "it",
				 vm);
		if (session->cwd && str_starts(err->message, "cwd '"))
			err_hint(err, "--guest-path names another folder");
		return err_context(err, r, "cannot run '%s' in '%s'", session->argv[0], vm);
	}

	r = pump(cli, fd, session, &status, err);
	if (r < 0 && err->kind == ERR_CANCELLED)
		return err_set(err, ERR_CANCELLED, "a signal ended the session in '%s'", vm);
	if (r < 0)
		return err_context(err, r, "lost the session in '%s'", vm);
	if (status.is_clamped)
		out_note(&cli->out,
			 "warning: the agent in '%s' gave an impossible exit status: taken for %d",
			 vm, status.status);
	*ret_status = status.status;
	return 0;
}
