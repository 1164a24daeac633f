/* vm exec and vm shell: into a running VM through its agent. */
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/session.h"
#include "cli/workspace_state.h"

struct exec_args {
	bool auto_prepare;
	const char *guest_path;
	struct strv env;
	bool tty;
};

#define GUEST_PATH_OPT                                                              \
	{                                                                           \
		.type = OPT_STRING, .letter = 'w', .name = "guest-path",            \
		.offset = offsetof(struct exec_args, guest_path), .metavar = "DIR", \
		.help = "folder in the guest to run in (default: the workspace, "   \
			"else root's home)",                                        \
		.check = session_check_path                                         \
	}
#define ENV_OPT                                                                     \
	{                                                                           \
		.type = OPT_STRINGS, .letter = 'e', .name = "env",                  \
		.offset = offsetof(struct exec_args, env), .metavar = "NAME=VALUE", \
		.help = "set a variable for the command; may be repeated",          \
		.check = session_check_env                                          \
	}

static const struct opt exec_opts[] = {
	GUEST_PATH_OPT,
	ENV_OPT,
	{ .type = OPT_FLAG,
	  .letter = 't',
	  .name = "tty",
	  .offset = offsetof(struct exec_args, tty),
	  .help = "give the command a terminal" },
	{ .type = OPT_FLAG,
	  .name = "auto-prepare",
	  .offset = offsetof(struct exec_args, auto_prepare),
	  .help = "ship what has changed in the checkout on the host first" },
};

static const struct opt shell_opts[] = { GUEST_PATH_OPT, ENV_OPT };

/* `from` is what the branch began with by --from; NULL: HEAD. */
static void note_changed(struct cli *cli, const char *path, const char *from, const char *vm)
{
	AUTO_BUF shown = BUF_INIT;

	if (!from) {
		out_note(&cli->out,
			 "warning: files of '%s' have changed since they were shipped to '%s'",
			 path, vm);
		return;
	}
	text_escape(&shown, span_str(from), SIZE_MAX);
	out_note(&cli->out,
		 "warning: files of '%s', or its '%s', have changed since they were shipped to "
		 "'%s'",
		 path, shown.ptr, vm);
}

/* Says that the checkout has moved on, or brings what is different if that was asked for. */
static int look_at_workspace(struct cli *cli, const json_t *answer, bool renews, struct err *err)
{
	const json_t *workspace = workspace_state_of(answer);
	const json_t *vm = json_object_get(answer, "vm");
	const char *name = json_get_str(vm, "name");
	const char *path = json_get_str(workspace, "host_path");
	enum workspace_state state = WORKSPACE_CURRENT;
	AUTO_BUF shown = BUF_INIT;
	int r;

	/* What does not run says so itself; without notes nobody would hear of it. */
	if (!workspace || !str_eq(json_get_str(vm, "state"), "running") ||
	    (cli->out.is_quiet && !renews))
		return 0;
	r = workspace_state_look(cli, workspace, &state, err);
	if (r < 0)
		return r;
	if (renews && state == WORKSPACE_UNKNOWN)
		return err_context(err, -EIO, "cannot look at the checkout '%s'", path);
	if (state == WORKSPACE_CURRENT || state == WORKSPACE_UNKNOWN) {
		*err = ERR_INIT;
		return 0;
	}
	if (renews)
		return workspace_state_renew(cli, answer, err);
	/* Whoever made the checkout may have named its folder. */
	text_escape(&shown, span_str(path), SIZE_MAX);
	if (state == WORKSPACE_PENDING)
		out_note(
			&cli->out,
			"warning: the last prepare of '%s' has not ended: '%s' may have half of it",
			shown.ptr, name);
	else if (state == WORKSPACE_STALE)
		out_note(&cli->out,
			 "warning: HEAD of '%s' is another commit since it was shipped to '%s'",
			 shown.ptr, name);
	else
		note_changed(cli, shown.ptr, json_get_str(workspace, "from"), name);
	out_note(&cli->out,
		 "hint: 'banger vm exec --auto-prepare' ships what is different first, as does "
		 "'banger vm workspace prepare %s %s'",
		 name, shown.ptr);
	return 0;
}

/* In the workspace, if the VM has one and no other folder is named. */
static int run_session(struct cli *cli, struct session session, bool renews)
{
	AUTO_JSON *answer = NULL;
	struct err err = ERR_INIT;
	int status = 0;
	int r;

	r = link_open(cli, &err);
	if (r == 0)
		r = workspace_state_ask(cli, session.vm, &answer, &err);
	if (r == 0 && renews && !workspace_state_of(answer)) {
		r = err_set(&err, ERR_BAD_STATE, "'%s' has no workspace", session.vm);
		err_hint(&err, "give it one with 'banger vm workspace prepare %s PATH'",
			 session.vm);
	}
	if (r == 0)
		r = look_at_workspace(cli, answer, renews, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	if (!session.cwd)
		session.cwd = json_get_str(workspace_state_of(answer), "guest_path");
	return session_run(cli, &session, &status, &err) < 0 ? cli_fail(cli, &err) : status;
}

static int run_exec(struct cli *cli, const struct invocation *invocation)
{
	const struct exec_args *args = invocation->args;
	const struct session session = {
		.vm = invocation->parsed->operands[0],
		.argv = invocation->parsed->command,
		.env = &args->env,
		.cwd = args->guest_path,
		.has_mise = true,
		.has_tty = args->tty,
	};

	return run_session(cli, session, args->auto_prepare);
}

const struct command vm_exec_command = {
	.noun = "vm",
	.verb = "exec",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.takes_command = true,
	.needs_command = true,
	.summary = "run a command in a VM and exit with its status",
	.description = "Standard input, output and error are the command's. The arguments after "
		       "'--' arrive byte for byte. The exit status is the command's: 128 + n when "
		       "signal n ended it, 127 when it does not exist in the guest.",
	.opts = exec_opts,
	.opt_count = ARRAY_LEN(exec_opts),
	.args_size = sizeof(struct exec_args),
	.run = run_exec,
};

static int run_shell(struct cli *cli, const struct invocation *invocation)
{
	const struct exec_args *args = invocation->args;
	const struct session session = {
		.vm = invocation->parsed->operands[0],
		.env = &args->env,
		.cwd = args->guest_path,
		.has_tty = session_is_interactive(cli),
	};

	return run_session(cli, session, false);
}

const struct command vm_shell_command = {
	.noun = "vm",
	.verb = "shell",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "open a shell in a VM",
	.description = "Needs neither a network nor sshd in the guest. When standard input is no "
		       "terminal, the shell reads its commands from it. Exits with the shell's "
		       "status.",
	.opts = shell_opts,
	.opt_count = ARRAY_LEN(shell_opts),
	.args_size = sizeof(struct exec_args),
	.run = run_shell,
};
