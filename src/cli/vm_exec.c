/* vm exec and vm shell: into a running VM through its agent. */
#include <stdint.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/session.h"

struct exec_args {
	const char *guest_path;
	struct strv env;
	bool tty;
};

#define GUEST_PATH_OPT                                                              \
	{                                                                           \
		.type = OPT_STRING, .letter = 'w', .name = "guest-path",            \
		.offset = offsetof(struct exec_args, guest_path), .metavar = "DIR", \
		.help = "folder in the guest to run in (default: root's home)",     \
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
};

static const struct opt shell_opts[] = { GUEST_PATH_OPT, ENV_OPT };

static int run_session(struct cli *cli, const struct session *session)
{
	struct err err = ERR_INIT;
	int status = 0;

	if (link_open(cli, &err) < 0 || session_run(cli, session, &status, &err) < 0)
		return cli_fail(cli, &err);
	return status;
}

static int run_exec(struct cli *cli, const struct invocation *invocation)
{
	const struct exec_args *args = invocation->args;
	const struct session session = {
		.vm = invocation->parsed->operands[0],
		.argv = invocation->parsed->command,
		.env = &args->env,
		.cwd = args->guest_path,
		.has_tty = args->tty,
	};

	return run_session(cli, &session);
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

	return run_session(cli, &session);
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
