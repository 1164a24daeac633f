/* vm workspace prepare: a checkout into a running VM, the first time or once more. */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/workspace_args.h"
#include "cli/workspace_state.h"

struct prepare_args {
	struct workspace_args workspace;
	bool force;
};

static const struct opt prepare_opts[] = {
	WORKSPACE_OPTS(struct prepare_args),
	{ .type = OPT_FLAG,
	  .name = "force",
	  .offset = offsetof(struct prepare_args, force),
	  .help = "replace files that the guest has changed too" },
};

static void print_result(struct cli *cli, const char *vm, const json_t *json)
{
	const unsigned long long added = json_get_u64(json, "added");
	const unsigned long long changed = json_get_u64(json, "changed");
	const unsigned long long removed = json_get_u64(json, "removed");

	if (cli->out.is_json)
		out_json(&cli->out, json);
	else
		out_addf(&cli->out, "%s:%s: %llu added, %llu changed, %llu removed\n", vm,
			 json_get_str(json, "guest_path"), added, changed, removed);
}

static int run_prepare(struct cli *cli, const struct invocation *invocation)
{
	const struct prepare_args *args = invocation->args;
	const char *vm = invocation->parsed->operands[0];
	const struct workspace_target target = { .vm = vm, .name = vm, .force = args->force };
	AUTO_WORKSPACE workspace = WORKSPACE_INIT;
	AUTO_JSON *answer = NULL;
	AUTO_JSON *json = NULL;
	struct workspace_last last;
	struct err err = ERR_INIT;

	if (workspace_args_check(&args->workspace, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (link_open(cli, &err) < 0 || workspace_state_ask(cli, vm, &answer, &err) < 0)
		return cli_fail(cli, &err);
	last = workspace_state_last(answer, workspace_args_guest_path(&args->workspace));
	if (workspace_args_open(cli, invocation->parsed->operands[1], &args->workspace, &last,
				&workspace, &err) < 0)
		return cli_fail(cli, &err);
	if (args->workspace.dry_run) {
		if (workspace_args_list(cli, &workspace, &args->workspace, &target, &err) < 0)
			return cli_fail(cli, &err);
		return 0;
	}
	if (workspace_args_ship(cli, &workspace, &args->workspace, &target, &json, &err) < 0)
		return cli_fail(cli, &err);
	print_result(cli, vm, json);
	return 0;
}

const struct command vm_workspace_prepare_command = {
	.noun = "vm",
	.verb = "workspace prepare",
	.operands = "VM PATH",
	.operands_min = 2,
	.operands_max = 2,
	.completes = COMPLETES_VM,
	.completes_second = COMPLETES_FOLDER,
	.summary = "bring a git checkout into a VM, or what has changed in it",
	.description =
		"Tracked files come as they are in the working tree, uncommitted edits included, "
		"into a real repository with the host's HEAD, branch and index. Ignored files "
		"never come. Again, only what has changed since is sent; a file that the guest "
		"has changed too stops it before anything is written, unless --force. Nothing "
		"that the repository names, such as hooks or filters, runs on the host.",
	.opts = prepare_opts,
	.opt_count = ARRAY_LEN(prepare_opts),
	.args_size = sizeof(struct prepare_args),
	.run = run_prepare,
};
