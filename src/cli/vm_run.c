/*
 * vm run: create and start a VM, then a shell or a command in it. With --rm the VM belongs to this
 * program's connection: the daemon deletes it when the connection ends, however that comes about.
 * An orderly end deletes it here, so that a failure is told.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/bootstrap.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/spec_args.h"
#include "cli/workspace_args.h"

struct run_args {
	struct spec_args spec;
	struct workspace_args workspace;
	bool rm;
	bool detach;
	bool entrypoint;
	bool bootstrap;
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
	{ .type = OPT_FLAG,
	  .name = "entrypoint",
	  .offset = offsetof(struct run_args, entrypoint),
	  .help = "run the image's own program, with the command as its arguments" },
	{ .type = OPT_STRINGS,
	  .letter = 'e',
	  .name = "env",
	  .offset = offsetof(struct run_args, env),
	  .metavar = "NAME=VALUE",
	  .help = "set a variable for the command or shell; may be repeated",
	  .check = session_check_env },
	WORKSPACE_OPTS(struct run_args),
	{ .type = OPT_FLAG_ON,
	  .name = "bootstrap",
	  .offset = offsetof(struct run_args, bootstrap),
	  .help = "do not install the tools that the checkout's mise file names" },
};

/* The checkout that was named, or NULL. */
static const char *checkout_path(const struct invocation *invocation)
{
	return invocation->parsed->operand_count > 0 ? invocation->parsed->operands[0] : NULL;
}

static int check_args(const struct invocation *invocation, struct err *err)
{
	const struct run_args *args = invocation->args;

	if (args->detach && args->rm)
		return err_set(err, ERR_INVALID, "--detach and --rm exclude each other");
	if (args->detach && invocation->parsed->command)
		return err_set(err, ERR_INVALID, "--detach and a command exclude each other");
	if (args->detach && args->entrypoint)
		return err_set(err, ERR_INVALID, "--detach and --entrypoint exclude each other");
	if (args->detach && args->env.count > 0)
		return err_set(err, ERR_INVALID, "--detach and --env exclude each other");
	if (checkout_path(invocation) && args->entrypoint)
		return err_set(err, ERR_INVALID, "--entrypoint and a checkout exclude each other");
	if (!checkout_path(invocation) &&
	    (workspace_args_are_given(&args->workspace) || !args->bootstrap))
		return err_set(err, ERR_INVALID,
			       "--guest-path, --branch, --from, --mode, --include-untracked, "
			       "--dry-run and --no-bootstrap go with a PATH");
	return workspace_args_check(&args->workspace, err);
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
		ask_context_of_making(err, "cannot run the VM");
	return r;
}

static void print_name(struct cli *cli, const json_t *result)
{
	const char *name = json_get_str(json_object_get(result, "vm"), "name");

	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		out_addf(&cli->out, "%s\n", name);
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
	if (r == 0)
		r = delete_vm(cli, vm, err);
	/* It was killed between deleting and saying so. */
	return r < 0 && err->kind == ERR_NOT_FOUND ? 0 : r;
}

/* Also of a name that was made up, and that nobody has seen yet. */
static void remind(struct cli *cli, const char *name, bool is_interactive, bool is_made_up)
{
	if (!is_interactive && is_made_up)
		out_note(&cli->out,
			 "'%s' still runs: 'banger vm exec %s -- CMD' runs more in it, 'banger vm "
			 "delete %s' deletes it",
			 name, name, name);
	else if (is_interactive)
		out_note(&cli->out,
			 "'%s' still runs: 'banger vm shell %s' returns to it, 'banger vm stop %s' "
			 "stops it, 'banger vm delete %s' deletes it",
			 name, name, name, name);
}

/* --- the image's own program --- */

/* What an image says about running it, as the guest is to be asked for it. */
struct program {
	struct strv argv;
	struct strv env;
	const char *cwd; /* borrowed from `image`, as the next */
	const char *user;
	json_t *image;
};

static void program_done(struct program *program)
{
	strv_done(&program->argv);
	strv_done(&program->env);
	json_decref(program->image);
}

/* What an image has as Env may be anything; what is no NAME=VALUE cannot be set. */
static void add_variables(const json_t *list, struct strv *ret)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		struct err ignored = ERR_INIT;

		if (json_is_string(item) &&
		    session_check_env(json_string_value(item), &ignored) == 0)
			strv_add(ret, json_string_value(item));
	}
}

