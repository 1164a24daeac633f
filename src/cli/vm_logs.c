/* vm logs. */
#include "base/fd.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/link.h"
#include "cli/request.h"

struct logs_args {
	bool follow;
	bool console;
	bool raw;
};

static const struct opt logs_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'f',
	  .name = "follow",
	  .offset = offsetof(struct logs_args, follow),
	  .help = "go on as the log grows, until Ctrl-C" },
	{ .type = OPT_FLAG,
	  .letter = 'c',
	  .name = "console",
	  .offset = offsetof(struct logs_args, console),
	  .help = "the guest's serial console instead of the VMM's log" },
	{ .type = OPT_FLAG,
	  .name = "raw",
	  .offset = offsetof(struct logs_args, raw),
	  .help = "control characters as they are; a guest can do mischief with them" },
};

static int open_log(struct cli *cli, const char *vm, bool is_console, json_t **ret, int *ret_fd,
		    struct err *err)
{
	json_t *params;
	int r;

	r = link_open(cli, err);
	if (r < 0)
		return r;
	params = json_new_object();
	json_put_str(params, "vm", vm);
	json_put_bool(params, "console", is_console);
	r = request_call(cli, "vm.logs", params, ret_fd, ret, err);
	if (r < 0)
		return r;
	if (*ret_fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd did not pass the log of '%s'", vm);
	return 0;
}

static int run_logs(struct cli *cli, const struct invocation *invocation)
{
	const struct logs_args *args = invocation->args;
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	struct follow follow = { .is_raw = args->raw, .goes_on = args->follow };
	struct err err = ERR_INIT;
	int status = 0;

	if (open_log(cli, invocation->parsed->operands[0], args->console, &result, &fd, &err) < 0)
		return cli_fail(cli, &err);
	follow.fd = fd;
	follow.path = json_get_str(result, "path");
	if (follow_run(cli, &follow, &status, &err) < 0)
		return cli_fail(cli, &err);
	return status;
}

const struct command vm_logs_command = {
	.noun = "vm",
	.verb = "logs",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "print a VM's log or console",
	.description = "Control characters are shown as \\xNN, so that a guest cannot drive the "
		       "terminal; colours are left out.",
	.opts = logs_opts,
	.opt_count = ARRAY_LEN(logs_opts),
	.args_size = sizeof(struct logs_args),
	.run = run_logs,
};
