/* vm prune. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"

#define ANSWER_BYTES_MAX 64

struct prune_args {
	bool force;
};

static const struct opt prune_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'f',
	  .name = "force",
	  .offset = offsetof(struct prune_args, force),
	  .help = "do not ask" },
};

/* "y" or "yes" on standard input; everything else, and the end, is no. */
static bool read_yes(struct cli *cli)
{
	char answer[ANSWER_BYTES_MAX] = "";

	/* Ctrl-C must end the question, which a read alone would go on with. */
	if (cancel_poll(&cli->cancel, cli->in_fd, POLLIN, UINT64_MAX) < 0 ||
	    fd_read_some(cli->in_fd, answer, sizeof(answer) - 1) <= 0)
		return false;
	answer[strcspn(answer, "\r\n")] = '\0';
	return str_eq(answer, "y") || str_eq(answer, "yes");
}

/* Adds the names of the VMs that prune would delete; how many they are. */
static size_t add_idle_names(const json_t *vms, struct buf *out)
{
	const json_t *vm;
	size_t count = 0;
	size_t i;

	json_array_foreach(vms, i, vm) {
		const char *state = json_get_str(vm, "state");
		const char *name = json_get_str(vm, "name");

		if (str_eq(state, "running") || str_eq(state, "paused"))
			continue;
		buf_addf(out, "%s%s", out->len > 0 ? ", " : "", name ? name : "?");
		count++;
	}
	return count;
}

/* 1: go on, 0: the user said no or there is nothing to do. */
static int ask(struct cli *cli, struct err *err)
{
	AUTO_JSON *result = NULL;
	AUTO_BUF names = BUF_INIT;
	AUTO_BUF question = BUF_INIT;
	size_t count;
	int r;

	if (!isatty(cli->in_fd)) {
		r = err_set(err, ERR_INVALID, "there is nobody to ask on standard input");
		err_hint(err, "'banger vm prune --force' deletes without asking");
		return r;
	}
	r = request_call(cli, "vm.list", NULL, NULL, &result, err);
	if (r < 0)
		return r;
	count = add_idle_names(json_object_get(result, "vms"), &names);
	if (count == 0)
		return 0;
	buf_addf(&question, "delete %zu VM%s with their disks: %s? [y/N] ", count,
		 count == 1 ? "" : "s", names.ptr);
	out_say(&cli->out, buf_span(&question));
	return read_yes(cli) ? 1 : 0;
}

static int print_result(struct cli *cli, const json_t *result)
{
	const json_t *failed = json_object_get(result, "failed");
	const json_t *item;
	size_t i;

	if (cli->out.is_json) {
		out_json(&cli->out, result);
		return json_array_size(failed) ? EXIT_FAILED : 0;
	}
	json_array_foreach(json_object_get(result, "deleted"), i, item) {
		const char *name = json_get_str(item, "name");

		out_addf(&cli->out, "%s: deleted\n", name ? name : "?");
	}
	json_array_foreach(failed, i, item) {
		const char *name = json_get_str(item, "name");
		const char *message = json_get_str(item, "message");
		struct err err = ERR_INIT;

		(void)err_set(&err, ERR_BAD_STATE, "cannot delete '%s': %s", name ? name : "?",
			      message ? message : "no reason given");
		out_error(&cli->out, &err);
	}
	return json_array_size(failed) ? EXIT_FAILED : 0;
}

static int run_prune(struct cli *cli, const struct invocation *invocation)
{
	const struct prune_args *args = invocation->args;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	int r = 1;

	if (link_open(cli, &err) < 0)
		return cli_fail(cli, &err);
	if (!args->force)
		r = ask(cli, &err);
	if (r == 0)
		return cli_status(cli, 0);
	if (r < 0 || request_call(cli, "vm.prune", NULL, NULL, &result, &err) < 0)
		return cli_fail(cli, &err);
	return print_result(cli, result);
}

const struct command vm_prune_command = {
	.noun = "vm",
	.verb = "prune",
	.summary = "delete every VM that is not running",
	.opts = prune_opts,
	.opt_count = ARRAY_LEN(prune_opts),
	.args_size = sizeof(struct prune_args),
	.run = run_prune,
};
