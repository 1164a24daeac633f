/* ssh-proxy: what ssh's ProxyCommand runs, with ssh on standard input and output. */
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/relay.h"
#include "cli/request.h"

#define SUFFIX ".vm"

/*
 * Only the whole name will do: ssh has looked for the key of the name that the user typed, and what
 * that is a prefix of today may be another VM tomorrow.
 */
static int open_stream(struct cli *cli, const char *name, int *ret_fd, struct err *err)
{
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(params, "vm", name);
	r = request_call(cli, "vm.sshd", params, &fd, &result, err);
	if (r < 0)
		return r;
	if (!str_eq(json_get_str(json_object_get(result, "vm"), "name"), name))
		return err_set(err, ERR_NOT_FOUND, "there is no VM '%s'", name);
	if (fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int run_ssh_proxy(struct cli *cli, const struct invocation *invocation)
{
	const char *host = invocation->parsed->operands[0];
	const size_t length = strlen(host) - (str_ends(host, SUFFIX) ? strlen(SUFFIX) : 0);
	AUTO_FREE char *name = mem_strndup(host, length);
	AUTO_CLOSE int fd = -1;
	struct err err = ERR_INIT;

	if (link_open(cli, &err) < 0 || open_stream(cli, name, &fd, &err) < 0)
		return cli_fail(cli, &err);

	const struct relay_ends ends = { .in_fd = cli->in_fd,
					 .out_fd = cli->out.out_fd,
					 .stream_fd = fd,
					 .cancel = &cli->cancel };

	if (relay_run(&ends, &err) == 0)
		return 0;
	/* ssh ends us by a signal when it is done: that is nothing to tell. */
	return err.kind == ERR_CANCELLED ? cli_status(cli, EXIT_FAILED) : cli_fail(cli, &err);
}

const struct command ssh_proxy_command = {
	.noun = "ssh-proxy",
	.operands = "NAME.vm",
	.operands_min = 1,
	.operands_max = 1,
	.is_hidden = true,
	.summary = "connect standard input and output to a VM's sshd",
	.description =
		"What ssh runs as its ProxyCommand ('banger ssh-config' shows it). It needs no "
		"network, and where no sshd listens in the guest, it has one started.",
	.run = run_ssh_proxy,
};
