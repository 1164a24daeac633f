/* vm fork. */
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/spec_args.h"
#include "cli/vm_view.h"
#include "model/names.h"

#define COUNT_MAX 100 /* as bangerd has it */

struct fork_args {
	const char *name;
	struct opt_number count;
};

static const struct opt fork_opts[] = {
	{ .type = OPT_STRING,
	  .letter = 'n',
	  .name = "name",
	  .offset = offsetof(struct fork_args, name),
	  .metavar = "NAME",
	  .help = "name of the new VM; of several NAME-1, NAME-2, ... (default: made up)",
	  .check = spec_args_check_name },
	{ .type = OPT_NUMBER,
	  .name = "count",
	  .offset = offsetof(struct fork_args, count),
	  .metavar = "N",
	  .help = "how many (default: 1)",
	  .min = 1,
	  .max = COUNT_MAX },
};

static int run_fork(struct cli *cli, const struct invocation *invocation)
{
	const struct fork_args *args = invocation->args;
	const char *name = invocation->parsed->operands[0];
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params;

	if (link_open(cli, &err) < 0)
		return cli_fail(cli, &err);
	params = json_new_object();
	json_put_str(params, "vm", name);
	if (args->name)
		json_put_str(params, "name", args->name);
	if (args->count.is_set)
		json_put_u64(params, "count", args->count.value);
	if (request_call(cli, "vm.fork", params, NULL, &result, &err) < 0)
		return cli_fail(cli, &err);
	cli_print_warnings(cli, result);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		vm_view_table(json_object_get(result, "vms"), clock_wall_seconds(),
			      cli->out.out_width, cli->out.out_has_colour, &cli->out.pending);
	return 0;
}

const struct command vm_fork_command = {
	.noun = "vm",
	.verb = "fork",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "make VMs that run on from where a VM is now",
	.description =
		"Each has a copy of its memory and disks, a name, address and identity of its "
		"own, and publishes no ports. The VM itself goes on at once. What was running in "
		"it runs in each of them, but for commands that a client was connected to.",
	.opts = fork_opts,
	.opt_count = ARRAY_LEN(fork_opts),
	.args_size = sizeof(struct fork_args),
	.run = run_fork,
};
