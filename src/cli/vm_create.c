/* vm create. */
#include "base/clock.h"
#include "base/json.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/spec_args.h"
#include "cli/vm_view.h"

struct create_args {
	struct spec_args spec;
	bool start;
};

static const struct opt create_opts[] = {
	SPEC_OPTS(struct create_args),
	{ .type = OPT_FLAG_ON,
	  .name = "start",
	  .offset = offsetof(struct create_args, start),
	  .help = "only create it" },
};

static void print_vm(struct cli *cli, const json_t *result)
{
	AUTO_JSON *vms = json_new_array();

	json_add(vms, json_incref(json_object_get(result, "vm")));
	vm_view_table(vms, clock_wall_seconds(), cli->out.out_width, cli->out.out_has_colour,
		      &cli->out.pending);
}

static int run_create(struct cli *cli, const struct invocation *invocation)
{
	const struct create_args *args = invocation->args;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params;

	if (link_open(cli, &err) < 0 || spec_args_announce(cli, &args->spec, &err) < 0)
		return cli_fail(cli, &err);

	params = spec_args_params(&args->spec);
	json_put_bool(params, "start", args->start);
	if (request_call(cli, "vm.create", params, NULL, &result, &err) < 0) {
		ask_context_of_making(&err, "cannot create the VM");
		return cli_fail(cli, &err);
	}
	cli_print_warnings(cli, result);
	spec_args_tell_ports(cli, result);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		print_vm(cli, result);
	return 0;
}

const struct command vm_create_command = {
	.noun = "vm",
	.verb = "create",
	.summary = "create a VM and start it",
	.description = "The image and the kernel are built first when they are not there yet.",
	.opts = create_opts,
	.opt_count = ARRAY_LEN(create_opts),
	.args_size = sizeof(struct create_args),
	.help_tail = spec_args_help_tail,
	.run = run_create,
};
