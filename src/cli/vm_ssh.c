/* vm ssh: the user's own ssh, told where the VM is and what key it has. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/signals.h"

#define LOOK_MS 200 /* how soon it is seen that ssh has suspended itself */

static int start_ssh(struct cli *cli, const struct invocation *invocation, const json_t *way,
		     struct process *ret, struct err *err)
{
	AUTO_STRV argv = { .items = NULL };
	struct spawn spawn = { .path = "ssh", .envp = environ, .cwd = "." };
	int r;

	strv_add(&argv, "ssh");
	strv_add(&argv, "-F");
	strv_add(&argv, json_get_str(way, "config"));
	strv_add(&argv, json_get_str(way, "host"));
	/* ssh takes options behind the host, too, and the first word that is none begins a command.
	 */
	for (size_t i = 0; i < invocation->parsed->command_count; i++)
		strv_add(&argv, invocation->parsed->command[i]);
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, cli->in_fd, STDIN_FILENO);
	spawn_add_fd(&spawn, cli->out.out_fd, STDOUT_FILENO);
	spawn_add_fd(&spawn, cli->out.err_fd, STDERR_FILENO);
	r = spawn_start(&spawn, ret, err);
	if (r < 0 && err->errnum == ENOENT)
		err_hint(err, "install OpenSSH's client, or use 'banger vm shell %s'",
			 json_get_str(json_object_get(way, "vm"), "name"));
	return r;
}

static void pass_signal(const struct process *ssh)
{
	struct signalfd_siginfo info;

	if (fd_read_exact(signals_fd(), &info, sizeof(info)) == 0 && info.ssi_signo != SIGWINCH)
		IGNORE_RESULT(process_signal(ssh, (int)info.ssi_signo));
}

/* ssh that suspends itself (its ~^Z) suspends this program: the shell waits for us. */
static void follow_stop(const struct process *ssh)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)ssh->pid, &info, WSTOPPED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	(void)kill(getpid(), SIGSTOP);
	IGNORE_RESULT(process_signal(ssh, SIGCONT));
}

static int wait_for_ssh(struct process *ssh, int *ret_status)
{
	struct pollfd waits[] = { { .fd = ssh->pidfd, .events = POLLIN },
				  { .fd = signals_fd(), .events = POLLIN } };

	for (;;) {
		(void)poll(waits, ARRAY_LEN(waits), LOOK_MS);
		if (waits[0].revents)
			return process_wait(ssh, NULL, UINT64_MAX, ret_status);
		if (waits[1].revents)
			pass_signal(ssh);
		follow_stop(ssh);
	}
}

/* Only for people, and only when it is so. */
static void remind(struct cli *cli, const json_t *vm)
{
	const char *name = json_get_str(vm, "name");
	json_t *params = json_new_object();
	struct err ignored = ERR_INIT;
	AUTO_JSON *now = NULL;

	json_put_str(params, "vm", json_get_str(vm, "id"));
	if (request_call(cli, "vm.show", params, NULL, &now, &ignored) < 0 ||
	    !str_eq(json_get_str(json_object_get(now, "vm"), "state"), "running"))
		return;
	out_note(&cli->out,
		 "'%s' still runs: 'banger vm ssh %s' returns to it, 'banger vm stop %s' stops it, "
		 "'banger vm delete %s' deletes it",
		 name, name, name, name);
}

static int run_vm_ssh(struct cli *cli, const struct invocation *invocation)
{
	const char *reference = invocation->parsed->operands[0];
	struct process ssh = PROCESS_INIT;
	AUTO_JSON *way = NULL;
	struct err err = ERR_INIT;
	int status = 0;
	int r;

	if (ask_about(cli, "vm.ssh", "vm", reference, &way, &err) < 0) {
		ask_context(&err, "cannot ssh into", reference);
		return cli_fail(cli, &err);
	}
	r = start_ssh(cli, invocation, way, &ssh, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	/* They are ssh's from here on: it decides what ends it. */
	signals_set_mode(SIGNALS_COMMAND);
	r = wait_for_ssh(&ssh, &status);
	signals_set_mode(SIGNALS_CANCEL);
	process_done(&ssh);
	if (r < 0) {
		(void)err_sys(&err, r, "wait for ssh");
		return cli_fail(cli, &err);
	}
	if (isatty(cli->in_fd) && cli->out.out_is_terminal)
		remind(cli, json_object_get(way, "vm"));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
}

const struct command vm_ssh_command = {
	.noun = "vm",
	.verb = "ssh",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.takes_command = true,
	.summary = "ssh into a VM",
	.description =
		"Runs your ssh, as root in the guest, with banger's key and with the key that the "
		"VM "
		"must show; it needs no network. What follows '--' are ssh's own options and a "
		"command, and what your ssh configuration says holds where banger's says nothing. "
		"The "
		"exit status is ssh's: the command's, or 255. An image without sshd has 'vm "
		"shell'.",
	.run = run_vm_ssh,
};