static void add_strings(const json_t *list, struct strv *ret)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (json_is_string(item))
			strv_add(ret, json_string_value(item));
	}
}

/* Entrypoint, then the user's arguments or, without any, Cmd: as container tools have it. */
static int read_program(struct cli *cli, const struct invocation *invocation, const json_t *vm,
			struct program *ret, struct err *err)
{
	const struct run_args *args = invocation->args;
	const char *image = json_get_str(vm, "image");
	json_t *params = json_new_object();
	const json_t *config;
	int r;

	json_put_str(params, "image", image);
	r = request_call(cli, "image.show", params, NULL, &ret->image, err);
	if (r < 0)
		return r;
	config = json_object_get(json_object_get(ret->image, "image"), "config");
	add_strings(json_object_get(config, "entrypoint"), &ret->argv);
	if (invocation->parsed->command)
		for (char **word = invocation->parsed->command; *word; word++)
			strv_add(&ret->argv, *word);
	else
		add_strings(json_object_get(config, "cmd"), &ret->argv);
	if (ret->argv.count == 0) {
		r = err_set(err, ERR_INVALID, "image '%s' names no program to run", image);
		err_hint(err, "give a command after '--', without --entrypoint");
		return r;
	}
	add_variables(json_object_get(config, "env"), &ret->env);
	for (size_t i = 0; i < args->env.count; i++)
		strv_add(&ret->env, args->env.items[i]);
	ret->cwd = json_get_str(config, "working_dir");
	ret->user = json_get_str(config, "user");
	/* The root folder is what an image means that does not say. */
	if (str_empty(ret->cwd))
		ret->cwd = "/";
	if (str_empty(ret->user))
		ret->user = NULL;
	return 0;
}

static int run_session(struct cli *cli, const struct invocation *invocation, const json_t *vm,
		       bool is_shell, int *ret_status, struct err *err)
{
	const struct run_args *args = invocation->args;
	CLEANUP(program_done) struct program program = { .cwd = NULL };
	struct session session = {
		.vm = json_get_str(vm, "id"),
		.vm_name = json_get_str(vm, "name"),
		.argv = invocation->parsed->command,
		.env = &args->env,
		.cwd = checkout_path(invocation) ? workspace_args_guest_path(&args->workspace)
						 : NULL,
		.has_mise = !args->entrypoint,
		.has_tty = is_shell && session_is_interactive(cli),
	};
	int r;

	if (args->entrypoint) {
		r = read_program(cli, invocation, vm, &program, err);
		if (r < 0)
			return r;
		session.argv = strv_argv(&program.argv);
		session.env = &program.env;
		session.cwd = program.cwd;
		session.user = program.user;
	}
	return session_run(cli, &session, ret_status, err);
}

static int run_in(struct cli *cli, const struct invocation *invocation, const json_t *vm)
{
	const struct run_args *args = invocation->args;
	const bool is_shell = !args->entrypoint && !invocation->parsed->command;
	const char *name = json_get_str(vm, "name");
	struct err err = ERR_INIT;
	int status = 0;

	if (run_session(cli, invocation, vm, is_shell, &status, &err) < 0)
		status = cli_fail(cli, &err);
	if (!args->rm) {
		remind(cli, name, is_shell && session_is_interactive(cli), !args->spec.name);
		return status;
	}
	/* After a signal the end of the connection deletes it: nobody waits for that. */
	err = ERR_INIT;
	if (!cancel_is_fired(&cli->cancel) &&
	    delete_surely(cli, json_get_str(vm, "id"), &err) < 0) {
		const int failed = cli_fail(cli, &err);

		return status ? status : failed;
	}
	return status;
}

/* --- with a checkout --- */

/*
 * Brings it in. A VM that was made for a checkout which did not arrive is of no use: it is deleted,
 * also after Ctrl-C, whose work is done then. A second one ends this program at once.
 */
static int ship(struct cli *cli, const struct invocation *invocation, struct workspace *workspace,
		const json_t *vm, struct err *err)
{
	const struct run_args *args = invocation->args;
	const struct workspace_target target = { .vm = json_get_str(vm, "id"),
						 .name = json_get_str(vm, "name") };
	struct err undo_err = ERR_INIT;
	int r;

	r = workspace_args_ship(cli, workspace, &args->workspace, &target, NULL, err);
	if (r == 0)
		return 0;
	if (cancel_is_fired(&cli->cancel)) {
		cancel_done(&cli->cancel);
		if (cancel_init(&cli->cancel) < 0 || link_open(cli, &undo_err) < 0)
			return r;
	}
	if (delete_surely(cli, target.vm, &undo_err) < 0 && undo_err.kind != ERR_NOT_FOUND)
		err_append(err, &undo_err);
	return r;
}

