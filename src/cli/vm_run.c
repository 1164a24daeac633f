/*
 * vm run: create and start a VM, then a shell or a command in it. With --rm the VM belongs to this
 * program's connection: the daemon deletes it when the connection ends, however that comes about.
 * An orderly end deletes it here, so that a failure is told.
 */
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/spec_args.h"

struct run_args {
	struct spec_args spec;
	bool rm;
	bool detach;
	struct strv env;
};

static const struct opt run_opts[] = {
	SPEC_OPTS(struct run_args),
	{ .type = OPT_FLAG,
	  .name = "rm",
	  .offset = offsetof(struct run_args, rm),
	  .help = "delete the VM at the end" },
	{ .type = OPT_FLAG,
	  .letter = 'd',
	  .name = "detach",
	  .offset = offsetof(struct run_args, detach),
	  .help = "print the VM's name and return once it runs" },
	{ .type = OPT_STRINGS,
	  .letter = 'e',
	  .name = "env",
	  .offset = offsetof(struct run_args, env),
	  .metavar = "NAME=VALUE",
	  .help = "set a variable for the command or shell; may be repeated",
	  .check = session_check_env },
};

static int check_args(const struct invocation *invocation, struct err *err)
{
	const struct run_args *args = invocation->args;

	if (args->detach && args->rm)
		return err_set(err, ERR_INVALID, "--detach and --rm exclude each other");
	if (args->detach && invocation->parsed->command)
		return err_set(err, ERR_INVALID, "--detach and a command exclude each other");
	if (args->detach && args->env.count > 0)
		return err_set(err, ERR_INVALID, "--detach and --env exclude each other");
	return 0;
}

static int create(struct cli *cli, const struct run_args *args, json_t **ret, struct err *err)
{
	json_t *params = spec_args_params(&args->spec);
	int r;

	json_put_bool(params, "start", true);
	json_put_bool(params, "ephemeral", args->rm);
	r = request_call(cli, "vm.create", params, NULL, ret, err);
	if (r < 0 && err->kind == ERR_CANCELLED)
		return err_set(err, ERR_CANCELLED,
			       "cancelled; bangerd undoes what was begun of the VM");
	if (r < 0)
		return err_context(err, r, "cannot run the VM");
	return 0;
}

static int print_name(struct cli *cli, const json_t *result)
{
	const char *name = json_get_str(json_object_get(result, "vm"), "name");

	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		out_addf(&cli->out, "%s\n", name);
	return 0;
}

static int delete_vm(struct cli *cli, const char *vm, struct err *err)
{
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	int r;

	json_put_str(params, "vm", vm);
	r = request_call(cli, "vm.delete", params, NULL, &result, err);
	return r < 0 ? err_context(err, r, "cannot delete '%s'", vm) : 0;
}

/* A bangerd that was killed meanwhile took our connection with it; the next one has kept the VM. */
static int delete_surely(struct cli *cli, const char *vm, struct err *err)
{
	int r = delete_vm(cli, vm, err);

	if (r == 0 || rpc_client_fd(cli->client) >= 0)
		return r;
	*err = ERR_INIT;
	r = link_open(cli, err);
	return r < 0 ? r : delete_vm(cli, vm, err);
}

static void remind(struct cli *cli, const char *name, bool is_interactive)
{
	if (is_interactive)
		out_note(&cli->out,
			 "'%s' still runs: 'banger vm shell %s' returns to it, 'banger vm stop %s' "
			 "stops it, 'banger vm delete %s' deletes it",
			 name, name, name, name);
}

static int run_in(struct cli *cli, const struct invocation *invocation, const json_t *vm)
{
	const struct run_args *args = invocation->args;
	const char *name = json_get_str(vm, "name");
	const struct session session = {
		.vm = json_get_str(vm, "id"),
		.argv = invocation->parsed->command,
		.env = &args->env,
		.has_tty = !invocation->parsed->command && session_is_interactive(cli),
	};
	struct err err = ERR_INIT;
	int status = 0;

	if (session_run(cli, &session, &status, &err) < 0)
		status = cli_fail(cli, &err);
	if (!args->rm) {
		remind(cli, name, session.has_tty);
		return status;
	}
	/* After a signal the end of the connection deletes it: nobody waits for that. */
	err = ERR_INIT;
	if (!cancel_is_fired(&cli->cancel) && delete_surely(cli, session.vm, &err) < 0) {
		const int failed = cli_fail(cli, &err);

		return status ? status : failed;
	}
	return status;
}

static int run_run(struct cli *cli, const struct invocation *invocation)
{
	const struct run_args *args = invocation->args;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (check_args(invocation, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (link_open(cli, &err) < 0 || spec_args_announce(cli, &args->spec, &err) < 0 ||
	    create(cli, args, &result, &err) < 0)
		return cli_fail(cli, &err);
	cli_print_warnings(cli, result);
	if (args->detach)
		return print_name(cli, result);
	return run_in(cli, invocation, json_object_get(result, "vm"));
}

const struct command vm_run_command = {
	.noun = "vm",
	.verb = "run",
	.takes_command = true,
	.summary = "make a VM, and open a shell or run a command in it",
	.description = "Without a command an interactive shell; the VM goes on when it ends. With "
		       "one, the "
		       "exit status is the command's: 128 + n when signal n ended it, 127 when it "
		       "does not "
		       "exist in the guest. When standard input is no terminal, the shell reads "
		       "its commands "
		       "from it.\n"
		       "Ctrl-C while the VM is being made cancels, and what was begun is undone. "
		       "In a shell "
		       "it goes to the guest.",
	.opts = run_opts,
	.opt_count = ARRAY_LEN(run_opts),
	.args_size = sizeof(struct run_args),
	.help_tail = spec_args_help_tail,
	.run = run_run,
};