/* Whether there are tools to install, and the network that it takes. */
static int check_bootstrap(struct cli *cli, const struct run_args *args,
			   const struct workspace *workspace, bool *ret, struct err *err)
{
	const char *file = NULL;
	int r;

	if (!args->bootstrap)
		return 0;
	r = bootstrap_find(cli, &workspace->git, args->workspace.include_untracked, &file, err);
	*ret = file != NULL;
	if (r == 0 && file && !args->spec.nat)
		return bootstrap_refuse(file, err);
	return r;
}

/*
 * A session goes on beside it; a command needs the tools, and a VM that is left to itself should
 * have them. A failure is told by the status where nothing else could.
 */
static int bootstrap(struct cli *cli, const struct invocation *invocation, const json_t *vm)
{
	const struct run_args *args = invocation->args;
	const bool waits = args->detach || invocation->parsed->command;
	const char *name = json_get_str(vm, "name");
	struct err err = ERR_INIT;
	bool has_failed = false;
	int r;

	r = bootstrap_run(cli, json_get_str(vm, "id"), workspace_args_guest_path(&args->workspace),
			  waits, &has_failed, &err);
	if (r == 0 && cancel_is_fired(&cli->cancel))
		r = err_set(&err, ERR_CANCELLED, "cancelled");
	/* The checkout is there, so the VM stays; with --rm it goes with the connection. */
	if (r < 0 && !args->rm && cancel_is_fired(&cli->cancel))
		err_hint(&err,
			 "'%s' still runs: 'banger vm shell %s' goes on in it, 'banger vm delete "
			 "%s' deletes it",
			 name, name, name);
	if (r < 0)
		return cli_fail(cli, &err);
	return has_failed && args->detach ? EXIT_FAILED : 0;
}

static int run_made(struct cli *cli, const struct invocation *invocation,
		    struct workspace *workspace, bool has_tools, const json_t *result)
{
	const struct run_args *args = invocation->args;
	const json_t *vm = json_object_get(result, "vm");
	struct err err = ERR_INIT;
	int status = 0;

	if (checkout_path(invocation) && ship(cli, invocation, workspace, vm, &err) < 0)
		return cli_fail(cli, &err);
	if (has_tools)
		status = bootstrap(cli, invocation, vm);
	if (cancel_is_fired(&cli->cancel))
		return status;
	if (!args->detach)
		return run_in(cli, invocation, vm);
	print_name(cli, result);
	return status;
}

static int run_run(struct cli *cli, const struct invocation *invocation)
{
	const struct run_args *args = invocation->args;
	const char *path = checkout_path(invocation);
	AUTO_WORKSPACE workspace = WORKSPACE_INIT;
	AUTO_JSON *result = NULL;
	bool has_tools = false;
	struct err err = ERR_INIT;

	if (check_args(invocation, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (path && workspace_args_open(cli, path, &args->workspace, NULL, &workspace, &err) < 0)
		return cli_fail(cli, &err);
	if (args->workspace.dry_run) {
		if (workspace_args_list(cli, &workspace, &args->workspace, NULL, &err) < 0)
			return cli_fail(cli, &err);
		return 0;
	}
	if (path && check_bootstrap(cli, args, &workspace, &has_tools, &err) < 0)
		return cli_fail(cli, &err);
	if (link_open(cli, &err) < 0 || spec_args_announce(cli, &args->spec, &err) < 0 ||
	    create(cli, args, &result, &err) < 0)
		return cli_fail(cli, &err);
	cli_print_warnings(cli, result);
	spec_args_tell_ports(cli, result);
	return run_made(cli, invocation, &workspace, has_tools, result);
}

const struct command vm_run_command = {
	.noun = "vm",
	.verb = "run",
	.operands = "PATH",
	.operands_max = 1,
	.completes = COMPLETES_FOLDER,
	.takes_command = true,
	.summary = "make a VM, and open a shell or run a command in it",
	.description = "With PATH, the git checkout in that folder goes to /root/repo first, and "
		       "shell or command begin there; see 'banger vm workspace prepare --help'.\n"
		       "Without a command an interactive shell; the VM goes on when it ends. With "
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
